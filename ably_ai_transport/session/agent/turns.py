"""Turns: a run waits for its turn in its session, as the policy of the session says."""

import uuid
from collections.abc import Callable, Sequence
from typing import Generic

import anyio

from ably_ai_transport.codec.contract import (
    EncoderOptions,
    InputEvent,
    InT,
    MsgT,
    OutT,
    ProjT,
    RoutedInput,
    WriteOptions,
)
from ably_ai_transport.conversation import InputNode, OutputFolded, RunNode
from ably_ai_transport.session.agent.concurrency import (
    MOVES,
    ConcurrencyPolicy,
    place_of,
    policy_for,
    runs_ahead,
)
from ably_ai_transport.session.agent.facts import RunFacts
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.conversation import Change
from ably_ai_transport.session.ending import publish_end
from ably_ai_transport.session.signals import AbortSignal
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    OutboundMessage,
    RunEnd,
    RunNotStartedError,
    RunRejectedError,
    RunResume,
    RunStart,
    RunSteeredError,
    RunSuspend,
    names,
)
from ably_ai_transport.wire.headers import build_cancel_headers, build_transport_headers
from ably_ai_transport.wire.messages import ai_extras

_USER_MESSAGE = "user-message"


class Turn(Generic[InT, OutT, ProjT, MsgT]):
    """The turn of one run.

    Args:
        core: The session's parts.
        facts: The run.
        policy: The policy of the run.
        patience: How long a run that is interrupted may take to end, in seconds; None for ever.
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        facts: RunFacts,
        policy: ConcurrencyPolicy,
        patience: float | None,
    ) -> None:
        self._core = core
        self._facts = facts
        self._policy: ConcurrencyPolicy = policy
        self._patience = patience
        self._deadline: float | None = None
        self._cancelled: set[str] = set()
        self._passed_to: str | None = None
        self._copy_id: str | None = None
        self._answered = False
        self._changed = anyio.Event()

    @property
    def needs_history(self) -> bool:
        """Whether all runs of the session must be known."""
        return self._policy != "concurrent"

    async def take(self, stop: AbortSignal) -> RunNotStartedError | None:
        """Wait for the turn of a run whose start has been published.

        Args:
            stop: Ends the wait: the run was cancelled, lost, or its session is closed.

        Returns:
            None when the run may go on, or has been stopped; otherwise the reason why it must end now.

        Raises:
            ChannelRefusedError: A run before it could not be interrupted (104003).
        """
        if not self.needs_history:
            return None
        self._policy = policy_for(self._policy, resumes=self._facts.continues)
        subscribe = self._core.conversation.subscribe
        offs: list[Callable[[], None]] = [
            subscribe(self._wake, RunStart, RunResume, RunSuspend, RunEnd),
            stop.on_abort(self._wake),
        ]
        if self._policy == "steer":
            offs.append(subscribe(self._on_output, OutputFolded))
        try:
            return await self._wait(stop)
        finally:
            for off in offs:
                off()

    async def _wait(self, stop: AbortSignal) -> RunNotStartedError | None:
        run_id, index = self._facts.run_id, self._core.conversation.tree.index
        while not stop.aborted:
            self._changed = anyio.Event()
            ahead = runs_ahead(run_id, index)
            first = ahead[0].run_id if ahead else ""
            place = place_of(ahead, passed_on=self._copy_id is not None, answered=self._answered)
            match MOVES[self._policy, place]:
                case "go":
                    return None
                case "reject":
                    return RunRejectedError(
                        f"unable to start run; run {first} of this session is active"
                        " (ask again when it has ended)",
                        run_id=first,
                    )
                case "leave":
                    return RunSteeredError(
                        f"the question was answered in run {self._passed_to}, which was active",
                        run_id=self._passed_to or "",
                    )
                case "pass-on":
                    await self._pass_on(ahead[0] if ahead else None)
                case "interrupt":
                    await self._interrupt(ahead or ())
                case "wait":
                    await self._changed.wait()
        return None

    async def _interrupt(self, ahead: Sequence[RunNode[ProjT]]) -> None:
        """Cancel the runs before this one and wait for a change; end those that take too long."""
        for node in ahead:
            if node.run_id not in self._cancelled:
                self._cancelled.add(node.run_id)
                await self._cancel(node.run_id)
        now = anyio.current_time()
        if self._deadline is None and self._patience is not None:
            self._deadline = now + self._patience
        with anyio.move_on_after(None if self._deadline is None else max(0.0, self._deadline - now)) as scope:
            await self._changed.wait()
        if not scope.cancelled_caught:
            return
        for node in ahead:
            if node.active_since is not None:
                why = AITransportError(
                    f"run {self._facts.run_id} interrupted it, and its agent did not stop in time",
                    ErrorCode.OPERATION_CANCELLED,
                )
                await publish_end(self._core, node, "cancelled", why)

    async def _cancel(self, run_id: str) -> None:
        headers = build_cancel_headers(event_id=str(uuid.uuid4()), run_id=run_id)
        message = OutboundMessage(names.CANCEL, extras=ai_extras(headers))
        try:
            with self._core.telemetry.sending("cancel", message=message, run_id=run_id):
                await self._core.channel.publish([message])
        except AITransportError as error:
            raise AITransportError.wrap(
                f"interrupt run {run_id}", error, ErrorCode.RUN_LIFECYCLE_ERROR
            ) from error
        self._core.log.info("run interrupted", extra={"run": run_id})

    async def _pass_on(self, node: RunNode[ProjT] | None) -> None:
        """Publish the question as a steering message of a run; where that cannot be, wait in the queue."""
        question = [] if node is None else self._question(node)
        if node is None or not question:
            self._policy = "queue"
            return
        self._passed_to, self._copy_id = node.run_id, str(uuid.uuid4())
        options = EncoderOptions(on_message=self._core.telemetry.input_hook, payloads=self._core.payloads)
        encoder = self._core.codec.create_encoder(self._core.channel, options)
        sending = self._core.telemetry.sending("steer", codec_message_id=self._copy_id, run_id=node.run_id)
        try:
            with sending:
                for event in question:
                    headers = build_transport_headers(
                        role="user",
                        run_id=node.run_id,
                        codec_message_id=self._copy_id,
                        run_client_id=self._facts.run_client_id,
                        input_event_id=str(uuid.uuid4()),
                    )
                    await encoder.publish_input(event, WriteOptions(headers, self._copy_id))
        except AITransportError as error:
            # The run answers the question itself then.
            self._policy, self._copy_id = "queue", None
            self._core.report(
                AITransportError.wrap(f"steer run {node.run_id}", error, ErrorCode.RUN_LIFECYCLE_ERROR)
            )

    def _question(self, node: RunNode[ProjT]) -> list[InT]:
        """Return the words of the input if they can be said in another run; none otherwise.

        That is so for a new message on the run's own branch; an edit or a regeneration makes a branch.
        """
        facts, tree = self._facts, self._core.conversation.tree
        message_id = facts.input_codec_message_id
        asked = None if message_id is None else tree.get_node(message_id)
        if not isinstance(asked, InputNode) or facts.fork_of is not None or facts.regenerates is not None:
            return []
        if not self._shares_branch(asked, node):
            return []
        events = [event.event for event, _ in tree.events_of(asked.key) if isinstance(event, InputEvent)]
        said = [one for one in events if isinstance(one, RoutedInput) and one.kind == _USER_MESSAGE]
        return events if len(said) == len(events) else []

    def _shares_branch(self, asked: InputNode[ProjT], node: RunNode[ProjT]) -> bool:
        """Tell whether an input follows a run, or the input of that run."""
        tree = self._core.conversation.tree
        wanted = {node.key, tree.index.parent_key(node)}
        seen: set[str] = set()
        key = tree.index.parent_key(asked)
        while key is not None and key not in seen:
            if key in wanted:
                return True
            seen.add(key)
            parent = tree.get_node(key)
            key = None if parent is None else tree.index.parent_key(parent)
        return False

    def _on_output(self, change: Change[InT, OutT]) -> None:
        event = change.event
        if self._copy_id is None or not isinstance(event, OutputFolded):
            return
        if event.run_id == self._passed_to and self._copy_id in (event.steer_codec_message_ids or ()):
            self._answered = True
            self._wake()

    def _wake(self, _: object = None) -> None:
        self._changed.set()
