"""One channel of the hub: its messages in their latest versions, and its attachments."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    MessageAction,
    OutboundMessage,
)

_SERIES = "kJ7VAZk5Dg"
_NOT_FOUND = 40400


class Serials:
    """Serials of Ably's form, from a counter: zero-padded, so that they compare as strings."""

    def __init__(self, start: int = 1795209205749) -> None:
        self.time = start

    def mint(self) -> str:
        """Return the next serial of the hub."""
        self.time += 1
        return f"{self.time:014d}-000@{_SERIES}"


@dataclass(slots=True)
class Stored:
    """A message in its latest version."""

    serial: str
    version: str
    position: str
    timestamp: int
    name: str | None
    extras: dict[str, object] | None
    client_id: str | None
    connection_id: str
    id: str
    version_client_id: str | None = None
    parts: list[object] = field(default_factory=list[object])
    changed_at: int | None = None

    @property
    def data(self) -> object:
        """The payload so far."""
        if len(self.parts) > 1:
            textual = isinstance(self.parts[0], str)
            self.parts = [
                "".join(cast("list[str]", self.parts))
                if textual
                else b"".join(cast("list[bytes]", self.parts))
            ]
        return self.parts[0] if self.parts else None

    def inbound(self, action: MessageAction, data: object) -> InboundMessage:
        """Describe it, or an append to it, as a delivery."""
        return InboundMessage(
            action=action,
            name=self.name,
            data=data,
            serial=self.serial,
            version=self.version,
            timestamp=self.timestamp,
            client_id=self.client_id,
            connection_id=self.connection_id,
            id=self.id,
            extras=self.extras,
            version_client_id=self.version_client_id,
            changed_at=self.changed_at,
        )

    def whole(self) -> InboundMessage:
        """Describe it as history does."""
        action = MessageAction.CREATE if self.changed_at is None else MessageAction.UPDATE
        return self.inbound(action, self.data)


@dataclass(eq=False, slots=True)
class Attachment:
    """One channel object's attachment.

    Attributes:
        serial: The head of the channel when it was made: history ends here, deliveries start.
        deliver: Takes a delivery.
        seen: Serials of the messages that it has the text of, and gets mere deltas for.
    """

    serial: str
    deliver: Callable[[InboundMessage], None]
    seen: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class Publisher:
    """The client that publishes."""

    client_id: str | None
    connection_id: str


class ChannelLog:
    """A channel's messages and attachments."""

    def __init__(self, serials: Serials) -> None:
        self._serials = serials
        self._messages: dict[str, Stored] = {}
        self._ephemeral: dict[str, Stored] = {}
        self._by_id: dict[str, list[str | None]] = {}
        self._head: str | None = None
        self._frames = 0
        self.attachments: list[Attachment] = []

    def attach(self, deliver: Callable[[InboundMessage], None]) -> Attachment:
        """Attach at the head."""
        attachment = Attachment(self.head(), deliver)
        self.attachments.append(attachment)
        return attachment

    def move_to_head(self, attachment: Attachment) -> None:
        """Attach again at the head."""
        attachment.serial = self.head()
        attachment.seen.clear()

    def head(self) -> str:
        """Return the position of the latest change; an empty channel has one, too."""
        if self._head is None:
            self._head = self._serials.mint()
        return self._head

    def publish(self, messages: Sequence[OutboundMessage], publisher: Publisher) -> list[str | None]:
        """Take new messages and deliver them; a message with the id of an earlier one is not taken again."""
        given = messages[0].id if messages else None
        if given is not None and (known := self._by_id.get(given)) is not None:
            return known
        position = self._head = self._serials.mint()
        frame = self._frame(publisher)
        serials: list[str | None] = []
        for index, message in enumerate(messages):
            extras = _copied_extras(message.extras)
            serial = f"{position}:{index:03d}"
            stored = Stored(
                serial=serial,
                version=serial,
                position=position,
                timestamp=self._serials.time,
                name=message.name,
                extras=extras,
                client_id=publisher.client_id,
                connection_id=publisher.connection_id,
                id=message.id or f"{frame}:{index}",
                version_client_id=publisher.client_id,
                parts=[] if message.data is None else [_copied(message.data)],
            )
            ephemeral = extras is not None and extras.get("ephemeral") is True
            (self._ephemeral if ephemeral else self._messages)[serial] = stored
            serials.append(serial)
            for attachment in self.attachments:
                attachment.seen.add(serial)
                attachment.deliver(stored.inbound(MessageAction.CREATE, stored.data))
        if given is not None:
            self._by_id[given] = serials
        return serials

    def append(self, message: OutboundMessage, publisher: Publisher) -> str:
        """Take an append; deliver the delta to attachments that have the rest, the whole to the others."""
        stored = self._find(message.serial)
        piece = _copied(message.data)
        kind = type(stored.parts[0]) if stored.parts else type(piece)
        if piece is not None and (kind not in (str, bytes) or not isinstance(piece, kind)):
            raise AITransportError(
                "unable to append; only text grows by text, and bytes by bytes", ErrorCode.BAD_REQUEST
            )
        self._change(stored, message, publisher)
        if piece is not None:
            stored.parts.append(piece)
        for attachment in self.attachments:
            if stored.serial in attachment.seen:
                attachment.deliver(stored.inbound(MessageAction.APPEND, "" if piece is None else piece))
            else:
                attachment.seen.add(stored.serial)
                attachment.deliver(stored.inbound(MessageAction.UPDATE, stored.data))
        return stored.version

    def update(self, message: OutboundMessage, publisher: Publisher) -> str:
        """Take an update and deliver it."""
        stored = self._find(message.serial)
        self._change(stored, message, publisher)
        if message.data is not None:
            stored.parts = [_copied(message.data)]
        for attachment in self.attachments:
            attachment.seen.add(stored.serial)
            attachment.deliver(stored.inbound(MessageAction.UPDATE, stored.data))
        return stored.version

    def before(self, bound: str, limit: int, older_than: str | None) -> tuple[list[InboundMessage], bool]:
        """Read backwards.

        Args:
            bound: Position of the newest message to return.
            limit: How many.
            older_than: Serial to go on from.

        Returns:
            The messages, newest first, and whether there are older ones.
        """
        found = [
            one
            for one in self._messages.values()
            if one.position <= bound and (older_than is None or one.serial < older_than)
        ]
        found.reverse()
        return [one.whole() for one in found[:limit]], len(found) > limit

    def all(self) -> list[InboundMessage]:
        """Return all messages in their latest version, oldest first."""
        return [one.whole() for one in self._messages.values()]

    def _find(self, serial: str | None) -> Stored:
        stored = self._messages.get(serial or "") or self._ephemeral.get(serial or "")
        if stored is None:
            raise AITransportError(f"unable to change a message; none has the serial {serial}", _NOT_FOUND)
        return stored

    def _change(self, stored: Stored, message: OutboundMessage, publisher: Publisher) -> None:
        """Give a message its next version; name and extras stay unless new ones are given."""
        self._head = self._serials.mint()
        self._frame(publisher)
        stored.version = f"{self._head}:000"
        stored.version_client_id = publisher.client_id
        stored.changed_at = self._serials.time
        if message.name is not None:
            stored.name = message.name
        if message.extras:
            stored.extras = _copied_extras(message.extras)

    def _frame(self, publisher: Publisher) -> str:
        self._frames += 1
        return f"{publisher.connection_id}:{self._frames - 1}"


def _copied(value: object) -> object:
    """Copy JSON as the wire would, so that nothing is shared between publisher and subscribers."""
    if isinstance(value, dict | list):
        return cast("object", json.loads(json.dumps(value)))
    return bytes(value) if isinstance(value, bytearray) else value


def _copied_extras(extras: dict[str, object]) -> dict[str, object] | None:
    return cast("dict[str, object]", _copied(extras)) if extras else None
