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
    keys: tuple[str, ...] = field(repr=False)
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
