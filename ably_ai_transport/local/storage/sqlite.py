"""Storage in one SQLite file: publishes that were acked outlive the process.

The file holds the steps of the channels in order, and the messages as of the latest compaction, which folds
steps that are too old to resume from into their messages. While the server runs, all of it is in memory as
well; the file is read once, at the start.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any, Final, cast

import msgpack

from ably_ai_transport.local.protocol.messages import StoredMessage, Submission
from ably_ai_transport.local.protocol.serials import random_id, time_of
from ably_ai_transport.local.protocol.values import weight_of
from ably_ai_transport.local.storage.contract import (
    ChannelStorage,
    ConnectionRecord,
    LogEntry,
    StorageError,
    StorageUnusableError,
)
from ably_ai_transport.local.storage.memory import PRESENCE_KEPT_MS, MemoryChannelStorage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ably_ai_transport.local.protocol.frames import WirePresence, WireVersion

SCHEMA_VERSION: Final = 1
"""The version of the tables and their content. A file of a later version is refused."""

_APPLICATION_ID: Final = 0x41_42_4C_59
_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE channels (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, trimmed_to TEXT NOT NULL DEFAULT ''
);
CREATE TABLE messages (
    channel INTEGER NOT NULL, serial TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (channel, serial)
) WITHOUT ROWID;
CREATE TABLE steps (
    id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, serial TEXT NOT NULL, timestamp INTEGER NOT NULL,
    kind INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE connections (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
_CREATE: Final = 0
_CHANGE: Final = 1
_PRESENCE: Final = 2

_CHECKPOINT_PAGES: Final = 4096
_COMPACT_EVERY_MS: Final = 30_000
_COMPACT_STEPS: Final = 2000

_pack = cast("Any", msgpack).Packer(unicode_errors="surrogatepass").pack


def _unpack(body: bytes) -> Any:  # noqa: ANN401 - rows are of several shapes
    return cast("Any", msgpack).unpackb(body, raw=False, unicode_errors="surrogatepass", strict_map_key=False)


class SqliteStorage:
    """All channels of an app in one file.

    Once `commit` has returned, steps are in the write-ahead log and survive any end of the process. They
    survive a crash of the machine a little later.
    """

    is_durable = True

    def __init__(self, path: Path, *, kept_ms: int) -> None:
        """Prepare a storage; `open` opens the file.

        Args:
            path: The file, made when missing.
            kept_ms: How far back steps can be resumed from.
        """
        self._path = path
        self._kept_ms = kept_ms
        self._db: sqlite3.Connection | None = None
        self._failure: StorageError | None = None
        self._channels: dict[str, SqliteChannelStorage] = {}
        self._results: dict[str, dict[int, list[str | None]]] = {}
        self._steps: list[tuple[int, str, int, int, bytes]] = []
        self._compacted = 0
        self._latest = 0
        self.series: tuple[str, int] | None = None
        self.saved_key: str | None = None

    # Opening

    def open(self) -> None:
        """Open the file and load its content.

        Raises:
            StorageUnusableError: It cannot be opened, is in use, or is not a data file of this server.
        """
        if self._db is not None:
            return
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            db = sqlite3.connect(self._path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            # Only this process may use the file; the locks end with the process.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            is_new = self._is_new(db)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            db.execute("BEGIN EXCLUSIVE")
            if is_new:
                self._make(db)
            self._load(db)
            db.execute("COMMIT")
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            db.close()
            raise self._unusable(error) from error
        except BaseException:  # an interrupt must not leave the file locked
            db.close()
            raise
        self._failure = None
        self._db = db

    def _unusable(self, error: Exception) -> StorageUnusableError:
        return StorageUnusableError(f"unable to open the data file {self._path}; {_reason(error)}")

    def _is_new(self, db: sqlite3.Connection) -> bool:
        """Tell whether the file is empty; a file with content must be ours."""
        [(version,)] = db.execute("PRAGMA user_version")
        [(application,)] = db.execute("PRAGMA application_id")
        [(tables,)] = db.execute("SELECT count(*) FROM sqlite_master")
        if not tables and not version:
            return True
        if application != _APPLICATION_ID:
            raise ValueError("it is another program's")
        if version != SCHEMA_VERSION:
            raise ValueError(f"its schema is version {version}; this server knows version {SCHEMA_VERSION}")
        return False

    def _make(self, db: sqlite3.Connection) -> None:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("INSERT INTO meta VALUES ('series', ?)", (random_id(10),))

    def _load(self, db: sqlite3.Connection) -> None:
        meta: dict[str, str] = dict(db.execute("SELECT name, value FROM meta"))
        self.saved_key = meta.get("key")
        self._channels.clear()
        self._results.clear()
        by_id: dict[int, SqliteChannelStorage] = {}
        for id_, name, trimmed_to in db.execute("SELECT id, name, trimmed_to FROM channels"):
            by_id[id_] = self._channels[name] = SqliteChannelStorage(self, name, trimmed_to, id_)
        for channel, body in db.execute("SELECT channel, body FROM messages ORDER BY channel, serial"):
            by_id[channel].load_message(StoredMessage.load(_unpack(body)))
        rows = "SELECT channel, serial, timestamp, kind, body FROM steps ORDER BY id"
        for channel, serial, timestamp, kind, body in db.execute(rows):
            entry = by_id[channel].load_step(serial, timestamp, kind, _unpack(body))
            self._recall(entry)
        # Only a connection that can be resumed retries its publishes.
        resumable = {id_ for (id_,) in db.execute("SELECT id FROM connections")}
        for id_ in self._results.keys() - resumable:
            del self._results[id_]
        latest = 0
        for channel_storage in by_id.values():
            latest = max(latest, time_of(channel_storage.latest))
        self._latest = latest
        self.series = (meta["series"], latest)

    def _recall(self, entry: LogEntry) -> None:
        """Restore the results of the publishes in a step, for retries."""
        if entry.connection_id is None or not entry.msg_serials:
            return
        results = self._results.setdefault(entry.connection_id, {})
        for msg_serial in entry.msg_serials:
            results[msg_serial] = [None]
        if entry.presence:
            answer: list[str | None] = [None] * len(entry.presence)
        elif entry.change is not None:
            answer = [f"{entry.channel_serial}:000"]
        else:
            answer = [message.serial for message in entry.messages]
        results[entry.msg_serials[-1]] = answer

    # The contract

    def save_key(self, key: str) -> None:
        """Keep the generated API key: clients use it again after a restart."""
        self._run("INSERT OR REPLACE INTO meta VALUES ('key', ?)", (key,))
        self.saved_key = key

    def channel(self, name: str) -> ChannelStorage:
        """Return the storage of one channel, made when missing."""
        found = self._channels.get(name)
        if found is None:
            found = self._channels[name] = SqliteChannelStorage(self, name)
        return found

    def names(self) -> Iterable[str]:
        """Return the names of the stored channels."""
        return list(self._channels)

    def release(self, name: str) -> None:
        """Forget a channel that has no messages, steps or presence events."""
        channel = self._channels.pop(name, None)
        if channel is None or channel.id is None:
            return
        self._steps = [step for step in self._steps if step[0] != channel.id]
        self._run("DELETE FROM steps WHERE channel = ?", (channel.id,))
        self._run("DELETE FROM channels WHERE id = ?", (channel.id,))

    def check(self) -> None:
        """Check that the storage works.

        Raises:
            StorageError: A write has failed before.
        """
        if self._failure is not None:
            raise self._failure

    def commit(self) -> None:
        """Write everything recorded so far in one transaction.

        Raises:
            StorageError: The write failed; nothing more will be stored.
        """
        db = self._db
        if db is None or not (self._steps or db.in_transaction):
            return
        self.check()
        steps, self._steps = self._steps, []
        try:
            if not db.in_transaction:
                db.execute("BEGIN")
            db.executemany(
                "INSERT INTO steps (channel, serial, timestamp, kind, body) VALUES (?, ?, ?, ?, ?)", steps
            )
            db.execute("COMMIT")
            if self._latest - self._compacted > _COMPACT_EVERY_MS:
                self._compact(db)
        except sqlite3.Error as error:
            self._fail(error)

    def save_connection(self, record: ConnectionRecord) -> None:
        """Store a connection, or its changes."""
        body = _pack([record.keys, record.key_name, record.client_id])
        self._run("INSERT OR REPLACE INTO connections VALUES (?, ?)", (record.id, body))

    def forget_connection(self, id_: str) -> None:
        """Delete a connection: it can no longer be resumed."""
        self._run("DELETE FROM connections WHERE id = ?", (id_,))

    def connections(self) -> Sequence[ConnectionRecord]:
        """Return the connections of an earlier process that can be resumed."""
        if self._db is None:
            return ()
        records: list[ConnectionRecord] = []
        for id_, body in self._db.execute("SELECT id, body FROM connections"):
            keys, key_name, client_id = _unpack(body)
            records.append(ConnectionRecord(id_, tuple(keys), key_name, client_id))
        return records

    def results(self, connection_id: str) -> dict[int, list[str | None]]:
        """Return the results of the publishes of a connection of an earlier process, by msgSerial."""
        return self._results.pop(connection_id, {})

    def close(self) -> None:
        """Close the file."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    # For its channels

    def record(self, channel: SqliteChannelStorage, entry: LogEntry) -> None:
        """Queue a step for the next commit."""
        if channel.id is None:
            cursor = self._run("INSERT INTO channels (name) VALUES (?)", (channel.name,))
            channel.id = cursor.lastrowid if cursor is not None else None
        if channel.id is None:
            return  # the commit reports the failure
        kind, body = _dump_step(entry)
        self._latest = entry.timestamp
        self._steps.append((channel.id, entry.channel_serial, entry.timestamp, kind, _pack(body)))

    def trimmed(self, channel: SqliteChannelStorage, channel_serial: str) -> None:
        """Store the serial before which a channel cannot be resumed."""
        if channel.id is not None:
            self._run("UPDATE channels SET trimmed_to = ? WHERE id = ?", (channel_serial, channel.id))

    def _run(self, statement: str, values: tuple[object, ...]) -> sqlite3.Cursor | None:
        """Execute a statement in the transaction that the next commit ends."""
        db = self._db
        if db is None or self._failure is not None:
            return None
        try:
            if not db.in_transaction:
                db.execute("BEGIN")
            return db.execute(statement, values)
        except sqlite3.Error as error:
            self._failure = StorageError(_reason(error))
            return None

    def _fail(self, error: sqlite3.Error) -> None:
        self._failure = StorageError(_reason(error))
        raise self._failure from error

    # Compaction

    def _compact(self, db: sqlite3.Connection) -> None:
        """Fold steps that are too old to resume from into their messages, some at a time."""
        self._compacted = self._latest
        before = self._latest - self._kept_ms
        rows = db.execute(
            "SELECT id, channel, serial, kind, timestamp, body FROM steps WHERE timestamp < ?"
            " ORDER BY id LIMIT ?",
            (before, _COMPACT_STEPS),
        ).fetchall()
        if not rows:
            return
        if len(rows) == _COMPACT_STEPS:
            self._compacted = 0  # continue at the next commit
        by_id = {channel.id: channel for channel in self._channels.values()}
        messages: dict[tuple[int, str], StoredMessage] = {}
        trimmed: dict[int, str] = {}
        gone: list[tuple[int]] = []
        for id_, channel, serial, kind, timestamp, body in rows:
            if kind == _PRESENCE:
                if timestamp < self._latest - PRESENCE_KEPT_MS:
                    gone.append((id_,))
                continue
            gone.append((id_,))
            trimmed[channel] = serial
            for message in _touched(kind, _unpack(body)):
                stored = by_id[channel].get(message)
                if stored is not None:
                    messages[channel, message] = stored
        db.execute("BEGIN")
        db.executemany(
            "INSERT OR REPLACE INTO messages VALUES (?, ?, ?)",
            [(channel, serial, _pack(message.dump())) for (channel, serial), message in messages.items()],
        )
        db.executemany(
            "UPDATE channels SET trimmed_to = ? WHERE id = ? AND trimmed_to < ?",
            [(serial, channel, serial) for channel, serial in trimmed.items()],
        )
        db.executemany("DELETE FROM steps WHERE id = ?", gone)
        db.execute("COMMIT")


class SqliteChannelStorage(MemoryChannelStorage):
    """One channel, in memory and in the rows of the file."""

    def __init__(
        self, storage: SqliteStorage, name: str, trimmed_to: str = "", id_: int | None = None
    ) -> None:
        super().__init__()
        self._storage = storage
        self._trimmed_to = trimmed_to
        self.id = id_
        self.name = name
        self.latest = trimmed_to

    def append(self, entry: LogEntry) -> None:
        """Record a step; a message not seen before is new, one seen before has a new version."""
        super().append(entry)
        self._storage.record(self, entry)

    def forget_until(self, channel_serial: str) -> None:
        """Forget all steps up to this serial: no earlier one can be resumed from."""
        super().forget_until(channel_serial)
        self._storage.trimmed(self, channel_serial)

    def load_message(self, message: StoredMessage) -> None:
        """Load a message as of the latest compaction."""
        self._by_serial[message.serial] = message
        self._messages.append(message)
        self._count(message)
        self.latest = max(self.latest, message.version.get("serial", ""))

    def load_step(self, serial: str, timestamp: int, kind: int, body: Any) -> LogEntry:  # noqa: ANN401
        """Load a step after the compaction, or one that the compaction already includes."""
        frame_id, connection_id, msg_serials, content = body
        messages: list[StoredMessage] = []
        presence: tuple[WirePresence, ...] = ()
        change: Submission | None = None
        if kind == _CREATE:
            for fields in content:
                message = StoredMessage.load(fields)
                messages.append(self._by_serial.get(message.serial, message))
        elif kind == _CHANGE:
            target, fields, version = content
            change = Submission(*fields)
            change.held_by_extras = weight_of(change.extras)
            message = self._by_serial[target]
            if cast("dict[str, str]", version)["serial"] > message.version.get("serial", ""):
                message.apply(change, cast("WireVersion", version))
            messages.append(message)
        else:
            presence = tuple(content)
        entry = LogEntry(
            serial, timestamp, frame_id, connection_id, tuple(messages), presence, change, tuple(msg_serials)
        )
        super().append(entry)
        self.latest = max(self.latest, serial)
        return entry


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
        return _CHANGE, [*head, (message.serial, fields, message.version)]
    if entry.presence:
        return _PRESENCE, [*head, entry.presence]
    return _CREATE, [*head, [message.dump() for message in entry.messages]]


def _touched(kind: int, body: Any) -> list[str]:  # noqa: ANN401
    """Return the serials of the messages that a step created or changed."""
    content = body[3]
    return [content[0]] if kind == _CHANGE else [StoredMessage.load(fields).serial for fields in content]


def _reason(error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return "another server has it open"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
