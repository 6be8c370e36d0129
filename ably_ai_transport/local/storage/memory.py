"""Storage in memory: the reference implementation."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from ably_ai_transport.local.protocol.presence import held_by_event
from ably_ai_transport.local.storage.contract import LogEntry, PresenceRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ably_ai_transport.local.protocol.frames import WirePresence
    from ably_ai_transport.local.protocol.messages import StoredMessage
    from ably_ai_transport.local.storage.contract import ChannelStorage, ConnectionRecord

_BY_CHANNEL_SERIAL = attrgetter("channel_serial")
_BY_SERIAL = attrgetter("serial")
_BY_TIMESTAMP = attrgetter("timestamp")
_COMPACT_AT: Final = 32
_MAX_PRESENCE: Final = 10_000
PRESENCE_KEPT_MS: Final = 24 * 3_600_000
"""How long past presence events are kept."""

_HELD_BY_STEP: Final = 400
"""Bytes of memory of a step in the log, measured with CPython 3.11."""


class Step(NamedTuple):
    """What the log keeps of an entry: readers get messages in their latest version.

    So it needs neither the change nor the publishes that it acks.
    """

    channel_serial: str
    timestamp: int
    frame_id: str | None
    connection_id: str | None
    messages: tuple[StoredMessage, ...]
    presence: tuple[WirePresence, ...]


class MemoryChannelStorage:
    """One channel in lists."""

    def __init__(self) -> None:
        self._messages: list[StoredMessage] = []
        self._by_serial: dict[str, StoredMessage] = {}
        self._presence: list[PresenceRecord] = []
        self._log: list[Step] = []
        self._start = 0
        self._trimmed_to = ""
        self.held = 0

    def append(self, entry: LogEntry) -> None:
        """Record a step; a message not seen before is new, one seen before has a new version."""
        for message in entry.messages:
            if message.serial not in self._by_serial:
                self._by_serial[message.serial] = message
                self._messages.append(message)
            self._count(message)
        for index, event in enumerate(entry.presence):
            serial = f"{entry.channel_serial}:{index:03d}"
            self._presence.append(PresenceRecord(serial, entry.timestamp, event))
            self.held += held_by_event(event)
        step = Step(
            entry.channel_serial,
            entry.timestamp,
            entry.frame_id,
            entry.connection_id,
            entry.messages,
            entry.presence,
        )
        self._log.append(step)
        self.held += _held_by_step(step)
        if len(self._presence) > 2 * _MAX_PRESENCE:
            # The events in the log are held in any case.
            unlogged = bisect_left(self._presence, self._log[0].channel_serial, key=_BY_SERIAL)
            if unlogged >= _MAX_PRESENCE:
                self._forget_presence(unlogged)

    def get(self, serial: str) -> StoredMessage | None:
        """Return the message with this serial."""
        return self._by_serial.get(serial)

    def messages(self) -> Sequence[StoredMessage]:
        """Return all messages in the order they were created (ascending serials)."""
        return self._messages

    def presence(self) -> Sequence[PresenceRecord]:
        """Return the stored presence events, oldest first."""
        return self._presence

    def entries_after(self, channel_serial: str) -> Sequence[LogEntry] | None:
        """Return the steps after this one, oldest first; None when some of them are gone."""
        if channel_serial < self._trimmed_to:
            return None
        first = bisect_right(self._log, channel_serial, lo=self._start, key=_BY_CHANNEL_SERIAL)
        return [LogEntry(*step) for step in self._log[first:]]

    def last_before(self, channel_serial: str) -> str | None:
        """Return the channel serial of the last message created before the given point."""
        at = bisect_left(self._messages, channel_serial, key=_BY_CHANNEL_SERIAL)
        return self._messages[at - 1].channel_serial if at else None

    def forget_until(self, channel_serial: str) -> None:
        """Forget all steps up to this serial: no earlier one can be resumed from."""
        self._drop(len(self._log))
        self._start = 0
        self._trimmed_to = channel_serial

    def trim(self, before: int) -> bool:
        """Forget steps (never messages) before a time, and presence events of a day before it.

        Returns whether others remain.
        """
        presence = self._presence
        if presence and presence[0].timestamp < before - PRESENCE_KEPT_MS:
            self._forget_presence(bisect_left(presence, before - PRESENCE_KEPT_MS, key=_BY_TIMESTAMP))
        log, start = self._log, self._start
        while start < len(log) and log[start].timestamp < before:
            self._trimmed_to = log[start].channel_serial
            start += 1
        # Delete half of the list at a time: each step is then moved once on average.
        if start == len(log) or (start > _COMPACT_AT and start * 2 > len(log)):
            self._drop(start)
            start = 0
        self._start = start
        return bool(log or presence)

    def _count(self, message: StoredMessage) -> None:
        """Count what a message takes now."""
        self.held += message.held - message.counted
        message.counted = message.held

    def _drop(self, steps: int) -> None:
        """Delete the oldest steps."""
        self.held -= sum(map(_held_by_step, self._log[:steps]))
        del self._log[:steps]

    def _forget_presence(self, number: int) -> None:
        """Delete the oldest presence events."""
        self.held -= sum(held_by_event(record.event) for record in self._presence[:number])
        del self._presence[:number]


def _held_by_step(step: Step) -> int:
    return _HELD_BY_STEP + 8 * len(step.messages)


class MemoryStorage:
    """All channels in memory; they are lost when the server stops."""

    is_durable = False
    series: tuple[str, int] | None = None
    saved_key: str | None = None

    def __init__(self) -> None:
        self._channels: dict[str, MemoryChannelStorage] = {}

    def open(self) -> None:
        """Do nothing: memory is always there."""

    def save_key(self, key: str) -> None:
        """Do nothing: the key is lost with the process."""

    def channel(self, name: str) -> ChannelStorage:
        """Return the storage of one channel, made when missing."""
        found = self._channels.get(name)
        if found is None:
            found = self._channels[name] = MemoryChannelStorage()
        return found

    def names(self) -> Iterable[str]:
        """Return the names of the stored channels."""
        return self._channels

    def release(self, name: str) -> None:
        """Forget a channel that has no messages, steps or presence events."""
        self._channels.pop(name, None)

    def check(self) -> None:
        """Do nothing: memory does not fail."""

    def commit(self) -> None:
        """Do nothing: memory is not durable."""

    def save_connection(self, record: ConnectionRecord) -> None:
        """Do nothing: connections live as long as the storage."""

    def forget_connection(self, id_: str) -> None:
        """Do nothing: connections live as long as the storage."""

    def connections(self) -> Sequence[ConnectionRecord]:
        """Return none: there was no earlier process."""
        return ()

    def results(self, connection_id: str) -> dict[int, list[str | None]]:
        """Return none: there was no earlier process."""
        return {}

    def close(self) -> None:
        """Drop all channels."""
        self._channels.clear()
