"""An agent's part in a conversation."""

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self

import anyio

from ably_ai_transport.channel import Channel, ChannelClient, ChannelStateChange
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import TreeEvent
from ably_ai_transport.conversation.tree import REORDER_WINDOW_MS
from ably_ai_transport.session.agent_run import AgentRun
from ably_ai_transport.session.base_session import HISTORY_PAGE_SIZE, BaseSession
from ably_ai_transport.session.cancels import EarlyCancels, cancel_target
from ably_ai_transport.session.connection import continuity_lost_error
from ably_ai_transport.session.materialisation import Materialisation
from ably_ai_transport.session.run_errors import report_to
from ably_ai_transport.session.run_hooks import CancelRequest, RunHooks
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, names

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation

logger = logging.getLogger("ably_ai_transport.session")

APPEND_WINDOW = 32


class AgentSession(BaseSession[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """Publishes runs into a conversation.

    As a context it is connected on entry; on exit, runs that are still open end as ``cancelled`` and the
    session detaches. The Ably client stays the caller's to close.

    Args:
        client: A connected or connecting ``ably.AblyRealtime``; in tests, any
            :class:`~ably_ai_transport.channel.ChannelSource`.
        session_name: The conversation, which is the name of its channel.
        codec: The vocabulary of the conversation.
        channel_modes: Channel modes to ask for beyond the default ones.
        history_page_size: Messages a page of history.
        reorder_window_ms: How long a finished run's events are kept, in milliseconds of message time.
        append_window: How many appended tokens may wait for their acknowledgement at once.
        merge_appends: Whether tokens that arrive while the window is full are merged into the next append;
            otherwise the pipe waits.

    Example:
        >>> async with AgentSession(ably, invocation.session_name, codec=codec) as session:  # doctest: +SKIP
        ...     async with session.create_run(invocation) as run:
        ...         await run.pipe(model([m.message for m in await run.view.load_all()]))
    """

    def __init__(
        self,
        client: ChannelClient,
        session_name: str,
        *,
        codec: Codec[InT, OutT, ProjT, MsgT],
        channel_modes: Sequence[str] = (),
        history_page_size: int = HISTORY_PAGE_SIZE,
        reorder_window_ms: int = REORDER_WINDOW_MS,
        append_window: int = APPEND_WINDOW,
        merge_appends: bool = True,
    ) -> None:
        super().__init__(
            client,
            session_name,
            codec=codec,
            channel_modes=channel_modes,
            history_page_size=history_page_size,
            reorder_window_ms=reorder_window_ms,
            lazy=True,
        )
        self._append_window = append_window
        self._merge_appends = merge_appends
        self._runs: dict[str, AgentRun[InT, OutT, ProjT, MsgT]] = {}
        self._run_by_input: dict[str, AgentRun[InT, OutT, ProjT, MsgT]] = {}
        self._early_cancels = EarlyCancels()
        self._materialisation.watch(self._on_tree_event)

    @property
    def channel(self) -> Channel:
        """The channel."""
        return self._channel

    @property
    def materialisation(self) -> Materialisation[InT, OutT, ProjT, MsgT]:
        """The conversation as the session sees it now. For runs."""
        return self._materialisation

    def create_run(
        self,
        invocation: "Invocation",
        *,
        run_id: str | None = None,
        invocation_id: str | None = None,
        hooks: RunHooks[OutT] | None = None,
    ) -> AgentRun[InT, OutT, ProjT, MsgT]:
        """Create a run for an invocation; it is published when it is started.

        Args:
            invocation: What the client posted.
            run_id: The id of a fresh run; None makes one up. A run that goes on keeps the id that it has.
            invocation_id: The id of this invocation; None makes one up.
            hooks: What to do at certain moments of the run.

        Returns:
            The run; enter it as a context, or call ``start`` and ``end``.

        Raises:
            AITransportError: The session is closed (104004), or an id is empty (40003).
        """
        return self._run("create run", invocation, run_id, invocation_id, hooks, adopted=False)

    def adopt_run(
        self,
        invocation: "Invocation",
        *,
        run_id: str,
        invocation_id: str,
        hooks: RunHooks[OutT] | None = None,
    ) -> AgentRun[InT, OutT, ProjT, MsgT]:
        """Take over a run that another process started; :meth:`AgentRun.load` finds it on the channel.

        Args:
            invocation: What the client posted.
            run_id: The run.
            invocation_id: The invocation under which it goes on.
            hooks: What to do at certain moments of the run.

        Returns:
            The run; enter it as a context, or call ``load`` and ``end``.

        Raises:
            AITransportError: The session is closed (104004), or an id is empty (40003).
        """
        return self._run("adopt run", invocation, run_id, invocation_id, hooks, adopted=True)

    async def end(self) -> None:
        """End the runs that are still open as ``cancelled``, and detach. Ending twice is fine."""
        if self._connection.closed:
            return
        for run in tuple(self._runs.values()):
            if run.is_open:
                try:
                    await run.end("cancelled")
                except AITransportError as error:
                    logger.warning("An open run could not be ended", exc_info=True)
                    self._errors.emit(error)
        await self.detach()

    async def detach(self) -> None:
        """Leave the conversation, and the runs that are still open to another process."""
        if self._connection.closed:
            return
        with anyio.CancelScope(shield=True):
            await self._connection.close()
            closed = AITransportError(
                "unable to locate input event; session closed", ErrorCode.SESSION_CLOSED, 400
            )
            for run in tuple(self._runs.values()):
                run.abandon(closed)
            await self._tasks.close()
        self._close_listeners()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=error is not None):
            await self.end()

    async def require(self, action: str) -> None:
        """Refuse an operation where the session is not connected. For runs."""
        self._connection.check_open(action)
        await self._connection.require(action)

    def located(self, run: AgentRun[InT, OutT, ProjT, MsgT], old_run_id: str) -> None:
        """Learn which run an invocation belongs to. For runs."""
        if old_run_id != run.run_id:
            self._runs.pop(old_run_id, None)
        self._runs[run.run_id] = run
        if run.input_codec_message_id is not None:
            self._run_by_input[run.input_codec_message_id] = run

    def honour_early_cancel(self, run: AgentRun[InT, OutT, ProjT, MsgT], trigger: InboundMessage) -> None:
        """Cancel a run if that was asked after its input, and before the agent came. For runs."""
        request = self._early_cancels.take(run.run_id, run.input_codec_message_id, trigger)
        if request is not None:
            self._cancel(run, request)

    def forget(self, run: AgentRun[InT, OutT, ProjT, MsgT]) -> None:
        """Let go of a run. For runs."""
        if self._runs.get(run.run_id) is run:
            del self._runs[run.run_id]
        message_id = run.input_codec_message_id
        if message_id is not None and self._run_by_input.get(message_id) is run:
            del self._run_by_input[message_id]

    def report(self, error: AITransportError) -> None:
        """Tell the listeners of an error. For runs."""
        self._errors.emit(error)

    def _run(
        self,
        action: str,
        invocation: "Invocation",
        run_id: str | None,
        invocation_id: str | None,
        hooks: RunHooks[OutT] | None,
        *,
        adopted: bool,
    ) -> AgentRun[InT, OutT, ProjT, MsgT]:
        self._connection.check_open(action)
        for name, value in (("run_id", run_id), ("invocation_id", invocation_id)):
            if value == "":
                raise AITransportError(
                    f"unable to {action}; {name} must not be empty", ErrorCode.INVALID_ARGUMENT, 400
                )
        run = AgentRun(
            self,
            invocation,
            run_id=run_id,
            invocation_id=invocation_id,
            hooks=hooks or RunHooks(),
            adopted=adopted,
            append_window=self._append_window,
            merge_appends=self._merge_appends,
        )
        self._runs[run.run_id] = run
        return run

    def _take_in(self, message: InboundMessage) -> None:
        self._materialisation.apply(message)

    def _on_tree_event(self, event: TreeEvent[InT, OutT], from_history: bool) -> None:
        if not isinstance(event, InboundMessage) or event.name != names.CANCEL:
            return
        run_id, message_id = cancel_target(event)
        run = None if run_id is None else self._runs.get(run_id)
        if run is None and message_id is not None:
            run = self._run_by_input.get(message_id)
        if run is None or from_history:
            # The run that is meant may be the one that the agent is being invoked for.
            self._early_cancels.add(run_id, message_id, event)
        else:
            self._cancel(run, event)

    def _cancel(self, run: AgentRun[InT, OutT, ProjT, MsgT], message: InboundMessage) -> None:
        if run.hooks.on_cancel is None:
            run.abort_signal.abort()
        else:
            self._tasks.start(self._ask_and_cancel(run, CancelRequest(message, run.run_id)))

    async def _ask_and_cancel(self, run: AgentRun[InT, OutT, ProjT, MsgT], request: CancelRequest) -> None:
        try:
            if run.hooks.on_cancel is None or await run.hooks.on_cancel(request):
                run.abort_signal.abort()
        except Exception as error:
            logger.exception("on_cancel raised")
            failure = AITransportError.wrap(
                f"process cancel for run {run.run_id}", error, ErrorCode.CANCEL_LISTENER_ERROR
            )
            report_to(run.hooks.on_error, failure, self.report)

    def _on_continuity_lost(self, change: ChannelStateChange) -> None:
        logger.warning("The channel may have missed messages", extra={"state": change.current})
        error = continuity_lost_error(change, "continue")
        for run in tuple(self._runs.values()):
            if run.is_open:
                run.abort_signal.abort()
            else:
                run.abandon(error)
        self._materialisation = self._materialise()
        self._materialisation.watch(self._on_tree_event)
        self._errors.emit(error)
