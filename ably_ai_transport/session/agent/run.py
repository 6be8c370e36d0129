"""A run, as the agent that works on it holds it."""

import uuid
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Self, get_args

import anyio

from ably_ai_transport.codec.contract import FoldMeta, InputEvent, InT, MsgT, OutputEvent, OutT, ProjT
from ably_ai_transport.conversation import TERMINAL, OutputFolded, Pinned
from ably_ai_transport.session.agent.announcing import Announcer
from ably_ai_transport.session.agent.cancels import EarlyCancels, cancel_target
from ably_ai_transport.session.agent.concurrency import ConcurrencyPolicy
from ably_ai_transport.session.agent.draining import Departure, Drainer
from ably_ai_transport.session.agent.facts import RunFacts
from ably_ai_transport.session.agent.guard import RunGuard
from ably_ai_transport.session.agent.hold import CLAIMS, RunHold
from ably_ai_transport.session.agent.hooks import CancelRequest, HookCaller, RunHooks, public_error
from ably_ai_transport.session.agent.openings import Openings, RunOpening, run_id_for
from ably_ai_transport.session.agent.pipe import StreamResult
from ably_ai_transport.session.agent.policy import RunPolicy, RunRequest
from ably_ai_transport.session.agent.publisher import RunEvent, RunPhase, RunWriter, WriteLimits
from ably_ai_transport.session.agent.recovery import Recovery
from ably_ai_transport.session.agent.steering import SteerTracker
from ably_ai_transport.session.agent.steps import RunStep, RunSteps, step_reason_of
from ably_ai_transport.session.agent.trigger import RunTrigger
from ably_ai_transport.session.agent.turns import Turn
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
    NotAllowedError,
    RunEndReason,
    RunLostError,
    RunNotStartedError,
    RunSteeredError,
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
        invocation: "Invocation | None",
        *,
        run_id: str | None,
        invocation_id: str | None,
        hooks: RunHooks[OutT],
        adopted: bool,
        limits: WriteLimits,
        early_cancels: EarlyCancels,
        policy: RunPolicy,
        guards: "list[RunGuard[InT, OutT, ProjT, MsgT]]",
        refused: Mapping[str, NotAllowedError],
        invoked_by: str | None,
        keeps_unfinished: bool,
        recovery: Recovery[InT, OutT, ProjT, MsgT],
        concurrency: ConcurrencyPolicy,
        interrupt_timeout: float | None,
        openings: Openings,
        announcer: Announcer[InT, OutT, ProjT, MsgT] | None,
        drainer: Drainer,
        closed: Listeners[SessionClosedError],
    ) -> None:
        super().__init__(core.conversation.tree)
        self._core = core
        event_id = None if invocation is None else invocation.input_event_id
        self._adopted = adopted
        self._hooks = HookCaller(core, hooks)
        self._outside = hooks.signal or AbortSignal()
        derived: str | None = None
        if run_id is None and event_id is not None:
            derived = run_id_for(core.client_id, event_id)
        facts = RunFacts(run_id or derived or str(uuid.uuid4()), invocation_id or str(uuid.uuid4()))
        facts.announced = announcer is not None
        self._facts = facts
        self._announcer = announcer
        self._drainer = drainer
        self._departure: Departure | None = None
        self._opening = RunOpening(core, facts, openings, derived)
        self._turn = Turn(core, facts, concurrency, interrupt_timeout)
        self._hold = RunHold(core, facts, self._opening)
        self._writer = RunWriter(core, facts, limits, hooks.on_message, self._hold, recovery)
        self.abort_signal = AbortSignal()
        self._trigger = RunTrigger(
            core,
            facts,
            event_id,
            adopted=adopted,
            invoked_by=invoked_by,
            outside=self._outside,
            on_located=self._on_located,
        )
        self.located = self._trigger.located
        policy = policy if hooks.policy is None else hooks.policy
        guard = RunGuard(policy, facts, event_id, self.located, self._hooks)
        self._guard = guard
        guards.append(guard)
        self._waiting_cancels: list[InboundMessage] = []
        self._judges_cancels = False
        self._early_cancels = early_cancels
        self._cancels_seen: set[str | None] = set()
        self._steers = SteerTracker()
        self._steps = RunSteps(core, self._writer, self._hooks, self._steers, self.abort_signal)
        self._opened = Latch[None]()
        self._start_published = False
        self._closed = Latch[None]()
        conversation = core.conversation
        self._branches = Pinned(
            conversation.tree, self._steers.is_unanswered, keeps_unfinished=keeps_unfinished
        )
        self.view = View(core, self._branches, on_exception=self._hooks.report_listener)
        self._releases = [
            conversation.subscribe(self._on_change, InboundMessage, OutputFolded),
            closed.add(self._on_session_closed),
            drainer.requested.add(self._on_departure),
            self._hold.lost.add(self._on_hold_lost),
            self._outside.on_abort(self.abort_signal.abort),
            lambda: guards.remove(guard),
        ]
        self._trigger.look()
        refusal = None if event_id is None else refused.get(event_id)
        if self._trigger.message is None and refusal is not None:
            self.located.reject(refusal)

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
    def trigger(self) -> InboundMessage | None:
        """The triggering input; its ``client_id`` is verified. None until it has been found."""
        return self._trigger.message

    @property
    def owner(self) -> str | None:
        """The client whose input the run was started for, as Ably verified it.

        None for an anonymous client. Where the run goes on, None until its start has been read from history.
        """
        owner = self._trigger.owner
        return None if owner is None else owner.client_id

    @property
    def policy(self) -> RunPolicy:
        """The clients that the run listens to."""
        return self._guard.policy

    @property
    def is_open(self) -> bool:
        """Whether the run can be written to."""
        return self._writer.is_open

    @property
    def phase(self) -> RunPhase:
        """The phase of the run in this process; the conversation may show another status."""
        return self._writer.phase

    async def start(self, *, timeout: float | None = START_TIMEOUT_SECONDS) -> None:  # noqa: ASYNC109
        """Find the triggering input, publish that the run starts or goes on, and wait for its turn.

        The input may come live or be in history. The turn is what the session's ``concurrency`` says.
        Starting twice is fine, and fails again where it has failed. A cancel that was published before the
        agent came is honored: the run then starts with its signal set. So is a cancel that comes while it
        waits for its turn.

        Args:
            timeout: How long to wait for the input, in seconds; None waits for ever. The wait for the turn
                has no limit: cancel the task, or let :func:`anyio.fail_after` do it, and the run ends as
                ``cancelled``.

        Raises:
            InvalidArgumentError: The session is not connected (40003).
            SessionClosedError: The session was closed (104004).
            NotFoundInTimeError: The input did not come in time (104010).
            AITransportError: The run was cancelled from outside before (40033).
            NotAllowedError: The policy does not allow the input's author to resume the run or to replace a
                reply, or the input is not of the client that posted the invocation (40300).
            DuplicateInvocationError: The invocation was served before, or another process serves it (104052).
            RunRejectedError: Another run is active, and ``concurrency`` is ``"reject"`` (104053).
            RunSteeredError: Another run answered the question, and ``concurrency`` is ``"steer"`` (104054).
            RunLostError: The run was ended by somebody else while it waited for its turn (104051).
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

    def events(self) -> list[tuple[InputEvent[InT] | OutputEvent[OutT], FoldMeta]]:
        """List what was put into the run and what came out of it, in the order of the channel.

        Inputs that the policy refused are not among them, nor are outputs of attempts that were retried.
        Codecs read from the events which tool calls are approved.

        Returns:
            Each event with its origin, as far as history has been read (``await run.view.load_all()``). The
            list is empty some time after the run has ended.
        """
        return self._tree.events_of(self.run_id)

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
        departure = self._departure
        if departure is None or reason != "cancelled":
            await self._close_once(partial(self._end, reason, told))
        elif departure.then == "cancel":
            await self._close_once(partial(self._end, reason, departure.why))
        else:
            await self._close_once(self._end_suspended)

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
        self._drainer.check_takes_runs(action)
        self._trigger.refuse_aborted(action)
        self._writer.move("open")
        self._drainer.enter(self)
        try:
            await open_run()
            # The agent reads the conversation next; its model must not see references.
            await self._core.conversation.payloads_settled()
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
            self._branches.reorder()
            self._hooks.notify_steer(self.run_id)
        self._hold.watch()

    async def _start(self, timeout: float | None) -> None:  # noqa: ASYNC109
        await self._trigger.find("start run", timeout, lambda: self.located.is_settled)
        await self.located
        await self._trigger.settle(timeout)
        await self._trigger.check_allowed(self._guard, timeout)
        self._honor_early_cancels()
        if self._turn.needs_history:
            conversation = self._core.conversation
            await self._trigger.find(
                "start run", timeout, lambda: not conversation.has_older, "all of the history"
            )
        self._opening.check()
        await self._core.tasks.finish(self._publish_start())
        if self._trigger.interruption is None:
            await self._opening.confirm(timeout)
            self._hold.watch()
            await self._take_turn()
        if self._trigger.interruption is not None:
            raise self._trigger.interruption

    async def _publish_start(self) -> None:
        # Announced first: a follower that sees the run sees its agent.
        await self._announce()
        await self._writer.start(self._opening.message_id)
        self._start_published = True
        if self.phase == "closed":
            await self._give_up()

    async def _take_turn(self) -> None:
        refusal = await self._turn.take(self.abort_signal)
        self._hold.check_held("start run")
        if refusal is not None:
            await self._core.tasks.finish(self._decline(refusal))
            raise refusal

    async def _decline(self, why: RunNotStartedError) -> None:
        """End a run that is not to be worked on, so that clients see the reason."""
        self._start_published = False
        try:
            await self._writer.end("cancelled" if isinstance(why, RunSteeredError) else "error", why)
        except AITransportError:
            self._start_published = True
            raise

    async def _give_up(self) -> None:
        """End a run that was started and that nobody works on, so that clients do not wait for it."""
        if self._hold.error is None and await self._opening.is_own():
            await self._writer.end("cancelled")

    async def _load(self, timeout: float | None) -> None:  # noqa: ASYNC109
        await self._trigger.find("load run", timeout, self._is_known)
        await self.located
        self._honor_early_cancels()
        if self.status != "active":
            raise InvalidArgumentError(
                f"unable to load run; run {self.run_id} is {self.status}"
                + (" (resume it with create_run)" if self.status == "suspended" else "")
            )
        node = self._tree.get_run_node(self.run_id)
        self._facts.run_client_id = None if node is None else node.client_id
        self._hold.adopt()
        await self._announce()

    async def _announce(self) -> None:
        if self._announcer is not None:
            await self._announcer.add(self.run_id)

    def _is_known(self) -> bool:
        if not self.located.is_settled:
            # Asked between pages of history, each of which may hold a start and the resumes after it.
            self._trigger.look()
        node = self._tree.get_run_node(self.run_id)
        started = node is not None and node.start_serial is not None
        return self.located.is_settled and (started or self.located.error is not None)

    async def _close_once(self, publish: Callable[[], Awaitable[None]]) -> None:
        """Publish the run's close in a task of the session; later calls wait for the first one."""
        if self._writer.phase == "closed":
            return
        if self._writer.phase == "closing":
            await self._closed
            return
        self._writer.move("close")
        self._hold.unwatch()
        self._closed = Latch[None]()
        await self._core.tasks.finish(self._close(publish, self._closed))

    async def _close(self, publish: Callable[[], Awaitable[None]], closed: Latch[None]) -> None:
        try:
            if self.status not in TERMINAL:
                await publish()
        except AITransportError as error:
            self._writer.move("refused")
            closed.reject(error)
            self._hold.watch()
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
        await self._end_open_step(reason)
        await self._writer.end(reason, error)

    async def _end_open_step(self, reason: RunEndReason) -> None:
        try:
            await self._steps.close_active(step_reason_of(reason))
        except AITransportError as failure:
            self._core.log.warning(
                "The open step could not be ended: %s", failure, extra={"run": self.run_id}
            )

    async def _end_suspended(self) -> None:
        """Suspend the run, and end its open step as cancelled: another invocation may try it again."""
        await self._end_open_step("cancelled")
        await self._writer.suspend()

    def _on_departure(self, departure: Departure) -> None:
        """Stop, so that the application lets go of the run; its end is then what the departure says."""
        if self.phase not in ("opening", "open"):
            return
        self._departure = departure
        self.abort_signal.abort()
        if departure.then == "detach":
            self._hold.let_go(departure.why)

    def _on_change(self, change: Change[InT, OutT]) -> None:
        event = change.event
        if isinstance(event, InboundMessage):
            trigger = self._trigger
            if trigger.message is None and trigger.event_id is not None:
                trigger.look()
            if event.name == names.CANCEL and trigger.message is not None:
                self._on_cancel_message(event, trigger.message)
            elif event.name in CLAIMS and event.transport_headers.get(names.RUN_ID) == self.run_id:
                self._hold.check()
        elif isinstance(event, OutputFolded):
            if event.inputs and change.message is not None:
                self._writer.telemetry.received(change.message)
            if self._steers.observe(event, self.run_id):
                self._hooks.notify_steer(self.run_id)

    def _on_located(self, trigger: InboundMessage) -> None:
        facts = self._facts
        self._writer.telemetry.located(trigger)
        self._branches.pin(run_id=facts.run_id, anchor=facts.output_parent, regenerates=facts.regenerates)

    def _honor_early_cancels(self) -> None:
        trigger = self._trigger.message
        if trigger is None:
            return
        self._judges_cancels = True
        waiting, self._waiting_cancels = self._waiting_cancels, []
        for request in (*waiting, *self._early_cancels.find(self.run_id, self.input_codec_message_id)):
            self._on_cancel_message(request, trigger)

    def _on_cancel_message(self, message: InboundMessage, trigger: InboundMessage) -> None:
        """Honor a cancel request for this run; one before its input was for an earlier invocation."""
        run_id, input_id = cancel_target(message)
        is_meant = run_id == self.run_id or (input_id is not None and input_id == self.input_codec_message_id)
        if not is_meant or (message.serial or "") <= (trigger.serial or ""):
            return
        if message.serial in self._cancels_seen:
            return
        if self.policy.cancel != "anyone" and not self._judges_cancels:
            # The policy needs the owner of the run, which may have to be read from history.
            self._waiting_cancels.append(message)
            return
        self._cancels_seen.add(message.serial)
        request = RunRequest("cancel", message, self.run_id, self.owner)
        # An agent interrupts its own runs, whatever clients may do.
        is_own = message.client_id is not None and message.client_id == self._core.client_id
        answer = True if is_own else self._guard.decide(request)
        if answer is False:
            self._guard.refuse(request)
            return
        self._writer.telemetry.received(message)
        if answer is True and not self._hooks.decides_cancels:
            self.abort_signal.abort()
        else:
            self._core.tasks.start(self._ask_and_cancel(request, answer))

    async def _ask_and_cancel(self, request: RunRequest, answer: bool | Awaitable[bool]) -> None:
        if not (answer if isinstance(answer, bool) else await answer):
            self._guard.refuse(request)
        elif await self._hooks.allows_cancel(CancelRequest(request.message, self.run_id)):
            self.abort_signal.abort()

    def _on_hold_lost(self, error: RunLostError) -> None:
        """Stop: the run has ended, or another invocation works on it. After a cancel that is no news."""
        was_cancelled = self.abort_signal.aborted
        self._writer.telemetry.ending(
            "cancelled" if was_cancelled else "lost", None if was_cancelled else error
        )
        self.abort_signal.abort()
        self._release("abandon")
        if was_cancelled:
            self._core.log.info("%s", error, extra={"run": self.run_id})
        else:
            self._hooks.report(error)

    def _on_session_closed(self, error: SessionClosedError) -> None:
        self._trigger.interrupt(error)
        self.abort_signal.abort()
        self._core.conversation.wake()
        self._release("abandon")

    def _release(self, event: RunEvent) -> None:
        if self.phase == "opening" and self._start_published:
            # Clients should not wait for a run without an agent.
            self._core.tasks.finish_later(self._give_up())
        self._writer.move(event)
        self._hold.unwatch()
        if self._announcer is not None:
            self._announcer.remove(self.run_id)
        self._drainer.leave(self)
        for release in self._releases:
            release()
        self._releases = []
        self.view.close()

    @property
    def _anchor(self) -> str | None:
        return self._facts.output_parent
