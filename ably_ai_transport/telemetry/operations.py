"""Spans of operations, and the rule that telemetry never breaks a session."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from time import perf_counter
from types import TracebackType
from typing import ParamSpec, Self

from opentelemetry.context import Context, attach, detach
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from ably_ai_transport.session.telemetry import Operation
from ably_ai_transport.telemetry.propagation import inject
from ably_ai_transport.wire import AITransportError, OutboundMessage

P = ParamSpec("P")

ERROR_TYPE = "error.type"
OUTCOME = "ably_ai_transport.outcome"

_logger = logging.getLogger("ably_ai_transport.telemetry")


def guarded(method: Callable[P, None]) -> Callable[P, None]:
    """Log exceptions of a method: samplers, processors and exporters are not the session's."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            _logger.exception("Telemetry failed in %s; the session goes on", method.__name__)

    return call


def error_type(error: BaseException) -> str:
    """Name the class of a failure: the code of the library's errors, the type of others."""
    if isinstance(error, AITransportError):
        return str(error.code)
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def note_failure(span: Span, error: BaseException) -> None:
    """Note on a span that what it covers has failed."""
    span.record_exception(error)
    span.set_attribute(ERROR_TYPE, error_type(error))
    span.set_status(Status(StatusCode.ERROR, str(error)))


class SpanOperation(Operation):
    """An operation with a span, which is the current one within the block.

    Args:
        tracer: Makes the span.
        name: The span's name.
        kind: The span's kind.
        attributes: The span's attributes.
        parent: The context of its parent; the current context by default.
        links: Its links.
        message: Gets the context of the span in its headers.
        duration: Records the time that the block took.
        measured: The attributes of that record.
    """

    def __init__(
        self,
        tracer: Tracer,
        name: str,
        kind: SpanKind,
        attributes: Mapping[str, str | int],
        *,
        parent: Context | None = None,
        links: Sequence[Link] = (),
        message: OutboundMessage | None = None,
        duration: Histogram | None = None,
        measured: Mapping[str, str] | None = None,
    ) -> None:
        self.span: Span | None = None
        self._tracer = tracer
        self._name = name
        self._kind = kind
        self._attributes = attributes
        self._parent = parent
        self._links = links
        self._message = message
        self._duration = duration
        self._measured = dict(measured or {})
        self._leave: Callable[[], None] | None = None
        self._began = perf_counter()

    def finish(self, outcome: str, error: BaseException | None = None) -> None:
        """Note an outcome that is not an exception of the block."""
        self._note(outcome, error)

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self._note("error", error)
        elif error is not None:
            self._note("cancelled", None)
        self._end()

    @guarded
    def _begin(self) -> None:
        self._began = perf_counter()
        self.span = span = self._tracer.start_span(
            self._name, self._parent, self._kind, self._attributes, self._links
        )
        context = set_span_in_context(span)
        token = attach(context)
        self._leave = lambda: detach(token)
        if self._message is not None:
            inject(self._message, context)

    @guarded
    def _note(self, outcome: str, error: BaseException | None) -> None:
        if error is not None:
            self._measured[ERROR_TYPE] = error_type(error)
        if self.span is not None:
            self.span.set_attribute(OUTCOME, outcome)
            if error is not None:
                note_failure(self.span, error)

    @guarded
    def _end(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()
        if self._duration is not None:
            self._duration.record(perf_counter() - self._began, self._measured)
        if self.span is not None:
            self.span.end()
