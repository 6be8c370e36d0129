"""Trace context in messages: W3C ``traceparent`` and ``tracestate`` in their ``extras.headers``.

The npm package leaves ``extras.headers`` to the application, and ignores it.
"""

from collections.abc import Mapping
from typing import Final, cast

from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ably_ai_transport.wire import InboundMessage, OutboundMessage

# Not the application's own propagators: these may add baggage, and everybody on the channel reads messages.
_PROPAGATOR: Final = TraceContextTextMapPropagator()


def inject(message: OutboundMessage, context: Context | None = None) -> None:
    """Add the current span to a message's headers.

    Args:
        message: Changed in place; other headers stay.
        context: Holds the span; the current context by default.
    """
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    if not carrier:
        return
    present = message.extras.get("headers")
    if isinstance(present, Mapping):
        message.extras["headers"] = {**cast("Mapping[str, object]", present), **carrier}
    else:
        message.extras["headers"] = carrier


def extract(message: InboundMessage) -> Context:
    """Read the context that a message was published in.

    Args:
        message: Any message. Headers that are not as W3C has them are ignored.

    Returns:
        A context with the publisher's span, and nothing else; empty where the message names none.
    """
    extras = message.extras
    headers = cast("Mapping[object, object]", extras).get("headers") if isinstance(extras, Mapping) else None
    if not isinstance(headers, Mapping):
        return Context()
    fields = cast("Mapping[object, object]", headers)
    carrier = {name: value for name in _PROPAGATOR.fields if isinstance(value := fields.get(name), str)}
    return _PROPAGATOR.extract(carrier, Context())


def span_of(message: InboundMessage | None) -> SpanContext | None:
    """Return the span that a message was published in; None where it names none."""
    if message is None:
        return None
    span = get_current_span(extract(message)).get_span_context()
    return span if span.is_valid else None
