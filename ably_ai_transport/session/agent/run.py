"""A run, as the agent that works on it holds it."""

import uuid
from collections.abc import AsyncIterable, Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, get_args

import anyio

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import TERMINAL, OutputFolded, Pinned, RunNode
from ably_ai_transport.session.agent.cancels import EarlyCancels, cancel_target
from ably_ai_transport.session.agent.hooks import CancelRequest, HookCaller, RunHooks, public_error
from ably_ai_transport.session.agent.pipe import StreamResult
from ably_ai_transport.session.agent.publisher import RunEvent, RunFacts, RunPhase, RunWriter, WriteLimits
from ably_ai_transport.session.agent.steering import SteerTracker
from ably_ai_transport.session.agent.steps import RunStep, RunSteps, step_reason_of
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.conversation import Change
from ably_ai_transport.session.run import BaseRun
from ably_ai_transport.session.signals import AbortSignal, Latch
from ably_ai_transport.session.view import View
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    NotFoundInTimeError,
    RunEndReason,
    SessionClosedError,
    names,
)
from ably_ai_transport.wire.listeners import Listeners

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation

START_TIMEOUT_SECONDS = 30.0


class AgentRun(BaseRun[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """One run of an agent: start it, read the conversation, pipe the reply, end it.

    As a context it is started on entry and ended on exit: ``complete``, ``cancelled`` after a cancel request,
    and ``error`` where the body raised or the last pipe failed. Clients see the code and the text of an
    :class:`AITransportError`; of any other exception they see the type only.

    Example:
        >>> async with session.create_run(invocation) as run:  # doctest: +SKIP
        ...     messages = [m.message for m in await run.view.load_all()]
        ...     await run.pipe(model(messages))

    Attributes:
        located: Await it until the triggering input has been found on the channel.
        view: The conversation up to this run.
        abort_signal: Set when the run is to stop.
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        invocation: "Invocation",
        *,
        run_id: str | None,
        invocation_id: str | None,
        hooks: RunHooks[OutT],
        adopted: bool,
        limits: WriteLimits,
        early_cancels: EarlyCancels,
        interrupted: Listeners[AITransportError],
    ) -> None:
        super().__init__(core.conversation.tree)
        self._core = core
        self._invocation = invocation
        self._adopted = adopted
        self._hooks = HookCaller(core, hooks)
        self._outside = hooks.signal or AbortSignal()
        facts = RunFacts(run_id or str(uuid.uuid4()), invocation_id or str(uuid.uuid4()))
        self._facts = facts
        self._writer = RunWriter(core, facts, limits, hooks.on_message)
        self.abort_signal = AbortSignal()
        self.located = Latch[None]()
        self._trigger: InboundMessage | None = None
        self._early_cancels = early_cancels
        self._cancels_seen: set[str | None] = set()
        self._steers = SteerTracker()
        self._steps = RunSteps(core, self._writer, self._hooks, self._steers, self.abort_signal)
        self._opened = Latch[None]()
        self._start_published = False
        self._interruption: AITransportError | None = None
        self._closed = Latch[None]()
        conversation = core.conversation
        self._branches = Pinned(conversation.tree, self._steers.is_unanswered)
        self.view = View(core, self._branches, on_exception=self._hooks.report_listener)
        self._releases = [
            conversation.subscribe(self._on_change, InboundMessage, OutputFolded),
            interrupted.add(self._on_interrupted),
            self._outside.on_abort(self.abort_signal.abort),
        ]
        known = conversation.tree.find_message_by_event_id(invocation.input_event_id)
        if known is not None:
            self._locate(known)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._facts.run_id

    @property
    def invocation_id(self) -> str:
        """The agent's invocation; answer the client's request with it."""
        return self._facts.invocation_id

    @property
    def input_codec_message_id(self) -> str | None:
        """The triggering input; None until it has been found."""
        return self._facts.input_codec_message_id

    @property
    def is_open(self) -> bool:
        """Whether the run can be written to."""
        return self._writer.is_open

    @property
    def phase(self) -> RunPhase:
        """The phase of the run in this process; the conversation may show another status."""
        return self._writer.phase

    async def start(self, *, timeout: float | None = START_TIMEOUT_SECONDS) -> None:  # noqa: ASYNC109
        """Find the triggering input, live or in history, and publish that the run starts or goes on.

        Starting twice is fine, and fails again where it has failed. A cancel that was published before the
        agent came is honored: the run then starts with its signal set.

        Args:
            timeout: How long to wait for the input, in seconds; None waits for ever.

        Raises:
            InvalidArgumentError: The session is not connected (40003).
            SessionClosedError: The session was closed (104004).
            NotFoundInTimeError: The input did not come in time (104010).
            AITransportError: The run was cancelled from outside before (40033).
            ChannelRefusedError: The channel refused (104003).
        """
        await self._open_once("start run", partial(self._start, timeout))

    async def load(self, *, timeout: float | None = START_TIMEOUT_SECONDS) -> None:  # noqa: ASYNC109
        """Take over a run that another process started and left open; nothing is published.

        Loading twice is fine, and fails again where it has failed.

        Args:
            timeout: How long to wait for the start of the run, in seconds; None waits for ever.

        Raises:
            InvalidArgumentError: The session is not connected, or the run is suspended or has ended (40003).
            SessionClosedError: The session was closed (104004).
            NotFoundInTimeError: The start of the run was not seen in time (104010).
            AITransportError: The run was cancelled from outside (40033).
        """
        await self._open_once("load run", partial(self._load, timeout))

    def has_input(self) -> bool:
        """Tell whether there is something to respond to, and take it in.

        The condition of an agent's loop: true at first, and again whenever steering messages have arrived
        since the last call; false once the run is cancelled.

        Returns:
            Whether to go on.

        Example:
            >>> while run.has_input():  # doctest: +SKIP
            ...     await run.pipe(model([m.message for m in run.view.messages]))
        """
        if self.abort_signal.aborted:
            return False
        pending = self._steers.has_pending
        self._steers.take()
        return pending or not self._steps.has_output

    async def pipe(self, source: AsyncIterable[OutT], *, raise_on_error: bool = False) -> StreamResult:
        """Write a stream of outputs, in a step of its own that is opened with the first of them.

        A failure is reported to ``on_error``, or logged with its traceback if there is no listener.

        Args:
            source: The outputs, such as an asynchronous generator; closed in any case.
            raise_on_error: Whether to raise the failure after the end of the step, instead of reporting it.

        Returns:
            The result: ``complete``, ``cancelled`` by a client, or ``error`` with the exception of the source
            or the channel.

        Raises:
            InvalidArgumentError: The run has not been started or has ended, a step is active, or the source
                is no asynchronous iterable (40003).
        """
        result = await self._steps.pipe(source, report=not raise_on_error)
        if raise_on_error and result.error is not None:
            raise result.error
        return result

    def create_step(
        self, *, step_id: str | None = None, step_client_id: str | None = None
    ) -> RunStep[InT, OutT, ProjT, MsgT]:
        """Create a step, or another attempt of one.

        Args:
            step_id: The step. The same id as before makes another attempt, in this process or in another;
                None goes on with the last step that failed, or makes up a new id.
            step_client_id: Client ID of the sender whose input shapes it; None keeps that of the step before.

        Returns:
            The step, not started yet.
        """
        return self._steps.create(step_id, step_client_id)

    async def suspend(self) -> None:
        """Publish that the run waits for an answer, and release the run. Another invocation resumes it.

        Raises:
            InvalidArgumentError: The run has not been started, or a step is active (40003).
            ChannelRefusedError: The channel refused (104003).
        """
        await self._core.require("suspend run")
        self._writer.check_opened("suspend run")
        await self._steps.settled()
        if self._steps.is_busy and self._writer.is_open:
            raise InvalidArgumentError(
                f"unable to suspend run; end the active step before suspending (run {self.run_id})"
            )
        await self._close_once(self._writer.suspend)

    async def end(self, reason: RunEndReason = "complete", *, error: Exception | None = None) -> None:
        """Publish that the run ended. An open step is ended before. Ending twice is fine.

        If the caller is cancelled, a task of the session still publishes the end. If the channel refuses the
        end, the run stays open: the end can be retried, and the session retries it once more when it ends.

        Args:
            reason: ``complete``, ``cancelled`` or ``error``.
            error: The error to publish if the reason is ``error``. Clients see the code and text of an
                :class:`AITransportError`; of any other exception only the type, as the text may hold secrets.

        Raises:
            InvalidArgumentError: The reason is none of these, the session is not connected, or the run has
                not been started (40003). Nothing is published.
            ChannelRefusedError: The channel refused (104003).
        """
        reasons = get_args(RunEndReason)
        if reason not in reasons:
            raise InvalidArgumentError(
                f"unable to end run; reason must be one of {', '.join(reasons)}, got {reason!r}"
                " (to wait for an answer, call suspend())"
            )
        await self._core.require("end run")
        self._writer.check_opened("end run")
        told = public_error(error) if reason == "error" else None
        await self._close_once(partial(self._end, reason, told))

    async def __aenter__(self) -> Self:
        await (self.load() if self._adopted else self.start())
        self._writer.telemetry.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.telemetry.leave()
        if self.phase == "closed":
            return
        if error is None:
            last = self._steps.last_result
            if self.abort_signal.aborted:
                await self.end("cancelled")
            elif last is not None and last.reason == "error":
                await self.end("error", error=last.error)
            else:
                await self.end("complete")
            return
        with anyio.move_on_after(self._core.close_timeout, shield=True):
            try:
                if isinstance(error, Exception):
                    await self.end("error", error=error)
                else:
                    await self.end("cancelled")
            except AITransportError as failure:
                # The exception of the body matters more; the session retries the end.
                self._hooks.report(failure)

    async def _open_once(self, action: str, open_run: Callable[[], Awaitable[None]]) -> None:
        await self._core.require(action)
        if self._writer.phase != "created":
            await self._opened
            return
        self._refuse_aborted(action)
        self._writer.move("open")
        try:
            await open_run()
        except BaseException as error:  # a cancelled start must fail the callers that wait for it
            self._writer.telemetry.failed(error)
            self._opened.reject(
                error
                if isinstance(error, Exception)
                else AITransportError(
                    f"unable to {action}; the task was cancelled", ErrorCode.OPERATION_CANCELLED, 400
                )
            )
            self._release("failed")
            raise
        self._writer.move("opened")
        self._opened.resolve(None)
        if self._steers.begin(self.run_id, self._facts.input_codec_message_id):
            self._hooks.notify_steer(self.run_id)

    async def _start(self, timeout: float | None) -> None:  # noqa: ASYNC109
        await self._find("start run", timeout, lambda: self.located.is_settled)
        await self.located
        self._honor_early_cancel()
        await self._core.tasks.finish(self._publish_start())
        if self._interruption is not None:
            raise self._interruption

    async def _publish_start(self) -> None:
        await self._writer.start()
        self._start_published = True
        if self.phase == "closed":
            await self._writer.end("cancelled")

    async def _load(self, timeout: float | None) -> None:  # noqa: ASYNC109
        await self._find("load run", timeout, self._is_known)
        await self.located
        self._honor_early_cancel()
        if self.status != "active":
            raise InvalidArgumentError(
                f"unable to load run; run {self.run_id} is {self.status}"
                + (" (resume it with create_run)" if self.status == "suspended" else "")
            )
        node = self._tree.get_run_node(self.run_id)
        self._facts.run_client_id = None if node is None else node.client_id

    def _is_known(self) -> bool:
        node = self._tree.get_run_node(self.run_id)
        started = node is not None and node.start_serial is not None
        return self.located.is_settled and (started or self.located.error is not None)

    async def _find(self, action: str, timeout: float | None, found: Callable[[], bool]) -> None:  # noqa: ASYNC109
        if found():
            return
        with anyio.move_on_after(timeout) as scope:
            off = self._outside.on_abort(scope.cancel)
            try:
                await self._core.conversation.find(found)
            finally:
                off()
        if found():
            return
        self._refuse_aborted(action)
        raise NotFoundInTimeError(
            f"unable to {action}; input event {self._invocation.input_event_id} or its run was not found"
            f" on channel {self._core.channel.name} within {timeout} s",
            cause=self._core.conversation.history_error,
        )

    async def _close_once(self, publish: Callable[[], Awaitable[None]]) -> None:
        """Publish the run's close in a task of the session; later calls wait for the first one."""
        if self._writer.phase == "closed":
            return
        if self._writer.phase == "closing":
            await self._closed
            return
        self._writer.move("close")
        self._closed = Latch[None]()
        await self._core.tasks.finish(self._close(publish, self._closed))

    async def _close(self, publish: Callable[[], Awaitable[None]], closed: Latch[None]) -> None:
        try:
            if self.status not in TERMINAL:
                await publish()
        except AITransportError as error:
            self._writer.move("refused")
            closed.reject(error)
            raise
        except BaseException:  # the session cancels this task when it closes
            failure = SessionClosedError(
                f"unable to end run {self.run_id}; the session closed before the channel acked its end"
            )
            closed.reject(failure)
            self._release("abandon")
            self._hooks.report(failure)
            raise
        self._release("published")
        closed.resolve(None)

    async def _end(self, reason: RunEndReason, error: AITransportError | None) -> None:
        try:
            await self._steps.close_active(step_reason_of(reason))
        except AITransportError as failure:
            self._core.log.warning(
                "The open step could not be ended: %s", failure, extra={"run": self.run_id}
            )
        await self._writer.end(reason, error)

    def _on_change(self, change: Change[InT, OutT]) -> None:
        event = change.event
        if isinstance(event, InboundMessage):
            wanted = self._invocation.input_event_id
            if not self.located.is_settled and event.transport_headers.get(names.EVENT_ID) == wanted:
                self._locate(event)
            elif event.name == names.CANCEL and self._trigger is not None:
                self._on_cancel_message(event, self._trigger)
        elif isinstance(event, OutputFolded):
            if event.inputs and change.message is not None:
                self._writer.telemetry.received(change.message)
            if self._steers.observe(event, self.run_id):
                self._hooks.notify_steer(self.run_id)

    def _locate(self, trigger: InboundMessage) -> None:
        """Learn from the triggering input which run it asks for."""
        headers, facts = trigger.transport_headers, self._facts
        facts.input_client_id = trigger.client_id or facts.input_client_id
        facts.run_client_id = headers.get(names.RUN_CLIENT_ID)
        facts.fork_of = headers.get(names.FORK_OF)
        facts.regenerates = headers.get(names.MSG_REGENERATE)
        facts.input_codec_message_id = headers.get(names.CODEC_MESSAGE_ID)
        wire_run_id = headers.get(names.RUN_ID)
        facts.continues = wire_run_id is not None
        if wire_run_id is not None and not self._adopted:
            facts.run_id = wire_run_id
        parent = headers.get(names.PARENT)
        message_id = facts.input_codec_message_id
        node = None if message_id is None else self._tree.get_node_by_codec_message_id(message_id)
        facts.output_parent = parent if node is None else message_id
        facts.run_parent = parent if isinstance(node, RunNode) else facts.output_parent
        self._trigger = trigger
        self._writer.telemetry.located(trigger)
        self._branches.pin(run_id=self.run_id, anchor=facts.output_parent, regenerates=facts.regenerates)
        self.located.resolve(None)
        self._core.log.debug("input located", extra={"run": self.run_id, "serial": trigger.serial})

    def _honor_early_cancel(self) -> None:
        trigger = self._trigger
        request = (
            None if trigger is None else self._early_cancels.find(self.run_id, self.input_codec_message_id)
        )
        if request is not None and trigger is not None:
            self._on_cancel_message(request, trigger)

    def _on_cancel_message(self, message: InboundMessage, trigger: InboundMessage) -> None:
        """Honor a cancel request for this run; one before its input was for an earlier invocation."""
        run_id, input_id = cancel_target(message)
        is_meant = run_id == self.run_id or (input_id is not None and input_id == self.input_codec_message_id)
        if not is_meant or (message.serial or "") <= (trigger.serial or ""):
            return
        if message.serial in self._cancels_seen:
            return
        self._cancels_seen.add(message.serial)
        self._writer.telemetry.received(message)
        if self._hooks.decides_cancels:
            self._core.tasks.start(self._ask_and_cancel(CancelRequest(message, self.run_id)))
        else:
            self.abort_signal.abort()

    async def _ask_and_cancel(self, request: CancelRequest) -> None:
        if await self._hooks.allows_cancel(request):
            self.abort_signal.abort()

    def _on_interrupted(self, error: AITransportError) -> None:
        """Stop: the session closes, or may have missed messages."""
        if self._writer.phase in ("open", "closing") and error.code == ErrorCode.CHANNEL_CONTINUITY_LOST:
            self.abort_signal.abort()
            return
        self._interruption = error
        self.located.reject(error)
        self.abort_signal.abort()
        self._core.conversation.wake()
        self._release("abandon")

    def _release(self, event: RunEvent) -> None:
        if self.phase == "opening" and self._start_published:
            # Clients should not wait for a run without an agent.
            self._core.tasks.finish_later(self._writer.end("cancelled"))
        self._writer.move(event)
        for release in self._releases:
            release()
        self._releases = []
        self.view.close()

    def _refuse_aborted(self, action: str) -> None:
        # A client's cancel is no reason: the run starts and ends, so that clients learn what became of it.
        if self._outside.aborted:
            raise AITransportError(
                f"unable to {action}; run {self.run_id} was cancelled before",
                ErrorCode.OPERATION_CANCELLED,
                400,
            )

    @property
    def _anchor(self) -> str | None:
        return self._facts.output_parent
