"""Attachments: the channels that each connection is attached to, and the deliveries from them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.core.attachment import Attachment
from ably_ai_transport.local.core.occupancy import Occupancy, count_metrics
from ably_ai_transport.local.protocol.channels import (
    attach_params,
    effective_params,
    modes_of,
    occupancy_of,
    rewind_of,
    split_name,
)
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
    from collections.abc import Collection, Sequence

    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.core.channel import Channel
    from ably_ai_transport.local.core.channels import Channels
    from ably_ai_transport.local.core.commits import Commits
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.steps import Delivery
    from ably_ai_transport.local.options import LocalServerOptions
    from ably_ai_transport.local.protocol.channels import Rewind
    from ably_ai_transport.local.protocol.frames import WirePresence
    from ably_ai_transport.local.protocol.messages import StoredMessage
    from ably_ai_transport.local.protocol.serials import SerialMinter
    from ably_ai_transport.local.storage.contract import LogEntry

logger = logging.getLogger("ably_ai_transport.local")

_SUBSCRIBE: Final = Flag.SUBSCRIBE
_MAX_REWIND: Final = 100
_SYNC_PAGE: Final = 100
_SYNC_BYTES: Final = 2**18


class Attachments:
    """All attachments of an app, by connection and by channel. Answers ATTACH, DETACH and SYNC."""

    def __init__(
        self,
        channels: Channels,
        minter: SerialMinter,
        commits: Commits,
        *,
        options: LocalServerOptions,
        clock: Clock,
    ) -> None:
        self._channels = channels
        self._minter = minter
        self._commits = commits
        self._options = options
        self._clock = clock
        self._by_connection: dict[Connection, dict[str, Attachment]] = {}
        self._by_channel: dict[Channel, dict[Attachment, None]] = {}
        self._occupancy = Occupancy(self.metrics, clock)

    # Reading

    def fan_out(self, channel: Channel, delivery: Delivery) -> None:
        """Send a step to every attachment of a channel."""
        attachments = self._by_channel.get(channel)
        if attachments is not None:
            for attachment in attachments:
                attachment.deliver(delivery)
            if delivery.entry.change is not None or delivery.is_base:
                self._commits.undo(lambda: self._unsee(channel, delivery))
        if delivery.entry.presence:
            self._occupancy.changed(channel)
            self._commits.undo(lambda: self._occupancy.changed(channel))

    def on(self, channel: Channel) -> Collection[Attachment]:
        """Return the attachments of a channel."""
        return list(self._by_channel.get(channel, ()))

    def metrics(self, channel: Channel) -> dict[str, int]:
        """Return the occupancy metrics of a channel."""
        return count_metrics(self._by_channel.get(channel, ()), len(channel.presence))

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
            connection.entered.pop(attachment.channel.name, None)
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
            may_see = connection.identity.capability.allows(name, "channel-metadata")
            if not (may_see and granted & _SUBSCRIBE):
                self._occupancy.discard(attachment)
            if not granted:
                self.drop(connection, label)
                error = denied(name, "attach").to_wire()
                connection.send({"action": int(Action.ERROR), "channel": label, "error": error})
            elif granted != attachment.modes:
                attachment.grant(granted)
                self._occupancy.changed(attachment.channel)
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
        attachment = self._remove(connection, label)
        if attachment is not None:
            self._occupancy.changed(attachment.channel)
        return attachment

    def drop_all(self, connection: Connection) -> None:
        """Remove all attachments of a connection; the client is not told."""
        for attachment in self._by_connection.pop(connection, {}).values():
            self._forget(attachment)
            self._occupancy.changed(attachment.channel)

    def leave(self, connection_id: str, channel: Channel) -> None:
        """Remove the presence members of a connection from a channel."""
        delivery = channel.leave(connection_id)
        if delivery is not None:
            self.fan_out(channel, delivery)
            self._commits.retry(lambda: self.leave(connection_id, channel))

    def _unsee(self, channel: Channel, delivery: Delivery) -> None:
        for attachment in self._by_channel.get(channel, ()):
            for message in delivery.entry.messages:
                attachment.unsee(message.serial)

    def _remove(self, connection: Connection, label: str) -> Attachment | None:
        attached = self._by_connection.get(connection)
        attachment = None if attached is None else attached.pop(label, None)
        if attachment is not None:
            if not attached:
                del self._by_connection[connection]
            self._forget(attachment)
        return attachment

    def _forget(self, attachment: Attachment) -> None:
        self._occupancy.discard(attachment)
        attachment.forget_base()
        channel = attachment.channel
        others = self._by_channel[channel]
        del others[attachment]
        if not others:
            del self._by_channel[channel]
        channel.attached -= 1
        channel.touch()

    def _attach(self, connection: Connection, label: str, frame: Frame) -> None:
        name, params = split_name(label)
        params.update(attach_params(frame.get("params") or {}))
        modes = modes_of(frame.get("flags") or 0, params)
        granted = connection.identity.capability.modes(name, modes)
        if not granted:
            raise denied(name, "attach")
        if occupancy_of(params):
            connection.identity.capability.check(name, "channel-metadata")
        rewind = rewind_of(params)
        self._check_limit(connection, label)
        channel = self._channels.open(name)
        resume_from = frame.get("channelSerial") or None
        backlog = self._backlog(channel, resume_from) if resume_from else None
        rewound: Sequence[StoredMessage] = ()
        if resume_from is None and rewind is not None and not (frame.get("flags") or 0) & Flag.ATTACH_RESUME:
            rewound = self._rewound(channel, rewind)

        self._remove(connection, label)
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
        effective = effective_params(params)
        if effective:
            answer["params"] = effective
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
        if attachment.occupancy and granted & _SUBSCRIBE:
            self._occupancy.add(attachment)
        self._occupancy.changed(channel)
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
            if message.timestamp < since or len(recent) == rewind.limit:
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
