"""The client, and what carries its frames."""

from ably_ai_transport_haip.client.client import HaipClient, create_haip_client
from ably_ai_transport_haip.client.config import (
    HaipClientConfig,
    HTTPStreamingTransportOptions,
    SSETransportOptions,
    WebSocketTransportOptions,
)
from ably_ai_transport_haip.client.http import HTTPStreamingTransport, SSETransport
from ably_ai_transport_haip.client.state import HaipConnectionState, HaipPerformanceMetrics
from ably_ai_transport_haip.client.transport import HaipTransport
from ably_ai_transport_haip.client.websocket import WebSocketTransport

__all__ = [
    "HTTPStreamingTransport",
    "HTTPStreamingTransportOptions",
    "HaipClient",
    "HaipClientConfig",
    "HaipConnectionState",
    "HaipPerformanceMetrics",
    "HaipTransport",
    "SSETransport",
    "SSETransportOptions",
    "WebSocketTransport",
    "WebSocketTransportOptions",
    "create_haip_client",
]
