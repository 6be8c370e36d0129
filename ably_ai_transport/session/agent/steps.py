"""The steps of a run that an agent writes: attempts, outputs, retries."""

import uuid
from collections.abc import AsyncIterable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Final, Generic, Literal, Self, TypeAlias, get_args

import anyio

from ably_ai_transport.codec.contract import Encoder, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import TERMINAL
from ably_ai_transport.session.agent.hooks import HookCaller
from ably_ai_transport.session.agent.pipe import StreamResult, check_source, drain
from ably_ai_transport.session.agent.publisher import Attempt, RunWriter
from ably_ai_transport.session.agent.steering import SteerTracker
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.session.logs import LOGGER
from ably_ai_transport.session.signals import AbortSignal, Latch
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InvalidArgumentError,
    RunEndReason,
    StepEndReason,
)

StepState: TypeAlias = Literal["initialized", "opening", "active", "ending", "settled"]
StepEvent: TypeAlias = Literal["open", "started", "refused", "end", "ended"]

TRANSITIONS: Final[Mapping[tuple[StepState, StepEvent], StepState]] = MappingProxyType(
    {
        ("initialized", "open"): "opening",
        ("opening", "started"): "active",
        ("opening", "refused"): "initialized",
        ("active", "started"): "active",
        ("active", "end"): "ending",
        ("ending", "ended"): "settled",
        ("initialized", "ended"): "settled",
    }
)
"""The life of one attempt on the agent's side. A pair that is not listed changes nothing.

``started`` on an active attempt is a rewrite of it under a new start.
"""

_REWRITES = 3
"""Times that a step is published again before a gap is left to the repair."""

_STEP_REASON: Final[Mapping[RunEndReason, StepEndReason]] = MappingProxyType(
    {"complete": "complete", "cancelled": "cancelled", "error": "failed"}
)


def step_reason_of(reason: RunEndReason) -> StepEndReason:
    """Translate the end reason of a run or a pipe to that of its step."""
    return _STEP_REASON[reason]


@dataclass(slots=True)
class _Written(Generic[InT, OutT]):
    """One message of an attempt, with the data to publish it again.

    Attributes:
        outputs: The outputs that were written.
        message_id: Its identity in the conversation.
        steers: The steering messages that it responds to.
        encoder: The encoder that wrote it last.
    """

    outputs: list[OutT] = field(default_factory=list[OutT])
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    steers: list[str] = field(default_factory=list[str])
    encoder: Encoder[InT, OutT] | None = None


class StepAttempt(Generic[InT, OutT, ProjT, MsgT]):
    """One attempt of a step, on its way to the channel.

    All its publishes run in tasks of the session. A cancelled caller returns at once, and the publishes under
    way are completed in order.

    Args:
        steps: The steps of the run.
        step_id: The step.
        client_id: Client ID of the sender whose input shapes it.
    """

    def __init__(self, steps: "RunSteps[InT, OutT, ProjT, MsgT]", step_id: str, client_id: str) -> None:
        self.attempt = Attempt(step_id, client_id)
        self.state: StepState = "initialized"
        self.failed = False
        self.cancelled = False
        self._steps = steps
        self._order = anyio.Lock()
        self._written: list[_Written[InT, OutT]] = []
        self._recovery = steps.writer.recovery
        self._losses = self._recovery.losses

    def derive_reason(self) -> StepEndReason:
        """Derive the end reason of the attempt from the events in it."""
        if self.cancelled or self._steps.signal.aborted:
            return "cancelled"
        return "failed" if self.failed else "complete"

    async def open(self) -> None:
        """Publish the start, and become the active step."""
        if self.state == "initialized":
            await self._steps.core.tasks.finish(self._open())

    async def settle(self, reason: StepEndReason) -> None:
        """Publish the end, unless the attempt never started or has ended."""
        await self._steps.core.tasks.finish(self._settle(reason))

    def settle_later(self, reason: StepEndReason) -> None:
        """Publish the end in a task of the session; the next step waits for it."""
        self._steps.settling = settled = Latch[None]()
        self._steps.core.tasks.finish_later(self._settle_and_tell(reason, settled))

    async def write(self, source: AsyncIterable[OutT], *, report: bool) -> StreamResult:
        """Pipe a stream into one message."""
        steps = self._steps
        steps.has_output = True
        hold = steps.writer.hold
        message = _Written[InT, OutT]()
        publish = partial(self._publish, message)
        try:
            with (
                steps.writer.telemetry.piping(self.attempt.step_id) as piping,
                steps.core.conversation.holding_echoes(),
            ):
                stopped = await drain(source, publish, steps.signal)
                if stopped and hold.error is None:
                    await steps.hooks.write_cancelled(publish, steps.writer.facts.run_id)
                await self._finish(message, ends_streams=True)
                piping.finish("cancelled" if stopped else "complete")
            await self._close_gaps()
            result = StreamResult("cancelled" if stopped else "complete")
        except Exception as error:  # noqa: BLE001 - the source is a user's code; its exception is the result
            await self._close_quietly(message)
            result = StreamResult("error", error)
        except BaseException:  # a cancelled pipe still closes its message, in a task of the session
            self.cancelled = True
            steps.core.tasks.finish_later(self._abandon(message))
            raise
        if hold.error is not None:
            result, report = StreamResult("error", hold.error), False
        self.failed = self.failed or result.reason == "error"
        self.cancelled = self.cancelled or result.reason == "cancelled"
        steps.note_result(result, report=report)
        return result

    async def send(self, output: OutT) -> None:
        """Write one output as a message of its own."""
        self._steps.has_output = True
        message = _Written[InT, OutT]()
        try:
            await self._publish(message, output)
            await self._finish(message, ends_streams=False)
            await self._close_gaps()
        except BaseException:  # a cancelled write, too, leaves the step incomplete
            self.failed = True
            raise

    async def _open(self) -> None:
        async with self._order:
            if self.state != "initialized":
                return
            self._steps.writer.hold.check_step_can_start()
            self._move("open")
            self._steps.active = self
            try:
                await self._publish_start()
            except BaseException:  # the session may cancel this task; the step must not stay "opening"
                self._move("refused")
                self._steps.active = None
                raise

    async def _publish_start(self) -> None:
        attempt = self.attempt
        self.attempt = await self._steps.writer.start_step(attempt.step_id, attempt.client_id)
        self._move("started")

    async def _settle(self, reason: StepEndReason) -> None:
        async with self._order:
            if self.state == "initialized":
                # Nothing to publish; but one that failed before it began is retried under the same name.
                self._steps.note_end(self, reason)
                self._move("ended")
            elif self.state == "active":
                self._move("end")
                self._steps.note_end(self, reason)
                try:
                    if self._steps.writer.hold.error is None:
                        await self._steps.writer.end_step(self.attempt, reason)
                finally:
                    self._move("ended")
                    # The outputs were kept for a rewrite, which an attempt that has ended never needs.
                    self._written.clear()

    async def _settle_and_tell(self, reason: StepEndReason, settled: Latch[None]) -> None:
        try:
            await self._settle(reason)
        finally:
            settled.resolve(None)

    async def _publish(self, message: _Written[InT, OutT], output: OutT) -> None:
        """Publish one more output of a message."""
        if self._recovery.is_away:
            await self._recovery.ready()
        encoder = message.encoder or await self._begin(message)
        message.outputs.append(output)
        try:
            await encoder.publish_output(output)
        except AITransportError as error:
            await self._recover(error, still_open=message)

    async def _finish(self, message: _Written[InT, OutT], *, ends_streams: bool) -> None:
        """Flush a message that is complete."""
        if message.encoder is None or self._steps.writer.hold.error is not None:
            return
        try:
            if ends_streams:
                await message.encoder.cancel_streams()
            await message.encoder.close()
        except AITransportError as error:
            await self._recover(error)

    async def _abandon(self, message: _Written[InT, OutT]) -> None:
        """Close the streams after a cancellation, so that followers do not wait for the rest."""
        async with self._order:
            if message.encoder is not None and self._steps.writer.hold.error is None:
                try:
                    await message.encoder.cancel_streams()
                except AITransportError:
                    LOGGER.warning("An interrupted stream could not be closed", exc_info=True)
                await self._close_quietly(message)

    async def _close_quietly(self, message: _Written[InT, OutT]) -> None:
        if message.encoder is not None and self._steps.writer.hold.error is None:
            try:
                await message.encoder.close()
            except AITransportError:
                LOGGER.warning("The last outputs could not be flushed", exc_info=True)

    async def _begin(self, message: _Written[InT, OutT]) -> Encoder[InT, OutT]:
        """Begin one more message of this attempt, which is opened if it is not."""
        await self.open()
        message.steers = self._steps.steers.take_stamp()
        self._written.append(message)
        return self._encoder_of(message)

    def _encoder_of(self, message: _Written[InT, OutT]) -> Encoder[InT, OutT]:
        message.encoder = self._steps.writer.open_encoder(self.attempt, message.message_id, message.steers)
        return message.encoder

    async def _close_gaps(self) -> None:
        """Publish the attempt again if a follower may have read it with a gap.

        If the channel refused some text but took later text, the repair reaches history, late joiners and our
        own followers; a live follower of the npm package keeps the gap. A new attempt of the same step
        replaces the earlier output for all of them.

        Raises:
            AITransportError: The channel refused (104003), or refused text could not be repaired (104000).
        """
        for _ in range(_REWRITES):
            if not any(message.encoder is not None and message.encoder.has_gaps for message in self._written):
                return
            try:
                await self._steps.core.tasks.finish(self._rewrite("text in its middle was refused"))
            except AITransportError as error:
                await self._recover(error)

    async def _recover(self, error: AITransportError, still_open: _Written[InT, OutT] | None = None) -> None:
        """Publish the attempt again if its channel was away; what was on its way then is uncertain.

        Args:
            error: The failure of the latest write.
            still_open: The message that the attempt goes on with.

        Raises:
            AITransportError: The latest failure, where the channel itself refused or does not come back.
        """
        while await self._recovery.comes_back(self._losses):
            self._losses = self._recovery.losses
            try:
                await self._steps.core.tasks.finish(self._rewrite("its channel was away", still_open))
            except AITransportError as again:
                error = again
            else:
                return
        raise error

    async def _rewrite(self, why: str, still_open: _Written[InT, OutT] | None = None) -> None:
        self._steps.core.log.info(
            "Publishing a step again: %s",
            why,
            extra={"run": self._steps.writer.facts.run_id, "step": self.attempt.step_id},
        )
        async with self._order:
            await self._publish_start()
            for message in self._written:
                encoder = self._encoder_of(message)
                for output in message.outputs:
                    await encoder.publish_output(output)
                if message is not still_open:
                    await encoder.cancel_streams()
                    await encoder.close()

    def _move(self, event: StepEvent) -> None:
        self.state = TRANSITIONS.get((self.state, event), self.state)


class RunStep(Generic[InT, OutT, ProjT, MsgT]):
    """One attempt of a step of a run.

    A step is the unit of a retry: a new attempt under the same id replaces the output of the earlier one.
    Enter it as a context, or call :meth:`start` and :meth:`end`.

    Example:
        >>> async with run.create_step(step_id="plan") as step:  # doctest: +SKIP
        ...     await step.pipe(model_stream)
    """

    def __init__(
        self,
        steps: "RunSteps[InT, OutT, ProjT, MsgT]",
        attempt: StepAttempt[InT, OutT, ProjT, MsgT],
    ) -> None:
        self._steps = steps
        self._attempt = attempt

    def __repr__(self) -> str:
        return f"<RunStep {self.step_id!r} {self._attempt.state}>"

    @property
    def step_id(self) -> str:
        """The step; the same on each attempt."""
        return self._attempt.attempt.step_id

    @property
    def step_client_id(self) -> str:
        """Client ID of the sender whose input shapes the step; empty when unknown."""
        return self._attempt.attempt.client_id

    @property
    def abort_signal(self) -> AbortSignal:
        """Set when the run is cancelled."""
        return self._steps.signal

    async def start(self) -> None:
        """Publish the start of this attempt. Starting twice is fine.

        Raises:
            InvalidArgumentError: Another step is active, or the run is not open (40003).
            ChannelRefusedError: The channel refused (104003).
        """
        await self._steps.settled()
        if self._attempt.state == "initialized":
            with self._steps.opening("start step"):
                self._steps.check_writable("start step")
                await self._attempt.open()

    async def pipe(self, source: AsyncIterable[OutT], *, raise_on_error: bool = False) -> StreamResult:
        """Write a stream of outputs.

        Args:
            source: The outputs, such as an asynchronous generator; closed in any case.
            raise_on_error: Whether to raise a failure of the source or the channel, instead of reporting it.

        Returns:
            The result, with the exception of the source or the channel.

        Raises:
            InvalidArgumentError: The step is not active, or the source is no asynchronous iterable (40003).
        """
        self._check_active("pipe")
        self._steps.check_writable("pipe stream")
        check_source(source)
        result = await self._attempt.write(source, report=not raise_on_error)
        if raise_on_error and result.error is not None:
            raise result.error
        return result

    async def send(self, output: OutT) -> None:
        """Write one output.

        Args:
            output: The output.

        Raises:
            InvalidArgumentError: The step is not active, or the codec does not know the output (40003).
            AITransportError: The channel refused.
        """
        self._check_active("send")
        self._steps.check_writable("send output")
        await self._attempt.send(output)

    async def end(self, reason: StepEndReason | None = None) -> None:
        """Publish the end of this attempt. Ending twice is fine.

        Args:
            reason: Why; None derives it: ``cancelled`` after a cancel, ``failed`` after an error, else
                ``complete``.

        Raises:
            InvalidArgumentError: The reason is none of these (40003). Nothing is published.
            ChannelRefusedError: The channel refused (104003).
        """
        reasons = get_args(StepEndReason)
        if reason is not None and reason not in reasons:
            raise InvalidArgumentError(
                f"unable to end step; reason must be one of {', '.join(reasons)}, got {reason!r}"
            )
        await self._attempt.settle(reason or self._attempt.derive_reason())

    async def __aenter__(self) -> Self:
        await self.start()
        self._steps.writer.telemetry.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._steps.writer.telemetry.leave()
        if error is None:
            await self.end()
        elif isinstance(error, Exception):
            with anyio.move_on_after(self._steps.core.close_timeout, shield=True):
                try:
                    await self.end("failed")
                except AITransportError as failure:
                    # The exception of the body matters more.
                    self._steps.hooks.report(failure)
        else:
            self._attempt.settle_later("cancelled")

    def _check_active(self, action: str) -> None:
        if self._attempt.state != "active":
            raise InvalidArgumentError(
                f"unable to {action}; step '{self.step_id}' is not active (call start() first, end() last)"
            )


class RunSteps(Generic[InT, OutT, ProjT, MsgT]):
    """The steps of one run, one of them open at a time.

    Args:
        core: The session's parts.
        writer: Publishes the run.
        hooks: Calls the run's hooks.
        steers: The steering messages that outputs respond to.
        signal: Tells when to stop.
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        writer: RunWriter[InT, OutT, ProjT, MsgT],
        hooks: HookCaller[InT, OutT, ProjT, MsgT],
        steers: SteerTracker,
        signal: AbortSignal,
    ) -> None:
        self.core = core
        self.writer = writer
        self.hooks = hooks
        self.steers = steers
        self.signal = signal
        self.last_result: StreamResult | None = None
        """The result of the last pipe."""
        self.has_output = False
        """Whether outputs were written, or a pipe was begun."""
        self.active: StepAttempt[InT, OutT, ProjT, MsgT] | None = None
        """The attempt that is open, or is being opened."""
        self.settling: Latch[None] | None = None
        """Settles when a cancelled step has ended."""
        self._count = 0
        self._last: tuple[str, StepEndReason] | None = None
        self._last_client_id: str | None = None
        self._opening = False

    @property
    def is_busy(self) -> bool:
        """Whether a step is open or being opened."""
        return self.active is not None or self._opening

    def create(self, step_id: str | None, step_client_id: str | None) -> RunStep[InT, OutT, ProjT, MsgT]:
        """Create a step, or another attempt of the one that failed last.

        Args:
            step_id: The step; None goes on with the last failed one, or makes up a new id.
            step_client_id: Client ID of the sender whose input shapes it; None keeps that of the step before.

        Returns:
            The step, not started yet.
        """
        if step_id is None:
            failed = self._last is not None and self._last[1] == "failed"
            step_id = self._last[0] if failed and self._last is not None else self._next_id()
        return RunStep(self, StepAttempt(self, step_id, self._client_id(step_client_id)))

    async def pipe(self, source: AsyncIterable[OutT], *, report: bool) -> StreamResult:
        """Pipe outputs in a step of their own, which is opened when the first output is there.

        Args:
            source: The outputs.
            report: Whether to report a failure.

        Returns:
            The result.

        Raises:
            InvalidArgumentError: A step is open already, the run cannot be written to, or the source is no
                asynchronous iterable (40003).
        """
        check_source(source)
        await self.settled()
        with self.opening("pipe stream"):
            # A pipe that is refused uses up a name, too, as it does in the npm package.
            attempt = StepAttempt(self, self._next_id(), self._client_id(None))
            self.check_writable("pipe stream")
            try:
                result = await attempt.write(source, report=report)
            except BaseException:  # the step of a cancelled pipe still ends, in a task of the session
                attempt.settle_later("cancelled")
                raise
            if attempt.state != "initialized":
                try:
                    await attempt.settle(step_reason_of(result.reason))
                except AITransportError as failure:
                    if result.error is None:
                        raise
                    # The failure of the pipe matters more.
                    self.hooks.report(failure)
        return result

    async def settled(self) -> None:
        """Wait for the end of a step whose task was cancelled."""
        if self.settling is not None:
            await self.settling

    async def close_active(self, reason: StepEndReason) -> None:
        """End the open step, if there is one."""
        if self.active is not None:
            await self.active.settle(reason)

    def check_writable(self, action: str) -> None:
        """Refuse a write that the run's state does not allow.

        Raises:
            InvalidArgumentError: The run was not started, or it has ended (40003).
        """
        writer = self.writer
        writer.check_opened(action)
        writer.hold.check_held(action)
        node = self.core.conversation.tree.get_run_node(writer.facts.run_id)
        status = "ended" if node is None or node.status not in TERMINAL else node.status
        if not writer.is_open or status != "ended":
            raise InvalidArgumentError(f"unable to {action}; run {writer.facts.run_id} is already {status}")

    @contextmanager
    def opening(self, action: str) -> Generator[None]:
        """Keep other steps from being opened meanwhile.

        Args:
            action: The operation, for the error's message.

        Raises:
            InvalidArgumentError: A step is open already (40003).
        """
        if self.is_busy:
            raise InvalidArgumentError(
                f"unable to {action}; a step is already active on this run (end it first)"
            )
        self._opening = True
        try:
            yield
        finally:
            self._opening = False

    def note_result(self, result: StreamResult, *, report: bool) -> None:
        """Note the result of a pipe, and report its failure if asked to."""
        self.last_result = result
        if result.error is not None and report:
            action = f"pipe response for run {self.writer.facts.run_id}"
            self.hooks.report(AITransportError.wrap(action, result.error, ErrorCode.STREAM_ERROR))

    def note_end(self, attempt: StepAttempt[InT, OutT, ProjT, MsgT], reason: StepEndReason) -> None:
        """Note that an attempt has ended."""
        if self.active is attempt:
            self.active = None
        self._last = (attempt.attempt.step_id, reason)

    def _next_id(self) -> str:
        step_id = f"{self.writer.facts.invocation_id}-step-{self._count}"
        self._count += 1
        return step_id

    def _client_id(self, explicit: str | None) -> str:
        found = explicit or self._last_client_id or self._client_id_from_channel()
        self._last_client_id = found or self.writer.facts.input_client_id or ""
        return self._last_client_id

    def _client_id_from_channel(self) -> str | None:
        """Find whose input shaped the run's last step, which another process may have written."""
        node = self.core.conversation.tree.get_run_node(self.writer.facts.run_id)
        steps = () if node is None else node.steps
        return next((step.step_client_id for step in reversed(steps) if step.step_client_id), None)
