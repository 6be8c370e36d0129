"""Telemetry of sessions: their spans, the inputs and requests of clients, and what a client receives."""

import time
from types import TracebackType
from typing import Self

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider, get_tracer

from ably_ai_transport.channel.contract import Channel, ChannelState, ChannelStateChange
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.session.conversation import Change, LiveConversation
from ably_ai_transport.session.telemetry import Operation, RunTelemetry, SessionTelemetry, Telemetry
from ably_ai_transport.telemetry.first_tokens import FirstTokens
from ably_ai_transport.telemetry.metrics import NAME, Metrics
from ably_ai_transport.telemetry.operations import SpanOperation, guarded
from ably_ai_transport.telemetry.propagation import inject
from ably_ai_transport.telemetry.runs import RunSpans
from ably_ai_transport.telemetry.scope import SessionScope
from ably_ai_transport.version import __version__
from ably_ai_transport.wire import OutboundMessage, RunEnd, RunResume, RunStart, RunSuspend


class OpenTelemetry(Telemetry):
    """Telemetry of all sessions.

    Args:
        tracer_provider: Makes the spans; the global provider by default.
        meter_provider: Makes the instruments; the global provider by default.
        links_only: Whether runs only link to the traces of their clients.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        *,
        links_only: bool,
    ) -> None:
        self._tracer = get_tracer(NAME, __version__, tracer_provider)
        self._metrics = Metrics(meter_provider)
        self._links_only = links_only

    def session(self, channel: Channel) -> SessionTelemetry:
        """Observe a session."""
        scope = SessionScope(self._tracer, self._metrics, channel, links_only=self._links_only)
        return SessionSpans(scope, channel)


class SessionSpans(SessionTelemetry):
    """Telemetry of one session.

    Args:
        scope: The session.
        channel: Its channel.
    """

    def __init__(self, scope: SessionScope, channel: Channel) -> None:
        self.input_hook = inject
        self._scope = scope
        self._channel = channel
        self._first_tokens: FirstTokens | None = None
        self._watched = False

    @guarded
    def moved(self, state: str) -> None:
        """Begin the session's span when it connects, and end it when it is closed."""
        scope = self._scope
        if state == "connecting" and scope.session_span is None:
            scope.session_span = scope.tracer.start_span("session", attributes=scope.attributes)
        if scope.session_span is not None:
            scope.session_span.add_event(state)
        if state == "connected" and not self._watched:
            self._watched = True
            self._channel.on_state(self._on_state)
        elif state in ("failed", "closed"):
            scope.count_publishes()
            span, scope.session_span = scope.session_span, None
            if span is not None:
                span.end()

    def follow(self, conversation: LiveConversation[InT, OutT, ProjT, MsgT]) -> None:
        """Measure the lag of what arrives, and the time to the first token of each send."""
        self._first_tokens = FirstTokens(conversation, self._scope.metrics)
        conversation.subscribe(self._on_lifecycle, RunStart, RunResume, RunSuspend, RunEnd)

    def sending(
        self,
        operation: str,
        *,
        message: OutboundMessage | None = None,
        codec_message_id: str | None = None,
        run_id: str | None = None,
    ) -> Operation:
        """Publish a client's input or request in a block."""
        named = {"messaging.message.id": codec_message_id, f"{NAME}.run.id": run_id}
        attributes = {name: value for name, value in named.items() if value}
        publish = self._scope.publishing(operation, attributes, message=message)
        if operation == "send" and codec_message_id is not None and self._first_tokens is not None:
            return _Sending(publish, self._first_tokens, codec_message_id)
        return publish

    def run(self) -> RunTelemetry:
        """Observe a run of an agent."""
        return RunSpans(self._scope)

    @guarded
    def _on_state(self, change: ChannelStateChange) -> None:
        if change.current is ChannelState.ATTACHED:
            self._scope.metrics.reconnects.add(1, {f"{NAME}.resumed": change.resumed})
        if self._scope.session_span is not None:
            self._scope.session_span.add_event(
                f"channel {change.current}", {f"{NAME}.resumed": change.resumed}
            )

    @guarded
    def _on_lifecycle(self, change: Change[InT, OutT]) -> None:
        message = change.message
        if change.live and message is not None and message.timestamp is not None:
            lag = max(0.0, time.time() - message.timestamp / 1000)
            self._scope.metrics.follower_lag.record(lag)


class _Sending(Operation):
    """A send, and the wait for the first text of the reply.

    Args:
        publish: The send.
        first_tokens: Waits for it.
        codec_message_id: The input.
    """

    def __init__(self, publish: SpanOperation, first_tokens: FirstTokens, codec_message_id: str) -> None:
        self._publish = publish
        self._first_tokens = first_tokens
        self._codec_message_id = codec_message_id

    def __enter__(self) -> Self:
        self._first_tokens.expect(self._codec_message_id)
        self._publish.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            self._first_tokens.give_up(self._codec_message_id)
        self._publish.__exit__(kind, error, traceback)
