"""ATTACH and DETACH: where an attachment begins, and what is replayed on it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.core.attachment import Attachment
from ably_ai_transport.local.core.channel import split_name
from ably_ai_transport.local.protocol.frames import DEFAULT_MODES, MODES, Action, Flag, Frame
from ably_ai_transport.local.protocol.refusals import (
    RefusedError,
    bad_request,
    continuity_lost,
    denied,
    too_many_channels,
)
from ably_ai_transport.local.protocol.serials import random_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ably_ai_transport.local.core.channel import Channel
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.engine import Engine
    from ably_ai_transport.local.protocol.messages import StoredMessage
    from ably_ai_transport.local.storage.contract import LogEntry

_REWIND: Final = re.compile(r"(\d+)([sm])?")
_MAX_REWIND: Final = 100
_SYNC_PAGE: Final = 100
_KNOWN_PARAMS: Final = ("rewind", "rewindLimit", "modes", "appendMode", "delta", "occupancy")
_MODE_NAMES: Final = {
    "presence": Flag.PRESENCE,
    "publish": Flag.PUBLISH,
    "subscribe": Flag.SUBSCRIBE,
    "presence_subscribe": Flag.PRESENCE_SUBSCRIBE,
    "annotation_publish": Flag.ANNOTATION_PUBLISH,
    "annotation_subscribe": Flag.ANNOTATION_SUBSCRIBE,
    "object_subscribe": Flag.OBJECT_SUBSCRIBE,
    "object_publish": Flag.OBJECT_PUBLISH,
}


class Attaching:
    """Answers ATTACH and DETACH."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def attach(self, connection: Connection, frame: Frame) -> None:
        """Attach, or attach anew: ATTACHED first, then what was missed, then what happens, in one step."""
        connection.flush()
        label = _label(frame)
        try:
            self._attach(connection, label, frame)
        except RefusedError as refusal:
            self.drop(connection, label)
            connection.send({"action": int(Action.ERROR), "channel": label, "error": refusal.to_wire()})

    def detach(self, connection: Connection, frame: Frame) -> None:
        """Detach: presence members leave at once."""
        connection.flush()
        label = _label(frame)
        attachment = self.drop(connection, label)
        if attachment is not None:
            self._engine.publishing.leave(connection.id, attachment.channel)
        connection.send({"action": int(Action.DETACHED), "channel": label})

    def sync(self, connection: Connection, frame: Frame) -> None:
        """Send the members again to a client that asks for them."""
        connection.flush()
        attachment = connection.attachments.get(_label(frame))
        if attachment is not None and attachment.modes & Flag.PRESENCE_SUBSCRIBE:
            self._sync(connection, attachment.channel, attachment.label)

    def renew(self, connection: Connection) -> None:
        """Grant what renewed credentials grant of the modes that were asked for, or end the attachment."""
        for label, attachment in list(connection.attachments.items()):
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

    def drop(self, connection: Connection, label: str) -> Attachment | None:
        """Forget an attachment without a word."""
        attachment = connection.attachments.pop(label, None)
        if attachment is not None:
            attachment.channel.attachments.pop(attachment, None)
        return attachment

    def _attach(self, connection: Connection, label: str, frame: Frame) -> None:
        name, params = split_name(label)
        for key, value in (frame.get("params") or {}).items():
            params[key] = str(value)
        modes = _modes(frame.get("flags") or 0, params)
        granted = connection.identity.capability.modes(name, modes)
        if not granted:
            raise denied(name, "attach")
        rewind = _parse_rewind(params)
        limit = self._engine.options.limits.max_attachments
        if label not in connection.attachments and len(connection.attachments) >= limit:
            raise too_many_channels(limit)
        channel = self._engine.channel(name)
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
        attached: Frame = {
            "action": int(Action.ATTACHED),
            "channel": label,
            "channelSerial": serial,
            "flags": int(flags),
        }
        recognised = {key: value for key, value in params.items() if key in _KNOWN_PARAMS}
        if recognised:
            attached["params"] = recognised
        if error is not None:
            attached["error"] = error.to_wire()
        connection.send(attached)
        if backlog:
            attachment.replay(backlog)
        attachment.rewind(rewound)
        if syncs:
            self._sync(connection, channel, label)
        connection.attachments[label] = attachment
        channel.attachments[attachment] = None

    def _backlog(self, channel: Channel, serial: str) -> Sequence[LogEntry] | None:
        """Return what followed a channel serial; None when it is not within what is retained."""
        if not self._engine.minter.is_ours(serial) or not channel.origin <= serial <= channel.head:
            return None
        channel.storage.trim(before=self._engine.clock.now() - self._engine.options.retention_ms)
        return channel.storage.entries_after(serial)

    def _rewound(self, channel: Channel, rewind: tuple[int, str]) -> Sequence[StoredMessage]:
        amount, unit = rewind
        messages = channel.storage.messages()
        if not unit:
            return list(messages[-min(amount, _MAX_REWIND) :]) if amount else ()
        since = self._engine.clock.now() - amount * (60_000 if unit == "m" else 1000)
        recent: list[StoredMessage] = []
        for message in reversed(messages):
            if message.timestamp < since:
                break
            recent.append(message)
        recent.reverse()
        return recent

    def _sync(self, connection: Connection, channel: Channel, label: str) -> None:
        members = channel.presence.members()
        sequence = random_id(12)
        for first in range(0, max(len(members), 1), _SYNC_PAGE):
            # The last page has no cursor: that ends the sync (specification RTP18b).
            rest = first + _SYNC_PAGE
            connection.send(
                {
                    "action": int(Action.SYNC),
                    "channel": label,
                    "channelSerial": f"{sequence}:{rest if rest < len(members) else ''}",
                    "timestamp": self._engine.clock.now(),
                    "presence": members[first:rest],
                }
            )


def _label(frame: Frame) -> str:
    label: object = frame.get("channel")
    return label if isinstance(label, str) else ""


def _modes(flags: int, params: Mapping[str, str]) -> Flag:
    text = params.get("modes")
    if not text:
        return Flag(flags & MODES) or DEFAULT_MODES
    # Params outweigh flags.
    requested = Flag(0)
    for name in text.split(","):
        mode = _MODE_NAMES.get(name.strip().lower())
        if mode is None:
            raise bad_request(f"unknown channel mode {name!r}")
        requested |= mode
    return requested


def _parse_rewind(params: Mapping[str, str]) -> tuple[int, str] | None:
    text = params.get("rewind")
    if not text:
        return None
    match = _REWIND.fullmatch(text)
    if match is None:
        raise bad_request(f"invalid rewind: {text!r}", 40003)
    return int(match[1]), match[2] or ""
