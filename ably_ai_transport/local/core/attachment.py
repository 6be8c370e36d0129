"""An attachment: one channel attached by one connection, and what it gets of the channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.core.steps import entry_frame
from ably_ai_transport.local.protocol.channels import occupancy_of, wants_deltas
from ably_ai_transport.local.protocol.deltas import base_of
from ably_ai_transport.local.protocol.formats import json_size
from ably_ai_transport.local.protocol.frames import Action, Flag, Frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ably_ai_transport.local.core.channel import Channel
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.steps import Delivery
    from ably_ai_transport.local.protocol.deltas import Base
    from ably_ai_transport.local.protocol.frames import WireMessage
    from ably_ai_transport.local.protocol.messages import StoredMessage
    from ably_ai_transport.local.storage.contract import LogEntry

_SUBSCRIBE: Final = Flag.SUBSCRIBE
_PRESENCE_SUBSCRIBE: Final = Flag.PRESENCE_SUBSCRIBE
_FRAME_SIZE: Final = 2**19
_FIELDS_SIZE: Final = 1000


class Attachment:
    """One channel attached by one connection.

    A subscriber gets an append as a delta only if it has had some version of the message on this attachment
    before; otherwise it gets the whole message as an update (Ably's documentation of appends).

    With `params: {delta: "vcdiff"}`, a new message is sent as its difference from the one sent before. The
    first message, backlogs and changes of messages are sent whole; the message after a change is, too.

    Attributes:
        connection: The connection.
        channel: The channel.
        label: The channel name as the client spells it.
        modes: The modes granted.
        requested: The modes that the client requested; renewed credentials may grant more of them.
        occupancy: The occupancy metrics that the client wants.
    """

    __slots__ = (
        "_always_full",
        "_base",
        "_own_unseen",
        "_seen",
        "_since",
        "_subscribed",
        "_wants_deltas",
        "channel",
        "connection",
        "label",
        "modes",
        "occupancy",
        "requested",
    )

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        label: str,
        modes: Flag,
        params: Mapping[str, str],
        requested: Flag,
    ) -> None:
        self.connection = connection
        self.channel = channel
        self.label = label
        self.modes = modes
        self.requested = requested
        self.occupancy = occupancy_of(params)
        self._subscribed = bool(modes & _SUBSCRIBE)
        self._always_full = params.get("appendMode") == "full"
        self._wants_deltas = wants_deltas(params)
        self._base: Base | None = None
        self._since = channel.head
        self._seen: set[str] = set()
        # Without echo, a connection has not seen its own messages just because they are recent.
        self._own_unseen = None if connection.echo else connection.id

    def grant(self, modes: Flag) -> None:
        """Replace the modes."""
        self.modes = modes
        self._subscribed = bool(modes & _SUBSCRIBE)

    def deliver(self, delivery: Delivery) -> None:
        """Send a step in the form that is due, if this attachment gets it at all."""
        entry = delivery.entry
        connection = self.connection
        if entry.presence:
            if self.modes & _PRESENCE_SUBSCRIBE:
                connection.deliver(delivery, self.label, "full")
            return
        if not self._subscribed:
            return
        if self._own_unseen is not None and entry.connection_id == self._own_unseen:
            return
        if self._wants_deltas:
            base = self._base
            self._keep(delivery.base)
            if base is not None and delivery.is_create:
                connection.deliver(delivery, self.label, base)
                return
        if delivery.delta is not None and not self._always_full and self._has_seen(entry.messages[0]):
            connection.deliver(delivery, self.label, "delta")
            return
        if not delivery.is_create:
            self._seen.update(message.serial for message in entry.messages)
        connection.deliver(delivery, self.label, "full")

    def unsee(self, serial: str) -> None:
        """Take note that a version was not delivered after all: the next one comes in full."""
        self._seen.discard(serial)
        self.forget_base()

    def forget_base(self) -> None:
        """Send the next message whole: the client has another message than the base, or none."""
        if self._base is not None:
            self._keep(None)

    def _keep(self, base: Base | None) -> None:
        """Keep the message that the next one can be a delta of."""
        if base is not None:
            self.channel.hold(base.hold())
        if self._base is not None:
            self.channel.hold(-self._base.release())
        self._base = base

    def _keep_last(self, message: WireMessage | None) -> None:
        """Keep the last message of a backlog."""
        if self._wants_deltas and message is not None:
            self._keep(base_of(message))

    def _has_seen(self, message: StoredMessage) -> bool:
        if message.serial in self._seen:
            return True
        return message.channel_serial > self._since and (
            self._own_unseen is None or message.connection_id != self._own_unseen
        )

    def replay(self, entries: Sequence[LogEntry]) -> None:
        """Send the backlog: each message once, in its latest version, where it first occurs."""
        if not self._subscribed:
            return
        sent: set[str] = set()
        last: WireMessage | None = None
        for entry in entries:
            if entry.presence:
                if self.modes & _PRESENCE_SUBSCRIBE:
                    self.connection.send(entry_frame(entry, self.label))
                continue
            if self._own_unseen is not None and entry.connection_id == self._own_unseen:
                continue
            fresh: list[WireMessage] = []
            for message in entry.messages:
                if message.serial not in sent:
                    sent.add(message.serial)
                    fresh.append(last := message.wire())
            for messages in _frames(fresh):
                self.connection.send(entry_frame(entry, self.label, messages))
        self._seen |= sent
        self._keep_last(last)

    def rewind(self, messages: Sequence[StoredMessage]) -> None:
        """Send messages in their latest version; the last brings the client to the channel's head."""
        if not self._subscribed:
            return
        last: WireMessage | None = None
        for index, message in enumerate(messages):
            last = message.wire()
            is_last = index == len(messages) - 1
            frame: Frame = {
                "action": int(Action.MESSAGE),
                "channel": self.label,
                "channelSerial": self._since if is_last else message.channel_serial,
                "id": message.id.rpartition(":")[0] or message.id,
                "timestamp": message.timestamp,
                "messages": [last],
            }
            if message.connection_id is not None:
                frame["connectionId"] = message.connection_id
            self.connection.send(frame)
        self._seen.update(message.serial for message in messages)
        self._keep_last(last)


def _frames(messages: Sequence[WireMessage]) -> list[list[WireMessage]]:
    """Split the messages of a step into frames that are not too large for a client to read."""
    frames: list[list[WireMessage]] = []
    size = 0
    for message in messages:
        added = json_size(message.get("data")) + _FIELDS_SIZE
        size += added
        if not frames or size > _FRAME_SIZE:
            frames.append([])
            size = added
        frames[-1].append(message)
    return frames
