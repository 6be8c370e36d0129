"""The HAIP client and its transports."""

from ably_ai_transport_haip.client.client import HaipClient, create_haip_client
from ably_ai_transport_haip.client.config import (
    HaipClientConfig,
    HaipConstants,
    HaipTransportConfig,
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
    "HaipConstants",
    "HaipPerformanceMetrics",
    "HaipTransport",
    "HaipTransportConfig",
    "SSETransport",
    "SSETransportOptions",
    "WebSocketTransport",
    "WebSocketTransportOptions",
    "create_haip_client",
]
