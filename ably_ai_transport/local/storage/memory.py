"""Storage in memory: the reference implementation."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from ably_ai_transport.local.storage.contract import PresenceRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ably_ai_transport.local.protocol.messages import StoredMessage
    from ably_ai_transport.local.storage.contract import ChannelStorage, ConnectionRecord, LogEntry

_BY_CHANNEL_SERIAL = attrgetter("channel_serial")
_COMPACT_AT: Final = 32
_MAX_PRESENCE: Final = 10_000


class MemoryChannelStorage:
    """One channel in lists."""

    def __init__(self) -> None:
        self._messages: list[StoredMessage] = []
        self._by_serial: dict[str, StoredMessage] = {}
        self._presence: list[PresenceRecord] = []
        self._log: list[LogEntry] = []
        self._start = 0
        self._trimmed_to = ""

    def append(self, entry: LogEntry) -> None:
        """Record a step; a message not seen before is new, one seen before has a new version."""
        for message in entry.messages:
            if message.serial not in self._by_serial:
                self._by_serial[message.serial] = message
                self._messages.append(message)
        for index, event in enumerate(entry.presence):
            serial = f"{entry.channel_serial}:{index:03d}"
            self._presence.append(PresenceRecord(serial, entry.timestamp, event))
        if len(self._presence) > 2 * _MAX_PRESENCE:
            del self._presence[:_MAX_PRESENCE]
        self._log.append(entry)

    def take_back(self, entry: LogEntry) -> None:
        """Undo the latest step, if it is this one. Whoever changed a message restores it."""
        log = self._log
        if self._start == len(log) or log[-1] is not entry:
            return
        log.pop()
        if entry.change is None:
            for message in entry.messages:
                del self._by_serial[message.serial]
            del self._messages[len(self._messages) - len(entry.messages) :]
        del self._presence[len(self._presence) - len(entry.presence) :]

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
        return self._log[first:]

    def last_before(self, channel_serial: str) -> str | None:
        """Return the channel serial of the last message created before the given point."""
        at = bisect_left(self._messages, channel_serial, key=_BY_CHANNEL_SERIAL)
        return self._messages[at - 1].channel_serial if at else None

    def forget_until(self, channel_serial: str) -> None:
        """Forget all steps up to this serial: no earlier one can be resumed from."""
        self._log.clear()
        self._start = 0
        self._trimmed_to = channel_serial

    def trim(self, before: int) -> bool:
        """Forget steps (never messages) before a time; returns whether others remain."""
        log, start = self._log, self._start
        while start < len(log) and log[start].timestamp < before:
            self._trimmed_to = log[start].channel_serial
            start += 1
        # Delete half of the list at a time: each step is then moved once on average.
        if start == len(log) or (start > _COMPACT_AT and start * 2 > len(log)):
            del log[:start]
            start = 0
        self._start = start
        return bool(log)


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
        return self._channels.setdefault(name, MemoryChannelStorage())

    def names(self) -> Iterable[str]:
        """Return the names of the stored channels."""
        return self._channels

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

    def apps(self) -> Mapping[str, Any]:
        """Return none: there was no earlier process."""
        return {}

    def app(self, id_: str) -> MemoryStorage:
        """Return the storage of a provisioned app, a new one."""
        return MemoryStorage()

    def save_app(self, id_: str, description: object) -> None:
        """Do nothing: apps live as long as the process."""

    def forget_app(self, id_: str) -> None:
        """Do nothing: the app's storage goes with the app."""

    def close(self) -> None:
        """Drop all channels."""
        self._channels.clear()
