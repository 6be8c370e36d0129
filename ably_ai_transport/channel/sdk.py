"""The parts of the Ably SDK that this room touches, with types: the SDK has none.

The names without an underscore are public in Python's sense, but not documented by the SDK. Whatever changes
there shows here, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Frame: TypeAlias = dict[str, Any]
"""A protocol message on its way out."""


class PublishResult(Protocol):
    """What the server answered to a publish."""

    serials: list[str | None]


class Pending(Protocol):
    """A protocol message that waits for its answer, or to be sent."""

    message: Frame
    ack_required: bool
    future: asyncio.Future[PublishResult] | None


class PendingQueue(Protocol):
    """The messages that wait for their answers, in the order of their ``msgSerial``."""

    messages: list[Pending]

    def clear(self) -> None: ...


class Transport(Protocol):
    """One WebSocket."""

    is_disposed: bool
    ws_connect_task: asyncio.Task[None] | None

    def _emit(self, event: str, *arguments: object) -> None: ...


class StateChange(Protocol):
    """A change of a connection's or a channel's state; states are strings."""

    previous: str
    current: str
    reason: Exception | None


class ChannelChange(StateChange, Protocol):
    """A change of a channel's state."""

    resumed: bool


class ConnectionManager(Protocol):
    """What keeps a connection up, and sends."""

    state: str
    connection_id: str | None
    transport: Transport | None
    msg_serial: int
    pending_message_queue: PendingQueue
    queued_messages: deque[Pending]
    check_connection: Callable[[], bool]

    def on(self, event: str, listener: Callable[..., object]) -> None: ...
    def off(self, event: str, listener: Callable[..., object]) -> None: ...
    def requeue_pending_messages(self) -> None: ...
    def send_queued_messages(self) -> None: ...
    def fail_queued_messages(self, error: Exception | None) -> None: ...
    def deactivate_transport(self, reason: Exception | None = None) -> None: ...
    async def send_protocol_message(self, message: Frame) -> PublishResult | None: ...


class Connection(Protocol):
    """A realtime connection."""

    state: str
    error_reason: Exception | None
    connection_manager: ConnectionManager


class Version(Protocol):
    """The version of a message."""

    serial: str | None


class Message(Protocol):
    """A message that arrived."""

    name: str | None
    data: object
    serial: str | None
    action: int | None
    version: Version | None
    timestamp: int | None
    client_id: str | None
    connection_id: str | None
    id: str | None
    extras: object


class RealtimeChannel(Protocol):
    """A realtime channel."""

    name: str
    state: str
    error_reason: Exception | None
    cipher: object | None
    presence: object

    async def attach(self) -> None: ...
    async def detach(self) -> None: ...
    async def subscribe(self, listener: Callable[[Message], None]) -> None: ...
    def unsubscribe(self, listener: Callable[[Message], None]) -> None: ...
    def on(self, listener: Callable[[ChannelChange], None]) -> None: ...
    def off(self, listener: Callable[[ChannelChange], None]) -> None: ...


class Channels(Protocol):
    """The channels of a client."""

    def get(self, name: str, options: object | None = None) -> RealtimeChannel: ...
    def __contains__(self, name: str) -> bool: ...


class TokenDetails(Protocol):
    """A token."""

    token: str


AuthCallback: TypeAlias = Callable[[Mapping[str, object]], Awaitable[object]]


class AuthOptions(Protocol):
    """How a client proves who it is."""

    auth_callback: AuthCallback | None
    auth_url: str | None
    auth_method: str
    auth_headers: Mapping[str, str] | None
    auth_params: Mapping[str, str] | None
    key_name: str | None
    key_secret: str | None
    auth_token: str | None
    token_details: TokenDetails | None
    use_token_auth: bool | None
    client_id: str | None
    default_token_params: Mapping[str, object] | None


class Options(AuthOptions, Protocol):
    """What a client was made with."""

    endpoint: str | None
    tls: bool
    port: int
    tls_port: int
    use_binary_protocol: bool
    transport_params: dict[str, str]
    realtime_request_timeout: int

    def get_fallback_hosts(self) -> Sequence[str]: ...


class Auth(Protocol):
    """Who a client is."""

    client_id: str | None


class Realtime(Protocol):
    """A realtime client: ``ably.AblyRealtime``."""

    connection: Connection
    channels: Channels
    options: Options
    auth: Auth

    def connect(self) -> None: ...
