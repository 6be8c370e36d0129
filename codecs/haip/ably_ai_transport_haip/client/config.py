"""How a client connects and behaves."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ably_ai_transport_haip.protocol import FlowControlConfig

Token: TypeAlias = str | Callable[[], Awaitable[str]]
"""A JWT, or what fetches one whenever a connection is made."""
TransportName: TypeAlias = Literal["websocket", "sse", "http-streaming"]


@dataclass(frozen=True, slots=True)
class WebSocketTransportOptions:
    """Options of the WebSocket transport.

    Attributes:
        max_reconnect_attempts: Overrides the client's.
        reconnect_delay: Overrides the client's, in seconds.
        heartbeat_interval: Overrides the client's, in seconds.
        max_frame_size: The largest frame to take, in bytes.
        close_timeout: How long to wait for a goodbye when the connection is closed, in seconds.
    """

    max_reconnect_attempts: int | None = None
    reconnect_delay: float | None = None
    heartbeat_interval: float | None = None
    max_frame_size: int = 128 * 1024 * 1024
    close_timeout: float = 1.0


@dataclass(frozen=True, slots=True)
class SSETransportOptions:
    """Options of the transport over server-sent events.

    Attributes:
        max_reconnect_attempts: Overrides the client's.
        reconnect_delay: Overrides the client's, in seconds.
        cookies: Cookies to send.
        headers: Headers to send besides the protocol's.
        timeout: How long a request may take to be answered, in seconds.
    """

    max_reconnect_attempts: int | None = None
    reconnect_delay: float | None = None
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class HTTPStreamingTransportOptions:
    """Options of the transport over streamed HTTP responses.

    Attributes:
        max_reconnect_attempts: Overrides the client's.
        reconnect_delay: Overrides the client's, in seconds.
        timeout: How long a request may take to be answered, in seconds.
        headers: Headers to send besides the protocol's.
        cookies: Cookies to send.
    """

    max_reconnect_attempts: int | None = None
    reconnect_delay: float | None = None
    timeout: float = 10.0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cookies: Mapping[str, str] = field(default_factory=dict[str, str])


TransportOptions: TypeAlias = WebSocketTransportOptions | SSETransportOptions | HTTPStreamingTransportOptions


@dataclass(frozen=True, slots=True)
class HaipClientConfig:
    """What a client needs to know. Times are seconds.

    Attributes:
        url: Where the server is: ``ws://…`` for WebSocket, ``http://…`` for the other transports.
        token: A JWT, or an asynchronous function that fetches one for each connection.
        transport: How to talk.
        flow_control: Credits, and what becomes of messages without any.
        max_concurrent_runs: How many runs may be open at once.
        max_reconnect_attempts: How often to try again after a lost connection before giving up.
        reconnect_delay: What to wait before the first of these attempts; it doubles, up to half a minute.
        heartbeat_interval: How often to ask the server whether it is there.
        connect_timeout: How long a connection may take, with its handshake.
        options: Options of the transport.
    """

    url: str
    token: Token
    transport: TransportName = "websocket"
    flow_control: FlowControlConfig = field(default_factory=FlowControlConfig)
    max_concurrent_runs: int = 5
    max_reconnect_attempts: int = 5
    reconnect_delay: float = 1.0
    heartbeat_interval: float = 30.0
    connect_timeout: float = 10.0
    options: TransportOptions | None = None
