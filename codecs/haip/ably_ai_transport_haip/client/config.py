"""Configuration of clients: the connection, the transports and the defaults."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, TypeVar, get_args

from ably_ai_transport_haip.protocol import PROTOCOL_VERSION, FlowControlConfig, HaipError
from ably_ai_transport_haip.protocol.credits import DEFAULT_CREDIT_BYTES, DEFAULT_CREDITS

Token: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A JWT, or a plain or coroutine function that returns one for each connection."""
TransportName: TypeAlias = Literal["websocket", "sse", "http-streaming"]


class HaipConstants:
    """The protocol version and the defaults of clients.

    Times are in milliseconds, as in the reference SDK. Those of :class:`HaipClientConfig` are in seconds.
    """

    PROTOCOL_VERSION: Final = PROTOCOL_VERSION
    DEFAULT_CREDITS: Final = DEFAULT_CREDITS
    DEFAULT_CREDIT_BYTES: Final = DEFAULT_CREDIT_BYTES
    DEFAULT_HEARTBEAT_INTERVAL: Final = 30_000
    DEFAULT_RECONNECT_DELAY: Final = 1_000
    DEFAULT_MAX_RECONNECT_ATTEMPTS: Final = 5
    DEFAULT_MAX_CONCURRENT_RUNS: Final = 5
    WEBSOCKET_READY_STATE: Final[Mapping[str, int]] = MappingProxyType(
        {"CONNECTING": 0, "OPEN": 1, "CLOSING": 2, "CLOSED": 3}
    )


@dataclass(frozen=True, slots=True)
class WebSocketTransportOptions:
    """Options of the WebSocket transport.

    Attributes:
        max_reconnect_attempts: Overrides the client's setting.
        reconnect_delay: Overrides the client's setting, in seconds.
        heartbeat_interval: Overrides the client's setting, in seconds.
        max_frame_size: The largest frame to accept, in bytes.
        close_timeout: The longest wait for the closing handshake, in seconds.
        compression: Whether frames are compressed if the server agrees. It saves bandwidth on long texts and
            costs time on each frame.
    """

    max_reconnect_attempts: int | None = None
    reconnect_delay: float | None = None
    heartbeat_interval: float | None = None
    max_frame_size: int = 128 * 1024 * 1024
    close_timeout: float = 1.0
    compression: bool = False


@dataclass(frozen=True, slots=True)
class SSETransportOptions:
    """Options of the transport over server-sent events.

    Attributes:
        max_reconnect_attempts: Overrides the client's setting.
        reconnect_delay: Overrides the client's setting, in seconds.
        cookies: Cookies of each request. They are left out of the ``repr``.
        headers: Additional headers of each request. They are left out of the ``repr``.
        timeout: The longest wait for the response to a request, in seconds.
    """

    max_reconnect_attempts: int | None = None
    reconnect_delay: float | None = None
    cookies: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class HTTPStreamingTransportOptions:
    """Options of the transport over streamed HTTP responses.

    Attributes:
        max_reconnect_attempts: Overrides the client's setting.
        reconnect_delay: Overrides the client's setting, in seconds.
        timeout: The longest wait for the response to a request, in seconds.
        headers: Additional headers of each request. They are left out of the ``repr``.
        cookies: Cookies of each request. They are left out of the ``repr``.
    """

    max_reconnect_attempts: int | None = None
    reconnect_delay: float | None = None
    timeout: float = 10.0
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


TransportOptions: TypeAlias = WebSocketTransportOptions | SSETransportOptions | HTTPStreamingTransportOptions
OptionsT = TypeVar("OptionsT", WebSocketTransportOptions, SSETransportOptions, HTTPStreamingTransportOptions)


def options_of(kind: type[OptionsT], options: TransportOptions | None) -> OptionsT:
    """Return the options of a transport.

    Args:
        kind: The type of the options.
        options: The options; None for the defaults.

    Returns:
        The options.

    Raises:
        HaipError: They belong to another transport.
    """
    if options is None:
        return kind()
    if not isinstance(options, kind):
        raise HaipError(
            f"unable to build the transport; it takes {kind.__name__}, not {type(options).__name__}"
        )
    return options


@dataclass(frozen=True, slots=True)
class HaipTransportConfig:
    """Configuration of a transport over HTTP.

    Attributes:
        url: The address of the server: ``http://…`` or ``https://…``. Left out of the ``repr``, because a
            query may hold a token.
        token: A JWT, or a plain or coroutine function that returns one for each connection. Left out of the
            ``repr``.
        options: The options of the transport; None for the defaults.

    Example:
        >>> transport = SSETransport(HaipTransportConfig("http://localhost:8080/haip/sse", "…"))
    """

    url: str = field(repr=False)
    token: Token = field(repr=False)
    options: TransportOptions | None = None


@dataclass(frozen=True, slots=True)
class HaipClientConfig:
    """Configuration of a client. Times are in seconds.

    Attributes:
        url: The address of the server: ``ws://…`` for WebSocket, ``http://…`` for the other transports. Left
            out of the ``repr``, because a query may hold a token.
        token: A JWT, or a plain or coroutine function that returns one for each connection. Left out of the
            ``repr``.
        transport: The transport.
        flow_control: Credits, and the treatment of messages without any.
        max_concurrent_runs: The largest number of open runs.
        max_reconnect_attempts: The number of attempts to connect again after a lost connection.
        reconnect_delay: The delay before the first of these attempts. It doubles, up to 30 seconds.
        heartbeat_interval: The interval between pings to the server.
        connect_timeout: The longest time for a connection with its handshake.
        options: Options of the transport.

    Raises:
        ValueError: The transport is unknown, the address or the token has the wrong type, or a number is out
            of range.
    """

    url: str = field(repr=False)
    token: Token = field(repr=False)
    transport: TransportName = "websocket"
    flow_control: FlowControlConfig = field(default_factory=FlowControlConfig)
    max_concurrent_runs: int = HaipConstants.DEFAULT_MAX_CONCURRENT_RUNS
    max_reconnect_attempts: int = HaipConstants.DEFAULT_MAX_RECONNECT_ATTEMPTS
    reconnect_delay: float = HaipConstants.DEFAULT_RECONNECT_DELAY / 1000
    heartbeat_interval: float = HaipConstants.DEFAULT_HEARTBEAT_INTERVAL / 1000
    connect_timeout: float = 10.0
    options: TransportOptions | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _refused("url", f"is {type(self.url).__name__}, not text")
        if not (isinstance(self.token, str) or callable(self.token)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _refused("token", f"is {type(self.token).__name__}, not text or a function")
        if self.transport not in get_args(TransportName):
            known = ", ".join(get_args(TransportName))
            raise _refused("transport", f"'{self.transport}' is unknown (known are {known})")
        if self.max_concurrent_runs < 1:
            raise _refused("max_concurrent_runs", "is less than 1")
        for name in ("max_reconnect_attempts", "reconnect_delay"):
            if getattr(self, name) < 0:
                raise _refused(name, "is negative")
        for name in ("heartbeat_interval", "connect_timeout"):
            if getattr(self, name) <= 0:
                raise _refused(name, "is not positive")


def _refused(field_name: str, why: str) -> ValueError:
    return ValueError(f"unable to configure the client; {field_name} {why}")
