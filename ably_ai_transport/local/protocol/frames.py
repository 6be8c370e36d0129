"""Ably's realtime protocol: actions, flags, frames."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final, TypeAlias, TypedDict

Value: TypeAlias = "bool | int | float | str | bytes | list[Value] | dict[str, Value] | None"
"""Any JSON or msgpack value; bytes occur in msgpack only."""

Data: TypeAlias = "str | bytes | None"
"""Message data on the server: binary is always bytes, never base64."""


class Action(IntEnum):
    """`ProtocolMessage.action` (Ably specification TR2)."""

    HEARTBEAT = 0
    ACK = 1
    NACK = 2
    CONNECT = 3
    CONNECTED = 4
    DISCONNECT = 5
    DISCONNECTED = 6
    CLOSE = 7
    CLOSED = 8
    ERROR = 9
    ATTACH = 10
    ATTACHED = 11
    DETACH = 12
    DETACHED = 13
    PRESENCE = 14
    MESSAGE = 15
    SYNC = 16
    AUTH = 17
    ACTIVATE = 18
    OBJECT = 19
    OBJECT_SYNC = 20
    ANNOTATION = 21


class MessageAction(IntEnum):
    """`Message.action` (Ably specification TM5)."""

    CREATE = 0
    UPDATE = 1
    DELETE = 2
    META = 3
    SUMMARY = 4
    APPEND = 5


class PresenceAction(IntEnum):
    """`PresenceMessage.action` (Ably specification TP2)."""

    ABSENT = 0
    PRESENT = 1
    ENTER = 2
    LEAVE = 3
    UPDATE = 4


class Flag(IntFlag):
    """`ProtocolMessage.flags` (Ably specification TR3)."""

    HAS_PRESENCE = 1 << 0
    HAS_BACKLOG = 1 << 1
    RESUMED = 1 << 2
    TRANSIENT = 1 << 4
    ATTACH_RESUME = 1 << 5
    HAS_OBJECTS = 1 << 7
    PRESENCE = 1 << 16
    PUBLISH = 1 << 17
    SUBSCRIBE = 1 << 18
    PRESENCE_SUBSCRIBE = 1 << 19
    ANNOTATION_PUBLISH = 1 << 21
    ANNOTATION_SUBSCRIBE = 1 << 22
    OBJECT_SUBSCRIBE = 1 << 24
    OBJECT_PUBLISH = 1 << 25


MODES: Final = (
    Flag.PRESENCE
    | Flag.PUBLISH
    | Flag.SUBSCRIBE
    | Flag.PRESENCE_SUBSCRIBE
    | Flag.ANNOTATION_PUBLISH
    | Flag.ANNOTATION_SUBSCRIBE
    | Flag.OBJECT_SUBSCRIBE
    | Flag.OBJECT_PUBLISH
)
"""Every mode bit."""

DEFAULT_MODES: Final = (
    Flag.PRESENCE | Flag.PUBLISH | Flag.SUBSCRIBE | Flag.PRESENCE_SUBSCRIBE | Flag.ANNOTATION_PUBLISH
)
"""The modes of an ATTACH that requests none (3080192)."""


class ErrorInfo(TypedDict, total=False):
    """`error` of a frame or of an HTTP body."""

    code: int
    statusCode: int
    message: str
    href: str


class WireVersion(TypedDict, total=False):
    """`Message.version`: the operation in messages from clients, the new version in messages to them."""

    serial: str
    timestamp: int
    clientId: str
    description: str
    metadata: dict[str, Value]


class WireMessage(TypedDict, total=False):
    """A message in a frame or in a REST body."""

    id: str
    action: int
    serial: str
    name: str
    data: Data
    encoding: str
    clientId: str
    connectionId: str
    timestamp: int
    extras: Value
    version: WireVersion


class WirePresence(TypedDict, total=False):
    """A presence message in a frame or in a REST body."""

    id: str
    action: int
    clientId: str
    connectionId: str
    data: Data
    encoding: str
    timestamp: int
    extras: Value


class PublishResult(TypedDict):
    """One entry of `res` in an ACK: a serial for each message of a frame."""

    serials: list[str | None]


class ConnectionDetails(TypedDict, total=False):
    """`connectionDetails` of CONNECTED (Ably specification CD2)."""

    clientId: str
    connectionKey: str
    maxMessageSize: int
    maxFrameSize: int
    maxInboundRate: int
    connectionStateTtl: int
    maxIdleInterval: int
    serverId: str


class AuthDetails(TypedDict, total=False):
    """`auth` of an AUTH frame."""

    accessToken: str


class Frame(TypedDict, total=False):
    """A protocol message. The server leaves fields out that do not apply; it never sends null."""

    action: int
    id: str
    channel: str
    channelSerial: str
    connectionId: str
    connectionKey: str
    connectionDetails: ConnectionDetails
    timestamp: int
    flags: int
    params: dict[str, str]
    msgSerial: int
    count: int
    res: list[PublishResult]
    error: ErrorInfo
    auth: AuthDetails
    messages: list[WireMessage]
    presence: list[WirePresence]
