"""A run, as the agent that works on it holds it."""

import logging
import uuid
from collections.abc import AsyncIterable, Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self

import anyio

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import TERMINAL, OutputFolded, Pinned, RunNode, TreeEvent
from ably_ai_transport.session.abort import AbortSignal
from ably_ai_transport.session.finding import Finder
from ably_ai_transport.session.pipe import StreamResult
from ably_ai_transport.session.run_errors import public_error, report_to
from ably_ai_transport.session.run_hooks import RunHooks
from ably_ai_transport.session.run_host import RunHost
from ably_ai_transport.session.run_publisher import RunFacts, RunPublisher
from ably_ai_transport.session.run_reader import RunReader
from ably_ai_transport.session.run_steps import RunStep, RunSteps, StepContext, step_reason_of
from ably_ai_transport.session.settled import Settled
from ably_ai_transport.session.steers import SteerTracker
from ably_ai_transport.session.view import View
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    RunEndReason,
    RunStart,
    names,
)

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation

logger = logging.getLogger("ably_ai_transport.session")

START_TIMEOUT_SECONDS = 30.0


class AgentRun(RunReader[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """One run of an agent: start it, read the conversation, pipe the reply, end it.

    As a context it is started on entry and ended on exit: ``complete``, ``cancelled`` where that was asked
    for, and ``error`` where the body raised or the last pipe failed. Clients see the code and the text of an
    :class:`AITransportError`; of any other exception they see the type only.

    Example:
        >>> async with session.create_run(invocation) as run:  # doctest: +SKIP
        ...     messages = [m.message for m in await run.view.load_all()]
        ...     await run.pipe(model(messages))

    Attributes:
        located: Await it to learn when the triggering input has been found on the channel.
        view: The conversation up to this run.
        abort_signal: Set when the run is to stop.
    """

    def __init__(
        self,
        host: RunHost[InT, OutT, ProjT, MsgT],
        invocation: "Invocation",
        *,
        run_id: str | None,
        invocation_id: str | None,
        hooks: RunHooks[OutT],
        adopted: bool,
        append_window: int,
        merge_appends: bool,
    ) -> None:
        super().__init__(lambda: host.materialisation.tree)
        self._host = host
        self._invocation = invocation
        self._hooks = hooks
        self._adopted = adopted
        self._run_id = run_id or str(uuid.uuid4())
        self._facts = RunFacts(self._run_id, invocation_id or str(uuid.uuid4()))
        self._publisher = RunPublisher(host.channel, self._facts)
        self.abort_signal = AbortSignal()
        self.located = Settled[None]()
        self._finder = Finder(lambda: host.materialisation)
        self._trigger: InboundMessage | None = None
        self._steers = SteerTracker()
        self._steps = RunSteps(
            StepContext(
                facts=self._facts,
                publisher=self._publisher,
                channel=host.channel,
                codec=host.materialisation.tree.codec,
                materialisation=lambda: host.materialisation,
                signal=self.abort_signal,
                check_writable=self._check_writable,
                begin_output=self._begin_output,
                take_steer_stamp=self._steers.take_stamp,
                on_message=hooks.on_message,
                on_cancelled=hooks.on_cancelled,
                report=self._report,
                append_window=append_window,
                merge_appends=merge_appends,
            )
        )
        self._opening = False
        self._opened = Settled[None]()
        self._open = False
        self._ended = False
        self._has_output = False
        materialisation = host.materialisation
        self._branches = Pinned(materialisation.tree, self._steers.is_unanswered)
        self.view = View(materialisation, self._branches, on_exception=self._report_listener)
        self._unwatch = materialisation.watch(self._on_tree_event)
        self._off_signal = None if hooks.signal is None else hooks.signal.on_abort(self.abort_signal.abort)
        known = materialisation.tree.find_message_by_event_id(invocation.input_event_id)
        if known is not None:
            self._locate(known)

    @property
    def invocation_id(self) -> str:
        """The agent's invocation; answer the client's request with it."""
        return self._facts.invocation_id

    @property
    def input_codec_message_id(self) -> str | None:
        """The triggering input; None until it has been found."""
        return self._facts.input_codec_message_id

    @property
    def hooks(self) -> RunHooks[OutT]:
        """The run's callbacks."""
        return self._hooks

    @property
    def is_open(self) -> bool:
        """Whether the run can be written to."""
        return self._open and not self._ended

    async def start(self, *, timeout: float | None = START_TIMEOUT_SECONDS) -> None:  # noqa: ASYNC109
        """Find the triggering input, live or in history, and publish that the run starts or goes on.

        Starting twice is fine, and fails again where it has failed. A cancel that was published before the
        agent came is honoured: the run then starts with its signal set.

        Args:
            timeout: How long to wait for the input, in seconds; None waits for ever.

        Raises:
            AITransportError: The session is not connected (40003) or was closed (104004), the run was
                cancelled from outside before (40033), the input did not come in time (104010), or the
                channel refused (104003).
        """
        await self._open_once("start run", partial(self._start, timeout))

    async def load(self, *, timeout: float | None = START_TIMEOUT_SECONDS) -> None:  # noqa: ASYNC109
        """Take over a run that another process started and left open; nothing is published.

        Loading twice is fine, and fails again where it has failed.

        Args:
            timeout: How long to wait for the start of the run, in seconds; None waits for ever.

        Raises:
            AITransportError: The session is not connected (40003) or was closed (104004), the run was
                cancelled from outside (40033), its start was not seen in time (104010), or it is suspended or
                has ended (40003).
        """
        await self._open_once("load run", partial(self._load, timeout))

    async def _open_once(self, action: str, open_run: Callable[[], Awaitable[None]]) -> None:
        await self._host.require(action)
        if self._opening:
            await self._opened
            return
        self._refuse_aborted(action)
        self._opening = True
        try:
            await open_run()
        except BaseException as error:
            self._opened.reject(
                error
                if isinstance(error, Exception)
                else AITransportError(
                    f"unable to {action}; the task was cancelled", ErrorCode.OPERATION_CANCELLED, 400
                )
            )
            self._release()
            raise
        self._open = True
        self._opened.resolve(None)
        if self._steers.begin(self._run_id, self._facts.input_codec_message_id):
            self._notify_steer()

    async def _start(self, timeout: float | None) -> None:  # noqa: ASYNC109
        await self._find("start run", timeout, lambda: self.located.is_settled)
        await self.located
        self._honour_early_cancel()
        try:
            await self._publisher.start()
        except anyio.get_cancelled_exc_class():
            # The start is on its way: clients should not wait for a run that nobody works on.
            with anyio.CancelScope(shield=True):
                await self._give_up()
            raise
        if not self._facts.continues:
            facts = self._facts
            self._apply(
                RunStart(
                    facts.run_id,
                    facts.run_client_id or "",
                    facts.invocation_id,
                    parent=facts.run_parent,
                    fork_of=facts.fork_of,
                    regenerates=facts.regenerates,
                    input_codec_message_id=facts.input_codec_message_id,
                )
            )

    async def _load(self, timeout: float | None) -> None:  # noqa: ASYNC109
        await self._find("load run", timeout, self._is_known)
        await self.located
        self._honour_early_cancel()
        if self.status != "active":
            raise AITransportError(
                f"unable to load run; run {self._run_id} is {self.status}"
                + (" (resume it with create_run)" if self.status == "suspended" else ""),
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        node = self._tree().get_run_node(self._run_id)
        self._facts.run_client_id = None if node is None else node.client_id

    async def _give_up(self) -> None:
        try:
            await self._publisher.end("cancelled", None)
        except AITransportError:
            logger.warning("A run that was cancelled while it started could not be ended", exc_info=True)

    def _is_known(self) -> bool:
        node = self._tree().get_run_node(self._run_id)
        started = node is not None and node.start_serial is not None
        return self.located.is_settled and (started or self.located.error is not None)

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
        return pending or not self._has_output

    async def pipe(self, source: AsyncIterable[OutT]) -> StreamResult:
        """Write a stream of outputs, in a step of its own that is opened with the first of them.

        Args:
            source: The outputs, such as an asynchronous generator; closed in any case.

        Returns:
            How it ended: ``complete``, ``cancelled`` by a client, or ``error`` with what the source or the
            channel raised.

        Raises:
            AITransportError: The run has not been started or has ended, a step is active, or the source is no
                asynchronous iterable (40003).
        """
        return await self._steps.pipe(source)

    def create_step(
        self, *, step_id: str | None = None, step_client_id: str | None = None
    ) -> RunStep[InT, OutT, ProjT, MsgT]:
        """Create a step, or another attempt of one.

        Args:
            step_id: The step. The same id as before makes another attempt, in this process or in another;
                None goes on with the last step that failed, or makes up a new id.
            step_client_id: Whose input shapes it; None keeps that of the step before.

        Returns:
            The step, not started yet.
        """
        return self._steps.create(step_id, step_client_id)

    async def suspend(self) -> None:
        """Publish that the run waits for an answer, and let go of it. Another invocation goes on with it.

        Raises:
            AITransportError: The run has not been started, or a step is active (40003); the channel refused
                (104003).
        """
        await self._host.require("suspend run")
        self._refuse_unopened("suspend run")
        if self._ended:
            return
        if self._steps.is_busy:
            raise AITransportError(
                f"unable to suspend run; end the active step before suspending (run {self._run_id})",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        with self._ending():
            if self.status not in TERMINAL:
                await self._publisher.suspend()

    async def end(self, reason: RunEndReason = "complete", *, error: Exception | None = None) -> None:
        """Publish that the run ended. An open step is ended before. Ending twice is fine.

        A run whose end the channel refuses stays open: the end can be tried again, and the session tries once
        more when it ends.

        Args:
            reason: ``complete``, ``cancelled`` or ``error``.
            error: What clients are told, where the reason is ``error``: the code and text of an
                :class:`AITransportError`; only the type of any other exception, whose text may hold secrets.

        Raises:
            AITransportError: The session is not connected, or the run has not been started (40003); the
                channel refused (104003).
        """
        await self._host.require("end run")
        self._refuse_unopened("end run")
        if self._ended:
            return
        with self._ending():
            if self.status not in TERMINAL:
                await self._close_active_step(reason)
                await self._publisher.end(reason, public_error(error) if reason == "error" else None)

    @contextmanager
    def _ending(self) -> Generator[None]:
        """Let go of the run, unless the channel refuses to hear of its end: that can be tried again."""
        self._ended = True
        try:
            yield
        except AITransportError:
            self._ended = False
            raise
        except BaseException:
            self._release()
            raise
        self._release()

    async def __aenter__(self) -> Self:
        await (self.load() if self._adopted else self.start())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ended or not self._open:
            return
        with anyio.CancelScope(shield=error is not None):
            if isinstance(error, Exception):
                await self.end("error", error=error)
                return
            last = self._steps.last_result
            if error is not None or self.abort_signal.aborted:
                await self.end("cancelled")
            elif last is not None and last.reason == "error":
                await self.end("error", error=last.error)
            else:
                await self.end("complete")

    def abandon(self, error: AITransportError) -> None:
        """Stop the run without publishing anything. For sessions that close or lost continuity."""
        self.located.reject(error)
        self.abort_signal.abort()
        self._finder.hear()
        self._release()

    async def _find(self, action: str, timeout: float | None, found: Callable[[], bool]) -> None:  # noqa: ASYNC109
        if found():
            return
        signal = self._hooks.signal or AbortSignal()
        is_found, history_error = await self._finder.find(found, timeout, signal)
        if is_found:
            return
        self._refuse_aborted(action)
        raise AITransportError(
            f"unable to {action}; input event {self._invocation.input_event_id} or its run was not found"
            f" on channel {self._host.channel.name} within {timeout} s",
            ErrorCode.INPUT_EVENT_NOT_FOUND,
            504,
            history_error,
        )

    def _on_tree_event(self, event: TreeEvent[InT, OutT], _from_history: bool) -> None:
        if isinstance(event, InboundMessage):
            wanted = self._invocation.input_event_id
            if not self.located.is_settled and event.transport_headers.get(names.EVENT_ID) == wanted:
                self._locate(event)
            if not self._open:
                self._finder.hear()
        elif isinstance(event, OutputFolded) and self._steers.observe(event, self._run_id):
            self._notify_steer()

    def _locate(self, trigger: InboundMessage) -> None:
        """Learn from the triggering input what the run is about."""
        headers, facts, old_run_id = trigger.transport_headers, self._facts, self._run_id
        facts.input_client_id = trigger.client_id or facts.input_client_id
        facts.run_client_id = headers.get(names.RUN_CLIENT_ID)
        facts.fork_of = headers.get(names.FORK_OF)
        facts.regenerates = headers.get(names.MSG_REGENERATE)
        facts.input_codec_message_id = headers.get(names.CODEC_MESSAGE_ID)
        wire_run_id = headers.get(names.RUN_ID)
        facts.continues = wire_run_id is not None
        if wire_run_id is not None and not self._adopted:
            self._run_id = facts.run_id = wire_run_id
        parent = headers.get(names.PARENT)
        message_id = facts.input_codec_message_id
        node = None if message_id is None else self._tree().get_node_by_codec_message_id(message_id)
        facts.output_parent = parent if node is None else message_id
        facts.run_parent = parent if isinstance(node, RunNode) else facts.output_parent
        self._anchor = facts.output_parent
        self._branches.pin(run_id=self._run_id, anchor=facts.output_parent, regenerates=facts.regenerates)
        self.view.refresh()
        self._trigger = trigger
        self.located.resolve(None)
        self._host.located(self, old_run_id)

    def _honour_early_cancel(self) -> None:
        if self._trigger is not None:
            self._host.honour_early_cancel(self, self._trigger)

    def _notify_steer(self) -> None:
        if self._hooks.on_steer is None:
            return
        try:
            self._hooks.on_steer()
        except Exception as error:
            logger.exception("on_steer raised")
            self._report(
                AITransportError.wrap(
                    f"notify steer for run {self._run_id}", error, ErrorCode.CANCEL_LISTENER_ERROR
                )
            )

    def _begin_output(self) -> None:
        self._has_output = True

    async def _close_active_step(self, reason: RunEndReason) -> None:
        try:
            await self._steps.close_active(step_reason_of(reason))
        except AITransportError:
            logger.warning("The open step could not be ended", exc_info=True)

    def _check_writable(self, action: str) -> None:
        self._refuse_unopened(action)
        if self._ended or self.status in TERMINAL:
            status = self.status if self.status in TERMINAL else "ended"
            raise AITransportError(
                f"unable to {action}; run {self._run_id} is already {status}", ErrorCode.INVALID_ARGUMENT, 400
            )

    def _refuse_unopened(self, action: str) -> None:
        if not self._open:
            raise AITransportError(
                f"unable to {action}; start() must be called first (run {self._run_id})",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )

    def _refuse_aborted(self, action: str) -> None:
        # A client's cancel is no reason: the run starts and ends, so that clients learn what became of it.
        if self._hooks.signal is not None and self._hooks.signal.aborted:
            raise AITransportError(
                f"unable to {action}; run {self._run_id} was cancelled before",
                ErrorCode.OPERATION_CANCELLED,
                400,
            )

    def _apply(self, event: RunStart) -> None:
        materialisation = self._host.materialisation
        materialisation.publish(materialisation.tree.apply_run_lifecycle(event))

    def _release(self) -> None:
        self._unwatch()
        self.view.close()
        if self._off_signal is not None:
            self._off_signal()
        self._host.forget(self)

    def _report(self, error: AITransportError) -> None:
        report_to(self._hooks.on_error, error, self._host.report)

    def _report_listener(self, error: Exception) -> None:
        self._report(AITransportError.wrap("call listener", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR))
