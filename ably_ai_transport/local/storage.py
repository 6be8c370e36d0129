"""Where channels keep what has been published.

`Storage` is the seam for other back-ends. The in-memory one is the reference.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.messages import StoredMessage
    from ably_ai_transport.local.protocol import WirePresence


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One step of a channel: the messages one frame created or changed, or its presence events."""

    channel_serial: str
    timestamp: int
    frame_id: str | None
    connection_id: str | None
    messages: tuple[StoredMessage, ...] = ()
    presence: tuple[WirePresence, ...] = ()


class ChannelStorage(Protocol):
    """What a channel asks of its storage. Calls are synchronous: a publish is one step for all who watch."""

    def append(self, entry: LogEntry) -> None:
        """Record a step; a message not seen before is new, one seen before has a new version."""
        ...

    def get(self, serial: str) -> StoredMessage | None:
        """Return the message with this serial."""
        ...

    def messages(self) -> Sequence[StoredMessage]:
        """Return all messages in the order they were created (ascending serials)."""
        ...

    def entries_after(self, channel_serial: str) -> Sequence[LogEntry] | None:
        """Return the steps after this one, oldest first; None when some of them are gone."""
        ...

    def last_before(self, channel_serial: str) -> str | None:
        """Return the channel serial of the last message created before the given point."""
        ...

    def trim(self, before: int) -> None:
        """Forget steps (never messages) older than this time."""
        ...

    def forget_until(self, channel_serial: str) -> None:
        """Forget all steps up to this point; nothing before it can be resumed from."""
        ...


class Storage(Protocol):
    """A place for all channels of a server."""

    def channel(self, name: str) -> ChannelStorage:
        """Return the storage of one channel, made when missing."""
        ...

    def close(self) -> None:
        """Let go of everything held."""
        ...


_BY_CHANNEL_SERIAL = attrgetter("channel_serial")
_COMPACT_AT = 1024


class MemoryChannelStorage:
    """One channel, in lists."""

    def __init__(self) -> None:
        self._messages: list[StoredMessage] = []
        self._by_serial: dict[str, StoredMessage] = {}
        self._log: list[LogEntry] = []
        self._start = 0
        self._trimmed_to = ""

    def append(self, entry: LogEntry) -> None:
        """Record a step; a message not seen before is new, one seen before has a new version."""
        for message in entry.messages:
            if message.serial not in self._by_serial:
                self._by_serial[message.serial] = message
                self._messages.append(message)
        self._log.append(entry)

    def get(self, serial: str) -> StoredMessage | None:
        """Return the message with this serial."""
        return self._by_serial.get(serial)

    def messages(self) -> Sequence[StoredMessage]:
        """Return all messages in the order they were created (ascending serials)."""
        return self._messages

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
        """Forget all steps up to this point; nothing before it can be resumed from."""
        self._log.clear()
        self._start = 0
        self._trimmed_to = channel_serial

    def trim(self, before: int) -> None:
        """Forget steps (never messages) older than this time."""
        log, start = self._log, self._start
        while start < len(log) and log[start].timestamp < before:
            self._trimmed_to = log[start].channel_serial
            start += 1
        if start > _COMPACT_AT and start * 2 > len(log):
            del log[:start]
            start = 0
        self._start = start


class MemoryStorage:
    """All channels, gone when the server stops."""

    def __init__(self) -> None:
        self._channels: dict[str, MemoryChannelStorage] = {}

    def channel(self, name: str) -> ChannelStorage:
        """Return the storage of one channel, made when missing."""
        return self._channels.setdefault(name, MemoryChannelStorage())

    def close(self) -> None:
        """Let go of everything held."""
        self._channels.clear()
