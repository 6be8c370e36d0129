"""Where channels keep what has been published.

`Storage` is the seam for other back-ends. The in-memory one is the reference.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from ably_ai_transport.local.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ably_ai_transport.local.messages import StoredMessage, Submission
    from ably_ai_transport.local.protocol import WirePresence


class StorageError(RefusedError):
    """Something cannot be stored: the publish is refused with 50000."""

    def __init__(self, reason: str) -> None:
        super().__init__(50000, 500, f"unable to store; {reason}")


class StorageUnusableError(OSError):
    """A storage cannot be opened: its file cannot be reached, is in use, or is not one of this server's."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One step of a channel: the messages one frame created or changed, or its presence events.

    Attributes:
        channel_serial: Its place in the order of the channel.
        timestamp: When it happened (milliseconds).
        frame_id: The id of the frame, `<connectionId>:<msgSerial>` for one that came over a websocket.
        connection_id: The connection it came over.
        messages: What it created or changed.
        presence: The presence events.
        change: The mutation, when it was one; a create has none.
        msg_serials: The publishes of the connection that it answers: several when they were rolled up.
    """

    channel_serial: str
    timestamp: int
    frame_id: str | None
    connection_id: str | None
    messages: tuple[StoredMessage, ...] = ()
    presence: tuple[WirePresence, ...] = ()
    change: Submission | None = None
    msg_serials: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class PresenceRecord:
    """A presence event of the past."""

    serial: str
    timestamp: int
    event: WirePresence

    def wire(self) -> WirePresence:
        """Return the event as it was announced."""
        return self.event


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """What is to be known of a connection for it to be resumed.

    Attributes:
        id: The connectionId.
        keys: Its connectionKeys.
        key_name: The API key behind its credentials.
        client_id: Whom they identify.
    """

    id: str
    keys: tuple[str, ...]
    key_name: str
    client_id: str | None


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

    def presence(self) -> Sequence[PresenceRecord]:
        """Return the presence events that are kept, oldest first."""
        ...

    def entries_after(self, channel_serial: str) -> Sequence[LogEntry] | None:
        """Return the steps after this one, oldest first; None when some of them are gone."""
        ...

    def last_before(self, channel_serial: str) -> str | None:
        """Return the channel serial of the last message created before the given point."""
        ...

    def trim(self, before: int) -> bool:
        """Forget steps (never messages) older than this time; returns whether there are others."""
        ...

    def forget_until(self, channel_serial: str) -> None:
        """Forget all steps up to this point; nothing before it can be resumed from."""
        ...


class Storage(Protocol):
    """A place for all channels of an app.

    Attributes:
        is_durable: Whether it outlives the process; effects then wait for `commit`.
        series: The series of its serials and the time of the latest, to go on from; None where there is
            none.
        saved_key: The API key that was made up for it.
    """

    is_durable: bool
    series: tuple[str, int] | None
    saved_key: str | None

    def open(self) -> None:
        """Read what there is. May be called again after `close`.

        Raises:
            StorageUnusableError: It cannot be read.
        """
        ...

    def save_key(self, key: str) -> None:
        """Keep an API key that was made up."""
        ...

    def channel(self, name: str) -> ChannelStorage:
        """Return the storage of one channel, made when missing."""
        ...

    def names(self) -> Iterable[str]:
        """Return the channels it holds something of."""
        ...

    def check(self) -> None:
        """Tell whether anything can be stored.

        Raises:
            StorageError: The storage has failed before.
        """
        ...

    def commit(self) -> None:
        """Make everything recorded so far durable.

        Raises:
            StorageError: That failed, and nothing more will be stored.
        """
        ...

    def save_connection(self, record: ConnectionRecord) -> None:
        """Remember a connection, or what has changed of it."""
        ...

    def forget_connection(self, id_: str) -> None:
        """Forget a connection: it cannot be resumed any more."""
        ...

    def connections(self) -> Sequence[ConnectionRecord]:
        """Return the connections of the process before, that may be resumed."""
        ...

    def results(self, connection_id: str) -> dict[int, list[str | None]]:
        """Return what the publishes of a connection of the process before were answered, by msgSerial."""
        ...

    def close(self) -> None:
        """Let go of everything held."""
        ...


_BY_CHANNEL_SERIAL = attrgetter("channel_serial")
_COMPACT_AT = 32
_MAX_PRESENCE = 10_000


class MemoryChannelStorage:
    """One channel, in lists."""

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

    def get(self, serial: str) -> StoredMessage | None:
        """Return the message with this serial."""
        return self._by_serial.get(serial)

    def messages(self) -> Sequence[StoredMessage]:
        """Return all messages in the order they were created (ascending serials)."""
        return self._messages

    def presence(self) -> Sequence[PresenceRecord]:
        """Return the presence events that are kept, oldest first."""
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
        """Forget all steps up to this point; nothing before it can be resumed from."""
        self._log.clear()
        self._start = 0
        self._trimmed_to = channel_serial

    def trim(self, before: int) -> bool:
        """Forget steps (never messages) older than this time; returns whether there are others."""
        log, start = self._log, self._start
        while start < len(log) and log[start].timestamp < before:
            self._trimmed_to = log[start].channel_serial
            start += 1
        # Half of the list at a time, so that each step is moved once on average; the rest when all are old.
        if start == len(log) or (start > _COMPACT_AT and start * 2 > len(log)):
            del log[:start]
            start = 0
        self._start = start
        return bool(log)


class MemoryStorage:
    """All channels, gone when the server stops."""

    is_durable = False
    series: tuple[str, int] | None = None
    saved_key: str | None = None

    def __init__(self) -> None:
        self._channels: dict[str, MemoryChannelStorage] = {}

    def open(self) -> None:
        """Do nothing: memory is always there."""

    def save_key(self, key: str) -> None:
        """Do nothing: keys are gone with the process, too."""

    def channel(self, name: str) -> ChannelStorage:
        """Return the storage of one channel, made when missing."""
        return self._channels.setdefault(name, MemoryChannelStorage())

    def names(self) -> Iterable[str]:
        """Return the channels it holds something of."""
        return self._channels

    def check(self) -> None:
        """Do nothing: memory does not fail."""

    def commit(self) -> None:
        """Do nothing: there is nothing to be made durable."""

    def save_connection(self, record: ConnectionRecord) -> None:
        """Do nothing: connections live as long as the storage."""

    def forget_connection(self, id_: str) -> None:
        """Do nothing: connections live as long as the storage."""

    def connections(self) -> Sequence[ConnectionRecord]:
        """Return none: there was no process before."""
        return ()

    def results(self, connection_id: str) -> dict[int, list[str | None]]:
        """Return none: there was no process before."""
        return {}

    def close(self) -> None:
        """Let go of everything held."""
        self._channels.clear()
