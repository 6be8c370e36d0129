"""The input that a run answers: found on the channel, and checked."""

from collections.abc import Callable
from typing import Generic

import anyio

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import Author, RunNode
from ably_ai_transport.session.agent.facts import RunFacts
from ably_ai_transport.session.agent.guard import RunGuard
from ably_ai_transport.session.agent.policy import RequestKind, RunRequest
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.signals import AbortSignal, Latch
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    NotAllowedError,
    NotFoundInTimeError,
    SessionClosedError,
    names,
)


class RunTrigger(Generic[InT, OutT, ProjT, MsgT]):
    """The triggering input of one run. Once it is found, the run's facts are complete.

    Args:
        core: The session's parts.
        facts: The run.
        event_id: The event of the input; None where only the run is known.
        adopted: Whether another process started the run, which keeps its id.
        invoked_by: The client that posted the invocation; None where that is not known.
        outside: Set when the application gives the run up.
        on_located: Called with the input when it is found, and again when an earlier one is.

    Attributes:
        event_id: The event of the input; None where only the run is known.
        message: The input; its ``client_id`` is verified. None until it has been found.
        located: Resolved when the input has been found.
        interruption: Why nothing is looked for any more; None while it is.
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        facts: RunFacts,
        event_id: str | None,
        *,
        adopted: bool,
        invoked_by: str | None,
        outside: AbortSignal,
        on_located: Callable[[InboundMessage], object],
    ) -> None:
        self.event_id = event_id
        self.message: InboundMessage | None = None
        self.located = Latch[None]()
        self.interruption: SessionClosedError | None = None
        self._core = core
        self._tree = core.conversation.tree
        self._facts = facts
        self._adopted = adopted
        self._invoked_by = invoked_by
        self._outside = outside
        self._on_located = on_located
        self._minted_run_id = facts.run_id

    @property
    def owner(self) -> Author | None:
        """The author of the input that the run was started for; None until that is known."""
        if self.message is not None and not self._facts.continues and not self._adopted:
            return Author(self.message.serial or "", self.message.client_id)
        return self._tree.owner_of(self._facts.run_id)

    def interrupt(self, error: SessionClosedError) -> None:
        """Fail the callers that wait for the input: the session closes."""
        self.interruption = error
        self.located.reject(error)

    def refuse_aborted(self, action: str) -> None:
        """Refuse an operation on a run that the application has given up.

        A client's cancel is no reason: the run starts and ends, so that clients learn what became of it.

        Raises:
            AITransportError: It has (40033).
        """
        if self._outside.aborted:
            raise AITransportError(
                f"unable to {action}; run {self._facts.run_id} was cancelled before",
                ErrorCode.OPERATION_CANCELLED,
                400,
            )

    def look(self) -> None:
        """Look for the input in the conversation so far."""
        found: InboundMessage | None = None
        if self.event_id is not None:
            found = self._tree.find_message_by_event_id(self.event_id)
        else:
            node = self._tree.get_run_node(self._facts.run_id)
            # Once the page with the start has been read, so have all resumes: history is read newest first.
            if node is not None and node.started_at is not None and node.trigger is not None:
                found = self._tree.find_input(node.trigger.input_codec_message_id or "")
        if found is not None and found.name == names.AI_INPUT and found is not self.message:
            self._locate(found)

    async def find(
        self,
        action: str,
        timeout: float | None,  # noqa: ASYNC109
        found: Callable[[], bool],
        sought: str | None = None,
    ) -> None:
        """Wait until something is in the conversation, live or from history.

        Args:
            action: The operation, for the errors' messages.
            timeout: How long to wait, in seconds; None waits for ever.
            found: Tells whether it is there.
            sought: The thing in words; the input or its run by default.

        Raises:
            NotFoundInTimeError: It did not come in time (104010).
            AITransportError: The application gave the run up (40033).
        """
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
        self.refuse_aborted(action)
        raise NotFoundInTimeError(
            f"unable to {action}; {sought or self._sought} was not found"
            f" on channel {self._core.channel.name} within {timeout} s",
            cause=self._core.conversation.history_error,
        )

    async def settle(self, timeout: float | None) -> None:  # noqa: ASYNC109
        """Make sure that no earlier input has the same event id, and that the right client published it.

        Args:
            timeout: How long history is read for that, in seconds; None for ever.

        Raises:
            NotAllowedError: The input is not of the client that posted the invocation (40300).
            SessionClosedError: The session was closed (104004).
            AITransportError: The application gave the run up (40033).
        """
        await self._look_back(timeout, self._has_looked_back)
        if self.event_id is not None:
            # Somebody may have published the event again: the earliest message is the event.
            self.look()
        author = None if self.message is None else self.message.client_id
        if self._invoked_by is not None and author != self._invoked_by:
            who = "an anonymous client" if author is None else f"client {author!r}"
            raise NotAllowedError(
                f"unable to start run; input event {self.event_id} was published by {who},"
                f" and the invocation was posted by {self._invoked_by!r}",
                client_id=self._invoked_by,
            )

    async def check_allowed(
        self,
        guard: RunGuard[InT, OutT, ProjT, MsgT],
        timeout: float | None,  # noqa: ASYNC109
    ) -> None:
        """Ask the policy whether the author of the input may resume a run, or replace a reply.

        Args:
            guard: Decides.
            timeout: How long history is read for the owner of the run, in seconds; None for ever.

        Raises:
            NotAllowedError: The policy refuses (40300).
        """
        facts, message = self._facts, self.message
        if message is None or (not facts.continues and facts.regenerates is None):
            return
        if not guard.policy.allows_all:
            await self._look_back(timeout, lambda: self._find_target() is not None)
        run_id, owner = self._find_target() or (facts.run_id, None)
        kind: RequestKind = "resume" if facts.continues else "regenerate"
        request = RunRequest(kind, message, run_id, None if owner is None else owner.client_id)
        if not await guard.ask(request):
            raise guard.refuse(request)

    def _locate(self, message: InboundMessage) -> None:
        """Learn from the input which run it asks for."""
        headers, facts = message.transport_headers, self._facts
        facts.input_client_id = message.client_id
        facts.run_client_id = headers.get(names.RUN_CLIENT_ID)
        facts.fork_of = headers.get(names.FORK_OF)
        facts.regenerates = headers.get(names.MSG_REGENERATE)
        facts.input_codec_message_id = headers.get(names.CODEC_MESSAGE_ID)
        wire_run_id = headers.get(names.RUN_ID)
        facts.continues = wire_run_id is not None
        if not self._adopted:
            facts.run_id = self._minted_run_id if wire_run_id is None else wire_run_id
        parent = headers.get(names.PARENT)
        message_id = facts.input_codec_message_id
        node = None if message_id is None else self._tree.get_node_by_codec_message_id(message_id)
        facts.output_parent = parent if node is None else message_id
        facts.run_parent = parent if isinstance(node, RunNode) else facts.output_parent
        self.message = message
        self._on_located(message)
        self.located.resolve(None)
        self._core.log.debug("input located", extra={"run": facts.run_id, "serial": message.serial})

    def _has_looked_back(self) -> bool:
        """Tell whether history has been read far enough to know whether an earlier input has the event id."""
        message = self.message
        if message is None or (self._invoked_by is not None and message.client_id == self._invoked_by):
            return True
        return self._core.conversation.has_read_before(message)

    async def _look_back(self, timeout: float | None, enough: Callable[[], bool]) -> None:  # noqa: ASYNC109
        """Read history back to what is needed, as far as it can be read in time."""
        with anyio.move_on_after(timeout) as scope:
            off = self._outside.on_abort(scope.cancel)
            try:
                await self._core.conversation.read_history(enough)
            except AITransportError as error:
                extra = {"run": self._facts.run_id}
                self._core.log.warning("History could not be read: %s", error, extra=extra)
            finally:
                off()
        self.refuse_aborted("start run")
        if self.interruption is not None:
            raise self.interruption

    def _find_target(self) -> tuple[str, Author] | None:
        """Find the run that the input goes on with, or whose reply it replaces, and that run's owner."""
        run_id: str | None = self._facts.run_id
        if not self._facts.continues and self._facts.regenerates is not None:
            node = self._tree.get_node_by_codec_message_id(self._facts.regenerates)
            run_id = node.run_id if isinstance(node, RunNode) else None
        owner = None if run_id is None else self._tree.owner_of(run_id)
        return None if run_id is None or owner is None else (run_id, owner)

    @property
    def _sought(self) -> str:
        if self.event_id is None:
            return f"run {self._facts.run_id} or its input"
        return f"input event {self.event_id} or its run"
