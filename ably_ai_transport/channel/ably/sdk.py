"""The parts of the Ably SDK that this room touches: types for them, and their values as ours.

The names without an underscore are public in Python's sense, but not documented by the SDK. Only this
module has to follow changes of theirs.

Two SDKs are known: ``ably`` 3, and its successor ``ably-pubsub-server`` 4, which is imported from
``ably.pubsub.server``. One process uses one of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Protocol, TypeAlias, cast

from ably_ai_transport.channel.contract import Presence
from ably_ai_transport.channel.payload import Frame
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    MessageAction,
    error_of,
)


@dataclass(frozen=True, slots=True)
class Sdk:
    """The classes of the SDK that this room uses by name.

    Attributes:
        agent: How the SDK names itself to the server.
        client: Makes a realtime client from keyword arguments.
        error: The base of its exceptions; made from message, status and code.
        channel_mode: Its enumeration of channel modes.
        channel_options: Its options of a channel.
        message: Its messages.
        message_action: Its enumeration of actions.
        token_details: Its tokens.
    """

    agent: str
    client: Callable[..., Any]
    error: type[Exception]
    channel_mode: Any
    channel_options: Any
    message: Any
    message_action: Any
    token_details: Any


@cache
def sdk() -> Sdk:
    """Return the SDK: the one that the application has imported, otherwise the one that is installed.

    Raises:
        ModuleNotFoundError: There is none.
    """
    if _SUCCESSOR not in sys.modules and find_spec("ably.realtime") is not None:
        ably, message = import_module("ably"), import_module("ably.types.message")
        return Sdk(
            f"ably-python/{ably.lib_version}",
            ably.AblyRealtime,
            ably.AblyException,
            ably.ChannelMode,
            ably.ChannelOptions,
            message.Message,
            message.MessageAction,
            import_module("ably.types.tokendetails").TokenDetails,
        )
    server = import_module(_SUCCESSOR)
    return Sdk(
        f"ably-pubsub-python/{server.lib_version}",
        server.create_realtime_client,
        server.AblyException,
        server.ChannelMode,
        server.ChannelOptions,
        server.Message,
        server.MessageAction,
        server.TokenDetails,
    )


_SUCCESSOR: Final = "ably.pubsub.server"


class PublishResult(Protocol):
    """The server's answer to a publish."""

    @property
    def serials(self) -> list[str | None]: ...


class SdkError(Protocol):
    """An ``AblyException``; the SDK does not always fill all of it."""

    message: str | None
    code: object
    status_code: object


class Answer(Protocol):
    """The methods of a message's future that the SDK calls."""

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
    def count(self) -> int: ...


class WebSocketProtocol(Protocol):
    """The state of a websocket."""

    max_size: int | None


class WebSocket(Protocol):
    """The client's end of a websocket."""

    close_timeout: float | None
    protocol: WebSocketProtocol

    @property
    def transport(self) -> asyncio.WriteTransport: ...


class Transport(Protocol):
    """One WebSocket."""

    is_disposed: bool
    websocket: WebSocket | None
    ws_connect_task: asyncio.Task[None] | None
    on_protocol_message: Callable[[Frame], Coroutine[Any, Any, None]]
    close: Callable[[], Coroutine[Any, Any, None]]

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


class NotifyState(Protocol):
    """Moves a connection to another state."""

    def __call__(
        self, state: object, reason: Exception | None = None, retry_immediately: bool | None = None
    ) -> None: ...


class ConnectionDetails(Protocol):
    """The server's terms for a connection."""

    max_idle_interval: int | None


class ConnectionManager(Protocol):
    """Keeps a connection up and sends messages over it."""

    state: str
    connection_id: str | None
    transport: Transport | None
    msg_serial: int
    pending_message_queue: PendingQueue
    queued_messages: deque[Pending]
    check_connection: Callable[[], bool]

    @property
    def options(self) -> Options: ...
    @property
    def connection_details(self) -> ConnectionDetails | None: ...
    def on(self, event: str, listener: Callable[..., object]) -> None: ...

    notify_state: NotifyState
    on_error_from_authorize: Callable[[Exception], None]

    def get_state_error(self) -> Exception: ...
    def start_retry_timer(self, interval: int, /) -> None: ...
    def cancel_retry_timer(self) -> None: ...


class Connection(Protocol):
    """A realtime connection."""

    state: str
    error_reason: Exception | None
    connection_manager: ConnectionManager


class Version(Protocol):
    """The version of a message."""

    serial: str | None
    client_id: str | None
    timestamp: int | None


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
    presence: Presence
    options: Mapping[str, Any] | None
    modes: Sequence[object]

    async def attach(self) -> None: ...
    async def detach(self) -> None: ...
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
    """The options of a client."""

    key_name: str | None
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

    @property
    def disconnected_retry_timeout(self) -> int: ...

    def get_host(self) -> str: ...


class Auth(Protocol):
    """The identity and the credentials of a client."""

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
    """Makes REST calls."""

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
    async def close(self) -> None: ...


def is_ably_client(value: object) -> bool:
    """Tell whether a value is a realtime client of the Ably SDK."""
    return hasattr(value, "connection") and hasattr(value, "channels")


ACTIONS: Final[Mapping[int, MessageAction]] = {
    0: MessageAction.CREATE,
    1: MessageAction.UPDATE,
    2: MessageAction.DELETE,
    3: MessageAction.META,
    4: MessageAction.SUMMARY,
    5: MessageAction.APPEND,
}


def inbound(message: Message) -> InboundMessage:
    """Read a message of the SDK.

    The SDK leaves the action out where the server does, and the version's serial where it equals the
    message's; here both are always there.

    Args:
        message: The SDK's message.

    Returns:
        The message as a value.
    """
    action, version, data = message.action, message.version, message.data
    serial = message.serial
    return InboundMessage(
        MessageAction.CREATE if action is None else ACTIONS.get(int(action), MessageAction.META),
        message.name,
        bytes(data) if isinstance(data, bytearray) else data,
        serial,
        (version.serial if version is not None else None) or serial,
        message.timestamp,
        message.client_id,
        message.connection_id,
        message.id,
        message.extras,
        None if version is None else version.client_id,
        None if version is None else version.timestamp,
    )


def word(state: str) -> str:
    """Return a state of the SDK, a member of an enumeration of strings, as the plain word."""
    return str.__str__(state)


def failed(manager: ConnectionManager) -> object:
    """Return the state "failed" as a member of the SDK's enumeration."""
    return type(manager.state)("failed")


def code_of(error: BaseException) -> int | None:
    """Return the code of an error of the SDK; None for any other exception, and where it has none."""
    code = cast("SdkError", error).code if isinstance(error, sdk().error) else None
    return code if isinstance(code, int) else None


def to_error(error: BaseException, fallback: int = ErrorCode.INTERNAL_ERROR) -> AITransportError:
    """Turn an exception of the SDK into an error of ours.

    Args:
        error: The exception.
        fallback: The code where it has none.

    Returns:
        An error with the server's or the SDK's code, and with the server's message. The text of any other
        exception stays in the cause.
    """
    if isinstance(error, AITransportError):
        return error
    if not isinstance(error, sdk().error):
        return error_of(type(error).__name__, fallback, cause=error)
    refusal = cast("SdkError", error)
    code, status = refusal.code, refusal.status_code
    if isinstance(code, int) and isinstance(status, int) and code < 1000 <= status:
        # ably 3.1.4 swaps the two where it closes a connection.
        code, status = status, code
    message = refusal.message or type(error).__name__
    if message.startswith(_WRAPPED):
        cause = error.__cause__ or error
        message = f"the Ably SDK failed with {type(cause).__name__}"
    return error_of(
        message,
        code if isinstance(code, int) and code else fallback,
        status if isinstance(status, int) else None,
        error,
    )


_WRAPPED: Final = "Unexpected exception"
"""The SDK's prefix for the message of an error that wraps an arbitrary exception."""
