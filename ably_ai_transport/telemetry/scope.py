"""The telemetry of one session, as its own spans and those of its runs share it."""

from collections.abc import Mapping
from dataclasses import replace

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Tracer

from ably_ai_transport.channel.contract import Channel
from ably_ai_transport.telemetry.metrics import Metrics
from ably_ai_transport.telemetry.operations import SpanOperation
from ably_ai_transport.wire import OutboundMessage


class SessionScope:
    """What the spans of one session have in common.

    Args:
        tracer: Makes the spans.
        metrics: The instruments.
        channel: The session's channel.
        links_only: Whether runs only link to the traces of their clients.

    Attributes:
        session_span: The session's own span; None while it is not connected.
    """

    def __init__(self, tracer: Tracer, metrics: Metrics, channel: Channel, *, links_only: bool) -> None:
        self.tracer = tracer
        self.metrics = metrics
        self.links_only = links_only
        self.session_span: Span | None = None
        self._channel = channel
        self._counted = replace(channel.publish_stats)

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes that all spans of the session have."""
        attributes = {"gen_ai.conversation.id": self._channel.name}
        if self._channel.client_id:
            attributes["messaging.client.id"] = self._channel.client_id
        return attributes

    def links(self, *others: SpanContext | None) -> list[Link]:
        """Make links to the session's span and to others, as far as these are known."""
        own = None if self.session_span is None else self.session_span.get_span_context()
        return [Link(span) for span in (own, *others) if span is not None and span.is_valid]

    def publishing(
        self,
        operation: str,
        attributes: Mapping[str, str],
        *,
        name: str | None = None,
        parent: Context | None = None,
        message: OutboundMessage | None = None,
    ) -> SpanOperation:
        """Cover a publish and its ack.

        Args:
            operation: ``send``, ``steer``, ``cancel`` or ``publish``.
            attributes: Attributes of the span.
            name: The span's name; that of the operation by default.
            parent: The context of the span's parent; the current context by default.
            message: Gets the context of the span in its headers.
        """
        of_messaging = {
            "messaging.system": "ably",
            "messaging.operation.name": operation,
            "messaging.operation.type": "send",
        }
        destination = {"messaging.destination.name": self._channel.name}
        return SpanOperation(
            self.tracer,
            name or operation,
            SpanKind.PRODUCER,
            {**self.attributes, **of_messaging, **destination, **attributes},
            parent=parent,
            links=self.links() if parent is None else (),
            message=message,
            duration=self.metrics.publish_duration,
            measured=of_messaging,
        )

    def count_publishes(self) -> None:
        """Count what the channel merged and repeated since the last time."""
        now = replace(self._channel.publish_stats)
        self.metrics.count_publishes(now, self._counted)
        self._counted = now
