"""The storage contract: log entries, records, and the protocols `ChannelStorage` and `Storage`.

A back-end implements `Storage`. The one in memory is the reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ably_ai_transport.local.protocol.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ably_ai_transport.local.protocol.frames import WirePresence
    from ably_ai_transport.local.protocol.messages import StoredMessage, Submission


class StorageError(RefusedError):
    """The storage has failed: the publish is refused with 50000."""

    def __init__(self, reason: str) -> None:
        super().__init__(50000, 500, f"unable to store; {reason}")


class StorageUnusableError(OSError):
    """The storage cannot be opened: its file is inaccessible, in use, or not a data file of this server."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One step of a channel: the messages that one frame created or changed, or its presence events.

    Attributes:
        channel_serial: Its serial: its place in the order of the channel.
        timestamp: Its time (milliseconds).
        frame_id: The id of the frame; over a websocket, `<connectionId>:<msgSerial>`.
        connection_id: The connection it came over.
        messages: The messages created or changed.
        presence: The presence events.
        change: The mutation; None for a create.
        msg_serials: The msgSerials that it acks: several when publishes were rolled up.
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
    """A past presence event."""

    serial: str
    timestamp: int
    event: WirePresence

    def wire(self) -> WirePresence:
        """Return the event in the form that subscribers got."""
        return self.event


@dataclass(frozen=True, slots=True)
class ConnectionRecord:
    """The part of a connection that a resume after a restart needs.

    Attributes:
        id: The connectionId.
        keys: Its connectionKeys.
        key_name: The API key behind its credentials.
        client_id: The clientId of its credentials.
    """

    id: str
    keys: tuple[str, ...] = field(repr=False)
    key_name: str
    client_id: str | None


class ChannelStorage(Protocol):
    """The storage of one channel. Calls are synchronous: a publish is one step for all subscribers.

    Attributes:
        held: Bytes of memory that it takes.
    """

    held: int

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
        """Return the stored presence events, oldest first."""
        ...

    def entries_after(self, channel_serial: str) -> Sequence[LogEntry] | None:
        """Return the steps after this one, oldest first; None when some of them are gone."""
        ...

    def last_before(self, channel_serial: str) -> str | None:
        """Return the channel serial of the last message created before the given point."""
        ...

    def trim(self, before: int) -> bool:
        """Forget steps (never messages) before a time, and presence events of a day before it.

        Returns whether others remain.
        """
        ...

    def forget_until(self, channel_serial: str) -> None:
        """Forget all steps up to this serial: no earlier one can be resumed from."""
        ...


class Storage(Protocol):
    """The storage of all channels of an app.

    Attributes:
        is_durable: Whether it outlives the process; acks and deliveries then wait for `commit`.
        series: The series of its serials and the time of the latest one; None when it has none.
        saved_key: The generated API key that it keeps.
    """

    is_durable: bool
    series: tuple[str, int] | None
    saved_key: str | None

    def open(self) -> None:
        """Open the storage and load its content. May be called again after `close`.

        Raises:
            StorageUnusableError: It cannot be opened.
        """
        ...

    def save_key(self, key: str) -> None:
        """Keep a generated API key."""
        ...

    def channel(self, name: str) -> ChannelStorage:
        """Return the storage of one channel, made when missing."""
        ...

    def names(self) -> Iterable[str]:
        """Return the names of the stored channels."""
        ...

    def release(self, name: str) -> None:
        """Forget a channel that has no messages, steps or presence events."""
        ...

    def check(self) -> None:
        """Check that the storage works.

        Raises:
            StorageError: It has failed before.
        """
        ...

    def commit(self) -> None:
        """Make everything recorded so far durable.

        Raises:
            StorageError: It failed; nothing more will be stored.
        """
        ...

    def save_connection(self, record: ConnectionRecord) -> None:
        """Store a connection, or its changes."""
        ...

    def forget_connection(self, id_: str) -> None:
        """Delete a connection: it can no longer be resumed."""
        ...

    def connections(self) -> Sequence[ConnectionRecord]:
        """Return the connections of an earlier process that can be resumed."""
        ...

    def results(self, connection_id: str) -> dict[int, list[str | None]]:
        """Return the results of the publishes of a connection of an earlier process, by msgSerial."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...
