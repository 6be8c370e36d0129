"""Messages as values: inbound ones from a channel, outbound ones to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias, cast

Headers: TypeAlias = Mapping[str, str]
"""One tier of headers. All values on the wire are strings."""

NO_HEADERS: Headers = MappingProxyType({})
_ONLY_TEXT: set[type] = {str}


def no_headers() -> Headers:
    """Return headers without any, for the defaults of dataclasses."""
    return NO_HEADERS


class MessageAction(StrEnum):
    """The effect of a delivery on the message that its serial names."""

    CREATE = "message.create"
    UPDATE = "message.update"
    DELETE = "message.delete"
    APPEND = "message.append"
    META = "meta"
    SUMMARY = "message.summary"


def _tier(headers: object) -> Headers:
    """Read one tier leniently: an entry whose key or value is not a string is no header."""
    # This runs for each token. Asking an abstract class costs more than all the rest, and this is a dict.
    if type(headers) is not dict and not isinstance(headers, Mapping):
        return NO_HEADERS
    entries = cast("Mapping[object, object]", headers)
    if {*map(type, entries), *map(type, entries.values())} == _ONLY_TEXT:
        return cast("Headers", entries)
    return {k: v for k, v in entries.items() if isinstance(k, str) and isinstance(v, str)}


@dataclass(slots=True, eq=False)
class InboundMessage:
    """One delivery from a channel, live or from history.

    Attributes:
        action: The effect on the message.
        name: The message name. Ably carries it forward to every version of a message.
        data: The payload: text, bytes, or a JSON value.
        serial: Identity and position of the message, the same on all its versions; compares as a string.
        version: Serial of this version of the message; equals ``serial`` until it is changed.
        timestamp: When the message was created, in milliseconds since the epoch.
        client_id: The publisher, as Ably verified it.
        connection_id: The publisher's connection.
        id: Ably's id of the message.
        extras: The message's extras as they came; the headers are read from them.
        version_client_id: The client that made this version, as Ably verified it. An append or an update may
            come from another client than the publisher.
        changed_at: When this version of the message was created, in milliseconds since the epoch; equals
            ``timestamp`` until the message is changed.
        transport_headers: The transport tier of the extras.
        codec_headers: The codec tier of the extras.
        has_ai_envelope: Whether the message belongs to a session; an application may publish its own messages
            on the same channel.
    """

    action: MessageAction = MessageAction.CREATE
    name: str | None = None
    data: object = None
    serial: str | None = None
    version: str | None = None
    timestamp: int | None = None
    client_id: str | None = None
    connection_id: str | None = None
    id: str | None = None
    extras: object = None
    version_client_id: str | None = None
    changed_at: int | None = None
    transport_headers: Headers = field(init=False, repr=False)
    codec_headers: Headers = field(init=False, repr=False)
    has_ai_envelope: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.changed_at is None:
            self.changed_at = self.timestamp
        extras = self.extras
        ai = None
        if type(extras) is dict or isinstance(extras, Mapping):
            ai = cast("Mapping[object, object]", extras).get("ai")
        self.has_ai_envelope = type(ai) is dict or isinstance(ai, Mapping)
        tiers = cast("Mapping[object, object]", ai) if self.has_ai_envelope else NO_HEADERS
        self.transport_headers = _tier(tiers.get("transport"))
        self.codec_headers = _tier(tiers.get("codec"))


@dataclass(slots=True, eq=False)
class OutboundMessage:
    """One message to put on a channel.

    A message hook may change it in place before it is published.

    Attributes:
        name: The message name; ``None`` on appends and updates, which keep the name they have.
        data: The payload: text, bytes, or any JSON value.
        extras: The extras; headers live under ``extras["ai"]``.
        serial: The message that an append or an update changes; ``None`` for a new message.
        id: The id of a new message; ``None`` lets the channel choose one. The server takes a message once,
            however often and by whomever it is published under the same id.
    """

    name: str | None = None
    data: object = None
    extras: dict[str, object] = field(default_factory=dict[str, object])
    serial: str | None = None
    id: str | None = None

    @property
    def transport_headers(self) -> dict[str, str]:
        """The transport tier, created when absent; changes to it go onto the wire."""
        ai = cast("dict[str, dict[str, str]]", self.extras.setdefault("ai", {}))
        return ai.setdefault("transport", {})


def ai_extras(transport: Mapping[str, str], codec: Mapping[str, str] | None = None) -> dict[str, object]:
    """Build the extras of a session's message from its two tiers.

    Args:
        transport: Transport headers.
        codec: Codec headers; left off the wire when empty.

    Returns:
        ``{"ai": {"transport": …, "codec": …}}``.
    """
    tiers: dict[str, object] = {"transport": dict(transport)}
    if codec:
        tiers["codec"] = dict(codec)
    return {"ai": tiers}
