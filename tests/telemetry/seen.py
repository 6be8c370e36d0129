"""What an application's OpenTelemetry SDK sees of sessions."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import INVALID_SPAN, SpanContext, get_current_span

from ably_ai_transport.telemetry import instrument, uninstrument


class Seen(SpanProcessor):
    """The spans, in the order of their ends, and the metrics."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self._open: dict[int, Span] = {}
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(self)
        self.tracer = self.tracers.get_tracer("application")
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider([self._reader])

    def instrument(self, *, links_only: bool = False) -> None:
        instrument(tracer_provider=self.tracers, meter_provider=self.meters, links_only=links_only)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self._open[span.get_span_context().span_id] = span

    def on_end(self, span: ReadableSpan) -> None:
        del self._open[id_of(span)]
        self.spans.append(span)

    @property
    def open_spans(self) -> list[str]:
        return [span.name for span in self._open.values()]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span

    def parent(self, span: ReadableSpan) -> str | None:
        """Return the name of a span's parent."""
        if span.parent is None:
            return None
        known = {id_of(one): one.name for one in self.spans}
        known |= {number: one.name for number, one in self._open.items()}
        return known[span.parent.span_id]

    def tree(self, name: str) -> list[str]:
        """Return the path to a span from its root."""
        span = self.one(name)
        by_id = {id_of(one): one for one in self.spans}
        path = [span.name]
        while span.parent is not None:
            span = by_id[span.parent.span_id]
            path.insert(0, span.name)
        return path

    def points(self) -> dict[str, list[NumberDataPoint | HistogramDataPoint]]:
        """Collect the metrics so far."""
        data = self._reader.get_metrics_data()
        found: dict[str, list[Any]] = {}
        for resource in () if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found.setdefault(metric.name, []).extend(metric.data.data_points)
        return found

    def sums(self) -> dict[str, float]:
        """Return the counters' values, and the number of values of histograms."""
        return {
            name: sum(one.value if isinstance(one, NumberDataPoint) else one.count for one in points)
            for name, points in self.points().items()
        }


@contextmanager
def observed() -> Generator[Seen]:
    """Observe the sessions that are opened in the block."""
    seen = Seen()
    seen.instrument()
    try:
        yield seen
    finally:
        uninstrument()
    assert get_current_span() is INVALID_SPAN
    assert seen.open_spans == []


def context_of(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None
    return context


def id_of(span: ReadableSpan) -> int:
    return context_of(span).span_id


def trace_of(span: ReadableSpan) -> int:
    return context_of(span).trace_id


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}


def linked(span: ReadableSpan) -> list[int]:
    """Return the ids of the spans that a span is linked to."""
    return [link.context.span_id for link in span.links]
