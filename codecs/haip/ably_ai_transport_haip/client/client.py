"""The HAIP client."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Literal, Self, Unpack, cast, overload

import anyio
from typing_extensions import TypedDict

from ably_ai_transport_haip.client.config import (
    HaipClientConfig,
    HaipTransportConfig,
    Token,
    TransportName,
    TransportOptions,
    WebSocketTransportOptions,
    options_of,
)
from ably_ai_transport_haip.client.events import Emitter, logger
from ably_ai_transport_haip.client.http import HTTPStreamingTransport, SSETransport
from ably_ai_transport_haip.client.incoming import IncomingMessages, Readers
from ably_ai_transport_haip.client.link import Link, Patience
from ably_ai_transport_haip.client.state import HaipConnectionState, HaipPerformanceMetrics
from ably_ai_transport_haip.client.transport import HaipTransport
from ably_ai_transport_haip.client.websocket import WebSocketTransport
from ably_ai_transport_haip.endpoint import HaipEndpoint
from ably_ai_transport_haip.protocol import (
    BinaryReceived,
    CreditsChanged,
    FlowControlConfig,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
    HaipPeer,
    Handshaken,
    Lost,
    PeerConfig,
    PeerEvent,
    Received,
    Violated,
)


class ClientOptions(TypedDict, total=False):
    """The fields of :class:`HaipClientConfig`, as keyword arguments."""

    url: str
    token: Token
    transport: TransportName
    flow_control: FlowControlConfig
    max_concurrent_runs: int
    max_reconnect_attempts: int
    reconnect_delay: float
    heartbeat_interval: float
    connect_timeout: float
    options: TransportOptions | None


_EVENTS: Final = ("connect", "disconnect", "handshake", "message", "binary", "error", "credits", "closed")


class HaipClient(HaipEndpoint):
    """A client of a HAIP server: runs, texts, tools and audio.

    After a lost connection the client connects again and resumes the session. If the server keeps sessions,
    no message is lost and none arrives twice. Sends wait until the client is connected again.

    Args:
        config: The configuration.
        transport: The transport; built from the configuration by default.
        clock: Returns the current time: seconds since 1970.

    Example:
        >>> config = HaipClientConfig(url="ws://localhost:8080", token="…")  # doctest: +SKIP
        >>> async with HaipClient(config) as client:  # doctest: +SKIP
        ...     run_id = await client.start_run()
        ...     await client.send_text_message("USER", "Hello", run_id=run_id)
        ...     async for message in client.messages():
        ...         print(message.type, message.payload)
    """

    def __init__(
        self,
        config: HaipClientConfig,
        *,
        transport: HaipTransport | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._events = Emitter(_EVENTS, on_exception=self._report)
        super().__init__(
            HaipPeer(
                PeerConfig(
                    "client",
                    clock,
                    config.flow_control,
                    max_concurrent_runs=config.max_concurrent_runs,
                    refills_on_read=True,
                )
            )
        )
        self._transport = transport or make_transport(config)
        options = config.options
        attempts = None if options is None else options.max_reconnect_attempts
        delay = None if options is None else options.reconnect_delay
        heartbeat = options.heartbeat_interval if isinstance(options, WebSocketTransportOptions) else None
        self._link = Link(
            self._peer,
            self._transport,
            Patience(
                config.max_reconnect_attempts if attempts is None else attempts,
                config.reconnect_delay if delay is None else delay,
                config.heartbeat_interval if heartbeat is None else heartbeat,
                config.connect_timeout,
            ),
            self._events,
            self._take,
        )
        self._readers = Readers(self._note_read)
        self._events.on("closed", self._note_closed)

    def __repr__(self) -> str:
        return f"<HaipClient {self.session_id} {self._link.state}>"

    # Connection

    async def connect(self) -> None:
        """Connect, and wait for the handshake of the server.

        Raises:
            HaipConnectionError: The server cannot be reached, or sends no handshake in time (TIMEOUT).
            HaipAuthenticationError: The token was refused.
            HaipProtocolError: The server speaks another version (VERSION_INCOMPATIBLE).
        """
        await self._link.open()

    async def disconnect(self) -> None:
        """Write the queued messages and disconnect. May be repeated."""
        with anyio.CancelScope(shield=True):
            if self._link.is_up:
                await self._link.flush()
            await self._link.close()
        self._wake()

    def is_connected(self) -> bool:
        """Tell whether there is a connection with complete handshakes."""
        return self._link.is_up

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.disconnect()

    # State

    def get_connection_state(self) -> HaipConnectionState:
        """Return the state of the connection, with the credits of each channel."""
        messages, size = self._peer.credits.snapshot()
        return HaipConnectionState(
            connected=self._transport.is_connected(),
            handshake_completed=self._link.is_up,
            session_id=self._peer.session_id,
            last_ack=self._peer.acked or "",
            reconnect_attempts=self._link.attempts,
            credits=messages,
            byte_credits=size,
        )

    def get_performance_metrics(self) -> HaipPerformanceMetrics:
        """Return the traffic so far."""
        return self._link.traffic.snapshot(self._link.connection_time)

    # Events

    @overload
    def on(self, event: Literal["connect"], listener: Callable[[], object]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["disconnect"], listener: Callable[[str], object]) -> Callable[[], None]: ...
    @overload
    def on(
        self, event: Literal["handshake"], listener: Callable[[Mapping[str, object]], object]
    ) -> Callable[[], None]: ...
    @overload
    def on(
        self, event: Literal["message"], listener: Callable[[HaipMessage], object]
    ) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["binary"], listener: Callable[[bytes], object]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["error"], listener: Callable[[Exception], object]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["credits"], listener: Callable[[str], object]) -> Callable[[], None]: ...
    @overload
    def on(self, event: Literal["closed"], listener: Callable[[], object]) -> Callable[[], None]: ...
    def on(self, event: str, listener: Callable[..., object]) -> Callable[[], None]:
        """Add a listener.

        Args:
            event: ``connect``; ``disconnect`` with the reason; ``handshake`` with its payload; ``message``
                with each message, in order; ``binary`` with the bytes of a binary frame without a message;
                ``error`` with an exception; ``credits`` with a channel whose credits changed; ``closed`` once
                the client makes no further attempt to connect.
            listener: A plain function or a coroutine function. Plain functions run at once; each call of a
                coroutine function runs in a task of its own. An exception of a listener is logged with its
                traceback and passed to the listeners of ``error``.

        Returns:
            A function that removes the listener.

        Raises:
            ValueError: The event is unknown, or the listener is not callable.
        """
        return self._events.on(event, listener)

    def once(self, event: str, listener: Callable[..., object]) -> Callable[[], None]:
        """Add a listener that is removed before its first call.

        Args:
            event: An event of :meth:`on`.
            listener: A plain function or a coroutine function, as for :meth:`on`.

        Returns:
            A function that removes the listener.

        Raises:
            ValueError: The event is unknown, or the listener is not callable.
        """
        return self._events.once(event, listener)

    def off(self, event: str, listener: Callable[..., object]) -> None:
        """Remove a listener. Of a listener that was added twice, the later one is removed.

        Args:
            event: The event.
            listener: The listener, as it was passed to :meth:`on` or :meth:`once`. An unknown one is ignored.

        Raises:
            ValueError: The event is unknown.
        """
        self._events.off(event, listener)

    def messages(self) -> IncomingMessages:
        """Iterate over the messages that arrive from now on, until the client is closed.

        The server gets new credits as the iterator reads, so a slow reader slows the server down. Without an
        iterator, it gets them as messages arrive. A client that never reads from its iterator stops the
        server in the end.

        Returns:
            An asynchronous iterator over all messages, in order. It raises a :class:`HaipError` if more than
            10,000 messages wait for the reader, which takes messages that cost no credits.

        Example:
            >>> async for message in client.messages():  # doctest: +SKIP
            ...     print(message.type)
        """
        return self._readers.open()

    # Inside

    async def _ready(self) -> None:
        await self._link.ready()

    async def _flush(self) -> None:
        await self._link.flush()

    def _take(self, event: PeerEvent) -> None:
        match event:
            case Handshaken():
                self._events.emit("handshake", event.payload.model_dump(exclude_none=True))
                if not event.resumed:
                    self._wake()
            case Received():
                self._log_received(event.message)
                self._note_run(event.message)
                self._report_refusal(event.message)
                self._events.emit("message", event.message)
                self._readers.add(event.message)
            case BinaryReceived():
                self._events.emit("binary", event.data)
            case CreditsChanged():
                self._take_grant(event)
                self._events.emit("credits", event.channel)
            case Violated():
                self._report(event.error)
            case Lost():
                self._report(
                    HaipError(
                        f"messages {event.first} to {event.last} of the server are lost",
                        HaipErrorCode.REPLAY_TOO_OLD,
                    )
                )

    def _note_read(self, message: HaipMessage) -> None:
        self._peer.note_read(message)
        self._link.nudge()

    def _note_closed(self) -> None:
        # Senders that wait for credits learn that there will be none.
        self._wake()
        self._readers.end()

    def _report_refusal(self, message: HaipMessage) -> None:
        if message.type is not HaipEventType.ERROR:
            return
        said, code = str(message.payload.get("message")), str(message.payload.get("code"))
        detail = message.payload.get("detail")
        details = cast("Mapping[str, object]", detail) if isinstance(detail, dict) else None
        self._report(HaipError(f"the server reported an error: {said}", code, details))

    def _report(self, error: Exception) -> None:
        logger.debug("Error: %s", error, extra={"haip_session": self.session_id})
        self._events.emit("error", error)


def make_transport(config: HaipClientConfig) -> HaipTransport:
    """Build the transport of a configuration.

    Args:
        config: The configuration.

    Returns:
        The transport, not connected yet.

    Raises:
        HaipConnectionError: The address does not fit the transport.
        HaipError: The options belong to another transport.
    """
    match config.transport:
        case "websocket":
            options = options_of(WebSocketTransportOptions, config.options)
            return WebSocketTransport(config.url, config.token, options)
        case "sse":
            return SSETransport(HaipTransportConfig(config.url, config.token, config.options))
        case "http-streaming":
            return HTTPStreamingTransport(HaipTransportConfig(config.url, config.token, config.options))


def create_haip_client(
    config: HaipClientConfig | None = None, /, **options: Unpack[ClientOptions]
) -> HaipClient:
    """Build a client, from a configuration or from its fields.

    Args:
        config: The configuration.
        **options: Fields of :class:`HaipClientConfig`; they override those of ``config``.

    Returns:
        The client, not connected yet.

    Raises:
        ValueError: The configuration is invalid.
        HaipConnectionError: The address does not fit the transport.
        HaipError: The options belong to another transport.

    Example:
        >>> client = create_haip_client(url="ws://localhost:8080", token="…")
        >>> client.is_connected()
        False
    """
    fields = cast("dict[str, Any]", options)
    return HaipClient(HaipClientConfig(**fields) if config is None else replace(config, **fields))
