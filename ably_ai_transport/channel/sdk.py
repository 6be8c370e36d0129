"""The parts of the Ably SDK that this room touches, with types: the SDK has none.

The names without an underscore are public in Python's sense, but not documented by the SDK. Whatever changes
there shows here, and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Frame: TypeAlias = dict[str, Any]
"""A protocol message on its way out."""


class PublishResult(Protocol):
    """What the server answered to a publish."""

    @property
    def serials(self) -> list[str | None]: ...


class SdkError(Protocol):
    """An ``AblyException``; the SDK does not always fill all of it."""

    message: str | None
    code: object
    status_code: object


class Answer(Protocol):
    """What the SDK uses of the future of a message."""

    def done(self) -> bool: ...
    def set_result(self, result: PublishResult, /) -> None: ...
    def set_exception(self, error: BaseException, /) -> None: ...


class Pending(Protocol):
    """A protocol message that waits for its answer, or to be sent."""

    message: Frame
    ack_required: bool

    @property
    def future(self) -> Answer | None: ...


class PendingQueue(Protocol):
    """The messages that wait for their answers."""

    @property
    def messages(self) -> Iterable[Pending]: ...


class Transport(Protocol):
    """One WebSocket."""

    is_disposed: bool
    ws_connect_task: asyncio.Task[None] | None
    on_protocol_message: Callable[[Frame], Coroutine[Any, Any, None]]

    async def send(self, message: Frame) -> None: ...
    async def dispose(self) -> None: ...
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

    @property
    def options(self) -> Options: ...
    def on(self, event: str, listener: Callable[..., object]) -> None: ...
    def notify_state(self, state: object, reason: Exception | None = None) -> None: ...
    def get_state_error(self) -> Exception: ...


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

    options: Mapping[str, Any] | None
    modes: Sequence[object]

    async def subscribe(self, *event_and_listener: str | Callable[[Message], None]) -> None: ...
    def unsubscribe(self, *event_and_listener: str | Callable[[Message], None]) -> None: ...
    def on(self, listener: Callable[[ChannelChange], None]) -> None: ...
    def off(self, listener: Callable[[ChannelChange], None]) -> None: ...


class Channels(Protocol):
    """The channels of a client."""

    def get(self, name: str, options: object | None = None) -> RealtimeChannel: ...
    def release(self, name: str) -> None: ...
    def __contains__(self, name: str) -> bool: ...


class TokenDetails(Protocol):
    """A token."""

    token: str


AuthCallback: TypeAlias = Callable[[Mapping[str, object]], object]


class Options(Protocol):
    """What a client was made with."""

    auth_callback: AuthCallback | None
    auth_url: str | None
    auth_method: str
    auth_headers: Mapping[str, str] | None
    auth_params: Mapping[str, str] | None
    client_id: str | None
    tls: bool
    use_binary_protocol: bool
    queue_messages: bool
    transport_params: dict[str, str]
    realtime_request_timeout: int


class Auth(Protocol):
    """Who a client is, and how it proves it."""

    client_id: str | None
    auth_mechanism: str
    basic_credentials: str | None
    token_details: TokenDetails | None

    async def request_token(self) -> TokenDetails: ...
    async def token_request_from_auth_url(
        self,
        method: str,
        url: str,
        token_params: Mapping[str, object],
        headers: Mapping[str, str],
        auth_params: Mapping[str, str],
        /,
    ) -> object: ...


class Response(Protocol):
    """An answer to a REST call."""

    links: Mapping[str, Mapping[str, str]]

    def to_native(self) -> object: ...


class Http(Protocol):
    """What REST calls are made with."""

    async def make_request(
        self, method: str, path: str, *, headers: Mapping[str, str], skip_auth: bool
    ) -> Response: ...


class Realtime(Protocol):
    """A realtime client: ``ably.AblyRealtime``."""

    connection: Connection
    channels: Channels
    options: Options
    auth: Auth
    http: Http

    def connect(self) -> None: ...
