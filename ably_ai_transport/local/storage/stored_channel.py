"""A channel of the data file: in memory, with the steps that the next commit writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ably_ai_transport.local.protocol.messages import StoredMessage, Submission
from ably_ai_transport.local.protocol.presence import held_by_event
from ably_ai_transport.local.protocol.values import weight_of
from ably_ai_transport.local.storage.contract import LogEntry, PresenceRecord
from ably_ai_transport.local.storage.data_file import ChannelRow, StepRow
from ably_ai_transport.local.storage.memory import MemoryChannelStorage
from ably_ai_transport.local.storage.rows import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ably_ai_transport.local.protocol.frames import WirePresence, WireVersion

CREATE: Final = 0
CHANGE: Final = 1
PRESENCE: Final = 2


class UnstoredStep(NamedTuple):
    """A step that the next commit writes."""

    channel: SqliteChannelStorage
    entry: LogEntry
    kind: int
    body: bytes

    def row(self, channel: int) -> StepRow:
        """Return its row, on the channel with this number."""
        return StepRow(channel, self.entry.channel_serial, self.entry.timestamp, self.kind, self.body)


@dataclass(slots=True)
class Unstored:
    """Everything that the next commit of an app writes.

    Attributes:
        steps: The steps, in order. A commit that fails gives them up.
        moved: The channels whose `trimmed_to` has changed.
        gone: The rows of channels that were let go.
        connections: The fields of connections by id; None for those to delete.
    """

    steps: list[UnstoredStep] = field(default_factory=list["UnstoredStep"])
    moved: dict[SqliteChannelStorage, None] = field(default_factory=dict["SqliteChannelStorage", None])
    gone: list[ChannelRow] = field(default_factory=list["ChannelRow"])
    connections: dict[str, list[object] | None] = field(default_factory=dict[str, "list[object] | None"])

    def __bool__(self) -> bool:
        return bool(self.steps or self.moved or self.gone or self.connections)

    def clear(self) -> None:
        """Forget everything."""
        self.steps = []
        self.moved.clear()
        self.gone.clear()
        self.connections.clear()


class SqliteChannelStorage(MemoryChannelStorage):
    """One channel, in memory and in the rows of the file.

    Attributes:
        app_id: The id of its app; empty for the default app.
        name: Its name.
        id: Its number in the file; None while it has no row there.
        trimmed_to: The serial that the file has for it: no earlier one can be resumed from.
    """

    def __init__(
        self, app_id: str, name: str, unstored: Unstored, trimmed_to: str = "", id_: int | None = None
    ) -> None:
        super().__init__()
        self.app_id = app_id
        self.name = name
        self.id = id_
        self.trimmed_to = self._trimmed_to = trimmed_to
        self._unstored = unstored

    def row(self, id_: int) -> ChannelRow:
        """Return its row."""
        return ChannelRow(id_, self.app_id, self.name, self.trimmed_to)

    def append(self, entry: LogEntry) -> None:
        """Record a step; a message not seen before is new, one seen before has a new version.

        Raises:
            StorageError: Its content cannot be stored; nothing was recorded.
        """
        kind, body = _dump_step(entry)
        self._unstored.steps.append(UnstoredStep(self, entry, kind, pack(body)))
        super().append(entry)

    def take_back(self, entry: LogEntry) -> None:
        """Undo the latest step, if it is this one. Whoever changed a message restores it."""
        super().take_back(entry)
        steps = self._unstored.steps
        if steps and steps[-1].entry is entry:
            steps.pop()

    def forget_until(self, channel_serial: str) -> None:
        """Forget all steps up to this serial: no earlier one can be resumed from."""
        super().forget_until(channel_serial)
        self.trimmed_to = channel_serial
        self._unstored.moved[self] = None

    def load_message(self, fields: Sequence[Any]) -> None:
        """Load a message as of the latest compaction."""
        message = StoredMessage.load(fields)
        self._by_serial[message.serial] = message
        self._messages.append(message)
        self._count(message)

    def load_presence(self, records: Iterable[tuple[str, int, WirePresence]]) -> None:
        """Load past presence events as of the latest compaction."""
        for record in records:
            self._presence.append(PresenceRecord(*record))
            self.held += held_by_event(record[2])

    def load_step(self, row: StepRow, content: Any) -> LogEntry:  # noqa: ANN401
        """Load a step after the compaction, or one that the compaction already includes.

        Raises:
            KeyError: It changes a message that is missing.
        """
        frame_id, connection_id, msg_serials, body = content
        messages: list[StoredMessage] = []
        presence: tuple[WirePresence, ...] = ()
        change: Submission | None = None
        if row.kind == CREATE:
            for fields in body:
                message = StoredMessage.load(fields)
                messages.append(self._by_serial.get(message.serial, message))
        elif row.kind == CHANGE:
            target, fields, version = body
            change = Submission(*fields)
            change.held_by_extras = weight_of(change.extras)
            message = self._by_serial[target]
            if cast("dict[str, str]", version)["serial"] > message.version.get("serial", ""):
                message.apply(change, cast("WireVersion", version))
            messages.append(message)
        else:
            presence = tuple(body)
        entry = LogEntry(
            row.serial,
            row.timestamp,
            frame_id,
            connection_id,
            tuple(messages),
            presence,
            change,
            tuple(msg_serials),
        )
        super().append(entry)
        return entry


def touched(kind: int, content: Any) -> list[str]:  # noqa: ANN401
    """Return the serials of the messages that a stored step created or changed."""
    body = content[3]
    return [body[0]] if kind == CHANGE else [fields[0] for fields in body]


def _dump_step(entry: LogEntry) -> tuple[int, list[object]]:
    head: list[object] = [entry.frame_id, entry.connection_id, entry.msg_serials]
    change = entry.change
    if change is not None:
        fields = (
            change.action,
            change.serial,
            change.id,
            change.name,
            change.client_id,
            change.data,
            change.encoding,
            change.extras,
            change.description,
            change.metadata,
        )
        message = entry.messages[0]
        return CHANGE, [*head, (message.serial, fields, message.version)]
    if entry.presence:
        return PRESENCE, [*head, entry.presence]
    return CREATE, [*head, [message.dump() for message in entry.messages]]
