"""Attachments: the channels that each connection is attached to, and the deliveries from them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.core.steps import entry_frame
from ably_ai_transport.local.protocol.channels import KNOWN_PARAMS, modes_of, rewind_of, split_name
from ably_ai_transport.local.protocol.frames import Action, Flag, Frame
from ably_ai_transport.local.protocol.presence import held_by_event
from ably_ai_transport.local.protocol.refusals import (
    RefusedError,
    continuity_lost,
    denied,
    too_many_attachments,
)
from ably_ai_transport.local.protocol.serials import random_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.core.channel import Channel
    from ably_ai_transport.local.core.channels import Channels
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.steps import Delivery
    from ably_ai_transport.local.options import LocalServerOptions
    from ably_ai_transport.local.protocol.channels import Rewind
    from ably_ai_transport.local.protocol.frames import WireMessage, WirePresence
    from ably_ai_transport.local.protocol.messages import StoredMessage
    from ably_ai_transport.local.protocol.serials import SerialMinter
    from ably_ai_transport.local.storage.contract import LogEntry

logger = logging.getLogger("ably_ai_transport.local")

_SUBSCRIBE: Final = Flag.SUBSCRIBE
_PRESENCE_SUBSCRIBE: Final = Flag.PRESENCE_SUBSCRIBE
_MAX_REWIND: Final = 100
_SYNC_PAGE: Final = 100
_SYNC_BYTES: Final = 2**18


class Attachment:
    """One channel attached by one connection.

    A subscriber gets an append as a delta only if it has had some version of the message on this attachment
    before; otherwise it gets the whole message as an update (Ably's documentation of appends).

    Attributes:
        connection: The connection.
        channel: The channel.
        label: The channel name as the client spells it.
        modes: The modes granted.
        requested: The modes that the client requested; renewed credentials may grant more of them.
    """

    __slots__ = (
        "_always_full",
        "_own_unseen",
        "_seen",
        "_since",
        "_subscribed",
        "channel",
        "connection",
        "label",
        "modes",
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
        self._subscribed = bool(modes & _SUBSCRIBE)
        self._always_full = params.get("appendMode") == "full"
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
        if delivery.delta is not None and not self._always_full and self._has_seen(entry.messages[0]):
            connection.deliver(delivery, self.label, "delta")
            return
        if not delivery.is_create:
            self._seen.update(message.serial for message in entry.messages)
        connection.deliver(delivery, self.label, "full")

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
                    fresh.append(message.wire())
            if fresh:
                self.connection.send(entry_frame(entry, self.label, fresh))
        self._seen |= sent

    def rewind(self, messages: Sequence[StoredMessage]) -> None:
        """Send messages in their latest version; the last brings the client to the channel's head."""
        if not self._subscribed:
            return
        for index, message in enumerate(messages):
            is_last = index == len(messages) - 1
            frame: Frame = {
                "action": int(Action.MESSAGE),
                "channel": self.label,
                "channelSerial": self._since if is_last else message.channel_serial,
                "id": message.id.rpartition(":")[0] or message.id,
                "timestamp": message.timestamp,
                "messages": [message.wire()],
            }
            if message.connection_id is not None:
                frame["connectionId"] = message.connection_id
            self.connection.send(frame)
        self._seen.update(message.serial for message in messages)


class Attachments:
    """All attachments of an app, by connection and by channel. Answers ATTACH, DETACH and SYNC."""

    def __init__(
        self, channels: Channels, minter: SerialMinter, *, options: LocalServerOptions, clock: Clock
    ) -> None:
        self._channels = channels
        self._minter = minter
        self._options = options
        self._clock = clock
        self._by_connection: dict[Connection, dict[str, Attachment]] = {}
        self._by_channel: dict[Channel, dict[Attachment, None]] = {}

    # Reading

    def fan_out(self, channel: Channel, delivery: Delivery) -> None:
        """Send a step to every attachment of a channel."""
        for attachment in self._by_channel.get(channel, ()):
            attachment.deliver(delivery)

    def on(self, channel: Channel) -> Collection[Attachment]:
        """Return the attachments of a channel."""
        return list(self._by_channel.get(channel, ()))

    def allow(self, connection: Connection, label: str, mode: Flag) -> bool:
        """Tell whether a connection may use a mode on a channel; without an attachment, it may."""
        attached = self._by_connection.get(connection)
        attachment = None if attached is None else attached.get(label)
        return attachment is None or bool(attachment.modes & mode)

    # Frames

    def attach(self, connection: Connection, frame: Frame) -> None:
        """Answer ATTACH, in one step: ATTACHED, then the backlog, then new messages."""
        label = _label(frame)
        try:
            self._attach(connection, label, frame)
        except RefusedError as refusal:
            logger.debug(
                "attach refused: %s",
                refusal.message,
                extra={"session": label, "connection": connection.id, "code": refusal.code},
            )
            self.drop(connection, label)
            connection.send({"action": int(Action.ERROR), "channel": label, "error": refusal.to_wire()})

    def detach(self, connection: Connection, frame: Frame) -> None:
        """Answer DETACH: the connection's presence members leave at once."""
        label = _label(frame)
        attachment = self.drop(connection, label)
        if attachment is not None:
            self.leave(connection.id, attachment.channel)
            logger.debug("detached", extra={"session": label, "connection": connection.id})
        connection.send({"action": int(Action.DETACHED), "channel": label})

    def sync(self, connection: Connection, frame: Frame) -> None:
        """Answer SYNC: send the presence members again."""
        attachment = self._by_connection.get(connection, {}).get(_label(frame))
        if attachment is not None and attachment.modes & Flag.PRESENCE_SUBSCRIBE:
            self._sync(connection, attachment.channel, attachment.label)

    def renew(self, connection: Connection) -> None:
        """Grant the modes that renewed credentials allow; an attachment without any ends."""
        for label, attachment in list(self._by_connection.get(connection, {}).items()):
            name = attachment.channel.name
            granted = connection.identity.capability.modes(name, attachment.requested)
            if not granted:
                self.drop(connection, label)
                error = denied(name, "attach").to_wire()
                connection.send({"action": int(Action.ERROR), "channel": label, "error": error})
            elif granted != attachment.modes:
                attachment.grant(granted)
                connection.send(
                    {
                        "action": int(Action.ATTACHED),
                        "channel": label,
                        "channelSerial": attachment.channel.head,
                        "flags": int(granted | Flag.RESUMED),
                    }
                )

    # The ends of attachments

    def drop(self, connection: Connection, label: str) -> Attachment | None:
        """Remove an attachment; the client is not told."""
        attached = self._by_connection.get(connection)
        attachment = None if attached is None else attached.pop(label, None)
        if attachment is not None:
            if not attached:
                del self._by_connection[connection]
            self._forget(attachment)
        return attachment

    def drop_all(self, connection: Connection) -> None:
        """Remove all attachments of a connection; the client is not told."""
        for attachment in self._by_connection.pop(connection, {}).values():
            self._forget(attachment)

    def leave(self, connection_id: str, channel: Channel) -> None:
        """Remove the presence members of a connection from a channel."""
        delivery = channel.leave(connection_id)
        if delivery is not None:
            self.fan_out(channel, delivery)

    def _forget(self, attachment: Attachment) -> None:
        channel = attachment.channel
        others = self._by_channel[channel]
        del others[attachment]
        if not others:
            del self._by_channel[channel]
        channel.attached -= 1
        channel.touch()

    def _attach(self, connection: Connection, label: str, frame: Frame) -> None:
        name, params = split_name(label)
        for key, value in (frame.get("params") or {}).items():
            params[key] = str(value)
        modes = modes_of(frame.get("flags") or 0, params)
        granted = connection.identity.capability.modes(name, modes)
        if not granted:
            raise denied(name, "attach")
        rewind = rewind_of(params)
        self._check_limit(connection, label)
        channel = self._channels.open(name)
        resume_from = frame.get("channelSerial") or None
        backlog = self._backlog(channel, resume_from) if resume_from else None
        rewound: Sequence[StoredMessage] = ()
        if resume_from is None and rewind is not None and not (frame.get("flags") or 0) & Flag.ATTACH_RESUME:
            rewound = self._rewound(channel, rewind)

        self.drop(connection, label)
        attachment = Attachment(connection, channel, label, granted, params, modes)
        flags = granted
        serial = channel.head
        error: RefusedError | None = None
        if backlog is not None and resume_from is not None:
            serial = resume_from
            flags |= Flag.RESUMED
        elif resume_from is not None:
            error = continuity_lost()
        elif rewound:
            first = rewound[0].channel_serial
            serial = channel.storage.last_before(first) or channel.origin
        if backlog or rewound:
            flags |= Flag.HAS_BACKLOG
        syncs = bool(len(channel.presence) and granted & Flag.PRESENCE_SUBSCRIBE)
        if syncs:
            flags |= Flag.HAS_PRESENCE
        answer: Frame = {
            "action": int(Action.ATTACHED),
            "channel": label,
            "channelSerial": serial,
            "flags": int(flags),
        }
        recognized = {key: value for key, value in params.items() if key in KNOWN_PARAMS}
        if recognized:
            answer["params"] = recognized
        if error is not None:
            answer["error"] = error.to_wire()
        connection.send(answer)
        if backlog:
            attachment.replay(backlog)
        attachment.rewind(rewound)
        if syncs:
            self._sync(connection, channel, label)
        self._by_connection.setdefault(connection, {})[label] = attachment
        self._by_channel.setdefault(channel, {})[attachment] = None
        channel.attached += 1
        channel.touch()
        logger.debug(
            "attached (%s)",
            "resumed" if backlog is not None else "continuity lost" if error is not None else "new",
            extra={"session": label, "connection": connection.id, "serial": serial},
        )

    def _check_limit(self, connection: Connection, label: str) -> None:
        limit = self._options.limits.max_attachments
        attached = self._by_connection.get(connection, {})
        if label not in attached and len(attached) >= limit:
            raise too_many_attachments(limit)

    def _backlog(self, channel: Channel, serial: str) -> Sequence[LogEntry] | None:
        """Return the steps after a channel serial; None when it lies outside of the retention."""
        if not self._minter.is_ours(serial) or not channel.origin <= serial <= channel.head:
            return None
        channel.storage.trim(before=self._clock.now() - self._options.retention_ms)
        return channel.storage.entries_after(serial)

    def _rewound(self, channel: Channel, rewind: Rewind) -> Sequence[StoredMessage]:
        messages = channel.storage.messages()
        if rewind.unit == "messages":
            return list(messages[-min(rewind.amount, _MAX_REWIND) :]) if rewind.amount else ()
        since = self._clock.now() - rewind.amount * (60_000 if rewind.unit == "minutes" else 1000)
        recent: list[StoredMessage] = []
        for message in reversed(messages):
            if message.timestamp < since:
                break
            recent.append(message)
        recent.reverse()
        return recent

    def _sync(self, connection: Connection, channel: Channel, label: str) -> None:
        pages = _pages(channel.presence.members())
        sequence = random_id(12)
        sent = 0
        for page in pages:
            sent += len(page)
            # The last page has no cursor: that ends the sync (specification RTP18b).
            connection.send(
                {
                    "action": int(Action.SYNC),
                    "channel": label,
                    "channelSerial": f"{sequence}:{sent if page is not pages[-1] else ''}",
                    "timestamp": self._clock.now(),
                    "presence": page,
                }
            )


def _pages(members: Sequence[WirePresence]) -> list[list[WirePresence]]:
    """Return the members for the frames of a SYNC, each of which a client can take."""
    pages: list[list[WirePresence]] = [[]]
    size = 0
    for member in members:
        added = held_by_event(member)
        if pages[-1] and (len(pages[-1]) == _SYNC_PAGE or size + added > _SYNC_BYTES):
            pages.append([])
            size = 0
        pages[-1].append(member)
        size += added
    return pages


def _label(frame: Frame) -> str:
    label: object = frame.get("channel")
    return label if isinstance(label, str) else ""
