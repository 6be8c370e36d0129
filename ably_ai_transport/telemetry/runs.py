"""Telemetry of an agent's runs, their steps and their pipes."""

import asyncio
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final, Never

from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    get_current_span,
    set_span_in_context,
)

from ably_ai_transport.codec.contract import Encoder, EncoderStats
from ably_ai_transport.session.telemetry import Operation, RunTelemetry
from ably_ai_transport.telemetry.metrics import NAME, total_of
from ably_ai_transport.telemetry.operations import (
    ERROR_TYPE,
    SpanOperation,
    error_type,
    guarded,
    note_failure,
)
from ably_ai_transport.telemetry.propagation import inject, span_of
from ably_ai_transport.telemetry.scope import SessionScope
from ably_ai_transport.wire import InboundMessage, OutboundMessage, names

if TYPE_CHECKING:
    from contextvars import Token

_OPERATION: Final = "invoke_agent"
_MOST_RECEIVED: Final = 1000
"""Messages that are kept for a run at most; until its input is found, those of other runs are among them."""
_CARRIERS: Final = frozenset({names.RUN_START, names.RUN_RESUME})
"""Names of the messages that tell followers the run's span."""


@dataclass(frozen=True, slots=True)
class _Opening:
    """The moment in which a run was opened.

    Attributes:
        context: The context of the caller.
        began: The time, in nanoseconds since the epoch.
        loop_time: The time, in seconds of the event loop's clock.
    """

    context: Context
    began: int
    loop_time: float


@dataclass(frozen=True, slots=True)
class _Received:
    """An input or a cancel request for a run.

    Attributes:
        kind: ``steer`` or ``cancel``.
        run_id: The run that it names, if any.
        serial: Its serial.
        message_id: Its id in the conversation, if any.
        span: The span that it was published in, if it names one.
    """

    kind: str
    run_id: str | None
    serial: str
    message_id: str | None
    span: SpanContext | None


class RunSpans(RunTelemetry):
    """Telemetry of one run.

    Its span is a child of the one that the triggering input was published in. The input is known only some
    time after the run was opened, so the span is made then, with the earlier time as its start.

    Args:
        scope: The session.
    """

    def __init__(self, scope: SessionScope) -> None:
        self._scope = scope
        self._opening: _Opening | None = None
        self._trigger: InboundMessage | None = None
        self._run_id = ""
        self._span: Span | None = None
        self._step: Span | None = None
        self._step_id = ""
        self._step_published = False
        self._received: dict[str, _Received] = {}
        self._encoders: list[Encoder[Never, Never]] = []
        self._first_token_seen = False
        self._reason = "abandoned"
        self._error: BaseException | None = None
        self._entered: list[tuple[Token[Context], Span] | None] = []

    # The run

    @guarded
    def moved(self, phase: str, run_id: str, invocation_id: str) -> None:
        """Begin the run's span when it is open, and end it when it is closed."""
        if phase == "opening" and self._opening is None:
            self._opening = _Opening(get_current(), time.time_ns(), asyncio.get_running_loop().time())
        elif phase == "open":
            self.begin(run_id, invocation_id)
        elif phase == "closed":
            self.begin(run_id, invocation_id)
            self._close()

    @guarded
    def located(self, trigger: InboundMessage) -> None:
        """Note the triggering input."""
        self._trigger = trigger

    @guarded
    def begin(self, run_id: str, invocation_id: str) -> None:
        """Make the run's span, once."""
        opening = self._opening
        if opening is None or self._span is not None:
            return
        parent, ambient = self._place(opening.context)
        attributes = {
            **self._scope.attributes,
            "gen_ai.operation.name": _OPERATION,
            f"{NAME}.run.id": run_id,
            f"{NAME}.invocation.id": invocation_id,
        }
        if self._trigger is not None:
            headers = self._trigger.transport_headers
            for name, header in (("event.id", names.EVENT_ID), ("input.id", names.CODEC_MESSAGE_ID)):
                if header in headers:
                    attributes[f"{NAME}.{name}"] = headers[header]
        self._run_id = run_id
        self._span = self._scope.tracer.start_span(
            _OPERATION,
            parent,
            SpanKind.CONSUMER,
            attributes,
            self._scope.links(ambient),
            start_time=opening.began,
        )
        for one in self._received.values():
            self._link(one)

    @guarded
    def failed(self, error: BaseException) -> None:
        """Note why the run could not be opened."""
        if isinstance(error, Exception):
            self._reason, self._error = "error", error
        else:
            self._reason = "cancelled"

    @guarded
    def ending(self, reason: str, error: BaseException | None = None) -> None:
        """Note how the run ends."""
        self._reason, self._error = reason, error

    @guarded
    def received(self, message: InboundMessage) -> None:
        """Link the run to the span of a steering message or a cancel request."""
        serial, headers = message.serial, message.transport_headers
        is_cancel = message.name == names.CANCEL
        run_id = headers.get(names.RUN_ID)
        is_of_another = run_id is None or (self._span is not None and run_id != self._run_id)
        if serial is None or serial in self._received or (is_of_another and not is_cancel):
            return
        if len(self._received) < _MOST_RECEIVED:
            message_id = headers.get(names.CODEC_MESSAGE_ID)
            self._received[serial] = received = _Received(
                "cancel" if is_cancel else "steer", run_id, serial, message_id, span_of(message)
            )
            self._link(received)

    @guarded
    def enter(self) -> None:
        """Make the run, or its step, the current span of the calling task."""
        span = self._step or self._span
        self._entered.append(None if span is None else (attach(set_span_in_context(span)), span))

    @guarded
    def leave(self) -> None:
        """Undo the latest :meth:`enter`."""
        entered = self._entered.pop() if self._entered else None
        # In another task than that of enter() there is nothing to undo.
        if entered is not None and get_current_span() is entered[1]:
            detach(entered[0])

    # What is in it

    def publishing(self, message: OutboundMessage) -> Operation:
        """Publish a lifecycle message in a block."""
        if message.name in _CARRIERS:
            self._sign(message)
        attributes = {f"{NAME}.run.id": self._run_id, f"{NAME}.message.name": message.name or ""}
        return self._scope.publishing(
            "publish", attributes, name=f"publish {message.name}", parent=self._inner_context()
        )

    @guarded
    def step_starting(self, step_id: str) -> None:
        """Begin a step's span, unless its pipe has."""
        if self._step is not None and self._step_id == step_id and self._step_published:
            self._step.add_event("published again")
        self._open_step(step_id)
        self._step_published = True

    @guarded
    def step_ended(self, reason: str) -> None:
        """End the step's span."""
        self._count()
        self._end_step(reason)

    def piping(self, step_id: str) -> Operation:
        """Pipe a stream in a block."""
        return _Piping(self, self._scope, step_id)

    @guarded
    def encoding(self, encoder: Encoder[Never, Never]) -> None:
        """Note an encoder, whose counters are read when its pipe or its step is over."""
        self._encoders.append(encoder)

    def open_pipe(self, step_id: str) -> Context:
        """Begin the span of a pipe's step where none is open, and return the context of the step."""
        self._open_step(step_id)
        return self._inner_context()

    def close_pipe(self, *, is_done: bool) -> EncoderStats | None:
        """End the span of a step that was not published, and return the counters of a pipe that is done."""
        if not self._step_published:
            self._end_step("empty")
        return self._count() if is_done else None

    def _place(self, context: Context) -> tuple[Context, SpanContext | None]:
        """Choose the parent of the run's span, and the other span that the run is linked to."""
        ambient = get_current_span(context).get_span_context()
        sender = span_of(self._trigger)
        if sender is None:
            return context, None
        if self._scope.links_only:
            return context, sender
        return set_span_in_context(NonRecordingSpan(sender), context), ambient

    def _link(self, received: _Received) -> None:
        """Link the run to a message, once it is known that the message came after the trigger."""
        earlier = self._trigger is not None and received.serial <= (self._trigger.serial or "")
        of_another = received.kind == "steer" and received.run_id != self._run_id
        if self._span is None or earlier or of_another:
            return
        attributes = {} if received.message_id is None else {"messaging.message.id": received.message_id}
        self._span.add_event(received.kind, attributes)
        if received.span is not None:
            self._span.add_link(received.span, {f"{NAME}.link": received.kind, **attributes})

    @guarded
    def _sign(self, message: OutboundMessage) -> None:
        if self._span is not None:
            inject(message, set_span_in_context(self._span, Context()))

    def _inner_context(self) -> Context:
        span = self._step or self._span
        return Context() if span is None else set_span_in_context(span)

    def _open_step(self, step_id: str) -> None:
        if self._step is not None and self._step_id == step_id:
            return
        self._end_step("abandoned")
        context = Context() if self._span is None else set_span_in_context(self._span)
        attributes = {
            **self._scope.attributes,
            f"{NAME}.run.id": self._run_id,
            f"{NAME}.step.id": step_id,
        }
        self._step = self._scope.tracer.start_span("step", context, attributes=attributes)
        self._step_id, self._step_published = step_id, False

    def _end_step(self, reason: str) -> None:
        step, self._step = self._step, None
        if step is not None:
            step.set_attribute(f"{NAME}.step.reason", reason)
            step.end()

    def _count(self) -> EncoderStats:
        total = total_of(encoder.stats for encoder in self._encoders)
        self._encoders.clear()
        metrics = self._scope.metrics
        metrics.count_streams(total)
        if total.first_text_at is not None and not self._first_token_seen and self._opening is not None:
            self._first_token_seen = True
            metrics.note_first_token(total.first_text_at - self._opening.loop_time, "agent")
        return total

    def _close(self) -> None:
        span, opening = self._span, self._opening
        self._opening = None
        if span is None or opening is None:
            return
        self._count()
        self._scope.count_publishes()
        self._end_step("abandoned")
        span.set_attribute(f"{NAME}.run.reason", self._reason)
        measured: dict[str, str] = {}
        if self._error is not None:
            note_failure(span, self._error)
            measured[ERROR_TYPE] = error_type(self._error)
        now = asyncio.get_running_loop().time()
        self._scope.metrics.run_duration.record(now - opening.loop_time, measured)
        span.end()


class _Piping(SpanOperation):
    """A pipe, in the span of its step."""

    def __init__(self, run: RunSpans, scope: SessionScope, step_id: str) -> None:
        super().__init__(scope.tracer, "pipe", SpanKind.INTERNAL, scope.attributes)
        self._run = run
        self._step_id = step_id

    @guarded
    def _begin(self) -> None:
        self._parent = self._run.open_pipe(self._step_id)
        super()._begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A pipe that was cancelled still closes its streams; its counters are read at the end of the step.
        self._close_pipe(is_done=error is None or isinstance(error, Exception))
        super().__exit__(kind, error, traceback)

    @guarded
    def _close_pipe(self, *, is_done: bool) -> None:
        stats = self._run.close_pipe(is_done=is_done)
        if self.span is not None and stats is not None:
            for field in ("deltas", "appends", "merged", "refused", "recovered", "max_in_flight"):
                self.span.set_attribute(f"{NAME}.stream.{field}", getattr(stats, field))
