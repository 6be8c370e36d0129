"""The steps of a run that an agent writes: attempts, outputs, and who each is for."""

import json
import logging
import uuid
from collections.abc import AsyncIterable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Generic, Literal, Self

import anyio

from ably_ai_transport.channel import Channel
from ably_ai_transport.codec.contract import (
    Codec,
    Encoder,
    EncoderOptions,
    InT,
    MessageHook,
    MsgT,
    OutT,
    ProjT,
)
from ably_ai_transport.session.abort import AbortSignal
from ably_ai_transport.session.materialisation import Materialisation
from ably_ai_transport.session.pipe import OnCancelled, StreamResult, check_source, pipe_stream
from ably_ai_transport.session.run_publisher import RunFacts, RunPublisher
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    RunEndReason,
    StepEnd,
    StepEndReason,
    StepStart,
    names,
)
from ably_ai_transport.wire.headers import build_transport_headers

logger = logging.getLogger("ably_ai_transport.session")

_REWRITES = 3
"""How often a step is published again before a hole is left to the repair."""


def step_reason_of(reason: RunEndReason) -> StepEndReason:
    """Translate how a run or a pipe ended into how its step ended."""
    return "failed" if reason == "error" else reason


@dataclass(frozen=True, slots=True)
class StepContext(Generic[InT, OutT, ProjT, MsgT]):
    """What the steps of one run write with.

    Attributes:
        facts: What is known of the run.
        publisher: Writes lifecycle messages.
        channel: The channel.
        codec: The codec.
        materialisation: Returns the session's conversation, which learns of steps before the channel echoes
            them.
        signal: Tells when to stop.
        check_writable: Refuses a write that the run's state does not allow.
        begin_output: Called before outputs are asked for.
        take_steer_stamp: Returns the steering messages that the next outputs respond to, once.
        on_message: Called with each output message before it is published.
        on_cancelled: May write last outputs when a pipe is cancelled.
        report: Called with what a pipe failed with.
        append_window: How many appends may wait for their acknowledgement at once.
        merge_appends: Whether text that arrives meanwhile is merged.
    """

    facts: RunFacts
    publisher: RunPublisher
    channel: Channel
    codec: Codec[InT, OutT, ProjT, MsgT]
    materialisation: Callable[[], Materialisation[InT, OutT, ProjT, MsgT]]
    signal: AbortSignal
    check_writable: Callable[[str], None]
    begin_output: Callable[[], None]
    take_steer_stamp: Callable[[], list[str]]
    on_message: MessageHook | None
    on_cancelled: OnCancelled[OutT] | None
    report: Callable[[AITransportError], None]
    append_window: int
    merge_appends: bool


@dataclass(slots=True)
class WrittenMessage(Generic[InT, OutT]):
    """One message of an attempt: what is needed to publish it again.

    Attributes:
        outputs: What was written of it.
        message_id: Its identity in the conversation.
        steers: The steering messages that it responds to.
        encoder: What wrote it last.
    """

    outputs: list[OutT]
    message_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    steers: list[str] = field(default_factory=list[str])
    encoder: Encoder[InT, OutT] | None = None


class RunStep(Generic[InT, OutT, ProjT, MsgT]):
    """One attempt of a step of a run.

    A step is what can be tried again: a new attempt under the same id takes the place of what the earlier
    one put out. Enter it as a context, or call :meth:`start` and :meth:`end`.

    Example:
        >>> async with run.create_step(step_id="plan") as step:  # doctest: +SKIP
        ...     await step.pipe(model_stream)
    """

    def __init__(
        self,
        steps: "RunSteps[InT, OutT, ProjT, MsgT]",
        context: StepContext[InT, OutT, ProjT, MsgT],
        step_id: str,
        step_client_id: str,
    ) -> None:
        self._steps = steps
        self._context = context
        self._id = step_id
        self._client_id = step_client_id
        self._state: Literal["initialized", "active", "settled"] = "initialized"
        self._start_serial = ""
        self._written: list[WrittenMessage[InT, OutT]] = []
        self._failed = False
        self._cancelled = False

    @property
    def step_id(self) -> str:
        """The step; the same on each attempt."""
        return self._id

    @property
    def step_client_id(self) -> str:
        """Whose input shapes the step; empty when unknown."""
        return self._client_id

    @property
    def abort_signal(self) -> AbortSignal:
        """Set when the run is cancelled."""
        return self._context.signal

    async def start(self) -> None:
        """Publish the start of this attempt. Starting twice is fine.

        Raises:
            AITransportError: Another step is active, the run has not been started or has ended (40003), or
                the channel refused (104003).
        """
        if self._state != "initialized":
            return
        with self._steps.opening("start step"):
            self._context.check_writable("start step")
            await self.open()

    async def pipe(self, source: AsyncIterable[OutT]) -> StreamResult:
        """Write a stream of outputs.

        Args:
            source: The outputs, such as an asynchronous generator; closed in any case.

        Returns:
            How it ended. What the source or the channel raised is in the result.

        Raises:
            AITransportError: The step is not active, or the source is no asynchronous iterable (40003).
        """
        self._check_active("pipe")
        self._context.check_writable("pipe stream")
        return await self.write(source)

    async def send(self, output: OutT) -> None:
        """Write one output.

        Args:
            output: The output.

        Raises:
            AITransportError: The step is not active, the codec does not know the output (40003), or the
                channel refused.
        """
        self._check_active("send")
        self._context.check_writable("send output")
        self._context.begin_output()
        message = WrittenMessage[InT, OutT]([output])
        try:
            encoder = await self._open_encoder(message)
            await encoder.publish_output(output)
            await encoder.close()
            await self._close_gaps()
        except BaseException:
            self._failed = True
            raise

    async def end(self, reason: StepEndReason | None = None) -> None:
        """Publish the end of this attempt. Ending twice is fine.

        Args:
            reason: Why; None derives it: ``cancelled`` after a cancel, ``failed`` after an error, else
                ``complete``.

        Raises:
            AITransportError: The channel refused (104003).
        """
        if reason is None:
            cancelled = self._cancelled or self._context.signal.aborted
            reason = "cancelled" if cancelled else "failed" if self._failed else "complete"
        if self._state == "initialized":
            # Nothing to publish; but one that failed before it began is tried again under the same name.
            self._steps.deactivate(self, reason)
        await self.settle(reason)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.end()
        else:
            with anyio.CancelScope(shield=True):
                await self.end("failed" if isinstance(error, Exception) else "cancelled")

    async def open(self) -> None:
        """Publish the start and become the active step. For :class:`RunSteps`."""
        await self._context.publisher.start_step(self._id, self._client_id, self._opened)

    async def settle(self, reason: StepEndReason) -> None:
        """Publish the end, unless the step was never opened or has ended. For :class:`RunSteps`."""
        was, self._state = self._state, "settled"
        if was != "active":
            return
        self._steps.deactivate(self, reason)
        await self._context.publisher.end_step(self._id, self._client_id, self._start_serial, reason)
        facts = self._context.facts
        self._apply(
            StepEnd(
                facts.run_id,
                self._id,
                self._start_serial,
                *self._scopes()[2:],
                reason=reason,
            )
        )

    async def write(self, source: AsyncIterable[OutT]) -> StreamResult:
        """Pipe, and remember how it went. For :class:`RunSteps`."""
        check_source(source)
        context = self._context
        context.begin_output()
        message = WrittenMessage[InT, OutT]([])
        result = await pipe_stream(
            source,
            partial(self._open_encoder, message),
            context.signal,
            written=message.outputs,
            on_cancelled=context.on_cancelled,
        )
        try:
            await self._close_gaps()
        except AITransportError as error:
            result = StreamResult("error", error)
        self._failed = self._failed or result.reason == "error"
        self._cancelled = self._cancelled or result.reason == "cancelled"
        self._steps.last_result = result
        if result.error is not None:
            action = f"pipe response for run {context.facts.run_id}"
            context.report(AITransportError.wrap(action, result.error, ErrorCode.STREAM_ERROR))
        return result

    def _opened(self, start_serial: str) -> None:
        self._start_serial = start_serial
        self._state = "active"
        self._steps.activate(self)
        self._apply(StepStart(*self._scopes(), serial=start_serial))

    async def _open_encoder(self, message: WrittenMessage[InT, OutT]) -> Encoder[InT, OutT]:
        """Begin one more message of this step, which is opened if it is not."""
        if self._state == "initialized":
            await self.open()
        message.steers = self._context.take_steer_stamp()
        self._written.append(message)
        return self._encoder_of(message)

    def _encoder_of(self, message: WrittenMessage[InT, OutT]) -> Encoder[InT, OutT]:
        context, facts = self._context, self._context.facts
        headers = build_transport_headers(
            role="assistant",
            run_id=facts.run_id,
            codec_message_id=message.message_id,
            run_client_id=facts.run_client_id or "",
            parent=facts.output_parent,
            fork_of=facts.fork_of,
            invocation_id=facts.invocation_id,
            input_client_id=facts.input_client_id,
            input_codec_message_id=facts.input_codec_message_id,
            regenerates=facts.regenerates,
            step_id=self._id,
            step_start_serial=self._start_serial,
            step_client_id=self._client_id,
        )
        if message.steers:
            headers[names.STEER_CODEC_MESSAGE_IDS] = json.dumps(message.steers, separators=(",", ":"))
        message.encoder = context.codec.create_encoder(
            context.channel,
            EncoderOptions(
                headers=headers,
                on_message=context.on_message,
                message_id=message.message_id,
                append_window=context.append_window,
                merge_appends=context.merge_appends,
            ),
        )
        return message.encoder

    async def _close_gaps(self) -> None:
        """Publish the attempt again if somebody may have read it with a hole.

        Where the channel refused some text and took what followed, the repair reaches history, late joiners
        and our own followers; a live follower of the npm package keeps the hole. A new attempt of the same
        step replaces what was put out before, for everybody.

        Raises:
            AITransportError: The channel refused (104003), or what it refused could not be repaired (104000).
        """
        for _ in range(_REWRITES):
            if not any(message.encoder is not None and message.encoder.has_gaps for message in self._written):
                return
            logger.info(
                "Publishing a step again, for text was refused in the middle", extra={"step": self._id}
            )
            with anyio.CancelScope(shield=True):
                await self.open()
                for message in self._written:
                    encoder = self._encoder_of(message)
                    for output in message.outputs:
                        await encoder.publish_output(output)
                    await encoder.cancel_streams()
                    await encoder.close()

    def _scopes(self) -> tuple[str, str, str, str, str, str]:
        facts = self._context.facts
        return (
            facts.run_id,
            self._id,
            facts.invocation_id,
            facts.run_client_id or "",
            facts.input_client_id or "",
            self._client_id,
        )

    def _apply(self, event: StepStart | StepEnd) -> None:
        materialisation = self._context.materialisation()
        materialisation.publish(materialisation.tree.apply_step_lifecycle(event))

    def _check_active(self, action: str) -> None:
        if self._state != "active":
            raise AITransportError(
                f"unable to {action}; step '{self._id}' is not active (call start() first, end() last)",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )


class RunSteps(Generic[InT, OutT, ProjT, MsgT]):
    """The steps of one run, one of them open at a time.

    Args:
        context: What the steps write with.
    """

    def __init__(self, context: StepContext[InT, OutT, ProjT, MsgT]) -> None:
        self.last_result: StreamResult | None = None
        """How the last pipe ended."""
        self._context = context
        self._count = 0
        self._last: tuple[str, StepEndReason] | None = None
        self._last_client_id: str | None = None
        self._active: RunStep[InT, OutT, ProjT, MsgT] | None = None
        self._opening = False

    @property
    def is_busy(self) -> bool:
        """Whether a step is open or being opened."""
        return self._active is not None or self._opening

    def create(self, step_id: str | None, step_client_id: str | None) -> RunStep[InT, OutT, ProjT, MsgT]:
        """Create a step, or another attempt of the one that failed last.

        Args:
            step_id: The step; None goes on with the last failed one, or makes up a new id.
            step_client_id: Whose input shapes it; None keeps that of the step before.

        Returns:
            The step, not started yet.
        """
        if step_id is None:
            failed = self._last is not None and self._last[1] == "failed"
            step_id = self._last[0] if failed and self._last is not None else self._next_id()
        return RunStep(self, self._context, step_id, self._client_id(step_client_id))

    async def pipe(self, source: AsyncIterable[OutT]) -> StreamResult:
        """Pipe outputs in a step of their own, which is opened when the first output is there.

        Args:
            source: The outputs.

        Returns:
            How it ended.

        Raises:
            AITransportError: A step is open already, the run cannot be written to, or the source is no
                asynchronous iterable (40003).
        """
        check_source(source)
        with self.opening("pipe stream"):
            # A pipe that is refused uses up a name, too, as it does in the npm package.
            step = RunStep(self, self._context, self._next_id(), self._client_id(None))
            self._context.check_writable("pipe stream")
            try:
                result = await step.write(source)
            except BaseException:
                with anyio.CancelScope(shield=True):
                    await step.settle("cancelled")
                raise
            await step.settle(step_reason_of(result.reason))
        return result

    async def close_active(self, reason: StepEndReason) -> None:
        """End the open step, if there is one."""
        if self._active is not None:
            await self._active.settle(reason)

    @contextmanager
    def opening(self, action: str) -> Generator[None]:
        """Keep other steps from being opened meanwhile.

        Args:
            action: What is to be done.

        Raises:
            AITransportError: A step is open already (40003).
        """
        if self.is_busy:
            raise AITransportError(
                f"unable to {action}; a step is already active on this run (end it first)",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        self._opening = True
        try:
            yield
        finally:
            self._opening = False

    def activate(self, step: RunStep[InT, OutT, ProjT, MsgT]) -> None:
        """Note which step is open."""
        self._active = step

    def deactivate(self, step: RunStep[InT, OutT, ProjT, MsgT], reason: StepEndReason) -> None:
        """Note that a step has ended."""
        if self._active is step:
            self._active = None
        self._last = (step.step_id, reason)

    def _next_id(self) -> str:
        step_id = f"{self._context.facts.invocation_id}-step-{self._count}"
        self._count += 1
        return step_id

    def _client_id(self, explicit: str | None) -> str:
        found = explicit or self._last_client_id or self._client_id_from_channel()
        self._last_client_id = found or self._context.facts.input_client_id or ""
        return self._last_client_id

    def _client_id_from_channel(self) -> str | None:
        """Whose input shaped the run's last step, which may have been another process's."""
        node = self._context.materialisation().tree.get_run_node(self._context.facts.run_id)
        steps = () if node is None else node.steps
        return next((step.step_client_id for step in reversed(steps) if step.step_client_id), None)
