"""The data file: one SQLite file, its tables, its transactions, and the check of what it holds.

Every step has a number and a digest that covers all steps before it; every other row has a digest of its own.
A compaction folds the oldest steps into rows of messages and presence, which are counted. The high-water mark
beside the file tells which step was the last. So content that is damaged or missing is noticed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
from dataclasses import astuple, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ably_ai_transport.local.protocol.serials import random_id
from ably_ai_transport.local.storage.contract import (
    StorageDamagedError,
    StorageError,
    StorageUnusableError,
)
from ably_ai_transport.local.storage.mark import DamagedMarkError, HighWaterMark, Tip
from ably_ai_transport.local.storage.rows import (
    DIGEST_SIZE,
    DamagedRowError,
    digest,
    pack,
    sealed,
    unpack,
    unsealed,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

logger = logging.getLogger("ably_ai_transport.local")

SCHEMA_VERSION: Final = 2
"""The version of the tables and their content. A file of another version is refused."""

_APPLICATION_ID: Final = 0x41_42_4C_59
_TABLES: Final = """
CREATE TABLE state (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE apps (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE channels (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE messages (
    channel INTEGER NOT NULL, serial TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (channel, serial)
) WITHOUT ROWID;
CREATE TABLE presence (
    id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, timestamp INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE steps (
    id INTEGER PRIMARY KEY, channel INTEGER NOT NULL, serial TEXT NOT NULL, timestamp INTEGER NOT NULL,
    kind INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE connections (id TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
"""
_HEADER_SIZE: Final = 100
_CHECKPOINT_PAGES: Final = 4096
_EMPTY_CHAIN: Final = bytes(DIGEST_SIZE)


class StepRow(NamedTuple):
    """A step as it is stored."""

    channel: int
    serial: str
    timestamp: int
    kind: int
    body: bytes


class ChannelRow(NamedTuple):
    """A channel as it is stored."""

    id: int
    app: str
    name: str
    trimmed_to: str


@dataclass(slots=True)
class State:
    """The row that describes the file.

    Attributes:
        file: Its id, which its mark repeats.
        series: The series of its serials.
        key: The generated API key that it keeps.
        is_clean: Whether the last server that had it open closed it, so that there is no write-ahead log.
        base: The number of the latest step that was folded into other rows.
        chain: The digest of the chain at that step.
        time: The time of that step (milliseconds).
        rows: How many rows hold apps, and what was folded.
        digests: Their digests, combined.
    """

    file: str
    series: str
    key: str | None = field(default=None, repr=False)
    is_clean: bool = True
    base: int = 0
    chain: bytes = _EMPTY_CHAIN
    time: int = 0
    rows: int = 0
    digests: int = 0

    def count(self, blob: bytes, sign: int) -> None:
        """Count a row that is added (1) or removed (-1)."""
        self.rows += sign
        self.digests ^= int.from_bytes(blob[:DIGEST_SIZE])


class DataFile:
    """The data file of a server, locked for this process while it is open.

    Attributes:
        path: Its path.
        state: The row that describes it.
        tip: Its latest step.
        losses: What was found missing when it was read, for people.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = State("", "")
        self.tip = Tip(0, _EMPTY_CHAIN, 0)
        self.losses: list[str] = []
        self._db: sqlite3.Connection | None = None
        self._mark = HighWaterMark(_beside(path, "-mark"))
        self._is_mark_due = False
        self._found = State("", "")
        self._latest = self.tip
        self._wal = _beside(path, "-wal")
        self._kept_wal = _beside(path, "-wal-kept")

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._db is not None

    @property
    def db(self) -> sqlite3.Connection:
        """The database.

        Raises:
            StorageError: The file is closed.
        """
        if self._db is None:
            raise StorageError("the data file is closed")
        return self._db

    # Opening

    def open(self) -> None:
        """Lock the file, made when missing; its content must then be read and `check`ed.

        Raises:
            StorageUnusableError: It cannot be opened, is in use, or is not a data file of this server.
            StorageDamagedError: It is gone while its write-ahead log or its mark is there, or SQLite cannot
                read it.
        """
        self.losses = []
        self.state, self.tip = State("", ""), Tip(0, _EMPTY_CHAIN, 0)
        try:
            self._bring_back_wal()
            is_missing = not self.path.exists() or not self.path.stat().st_size
        except OSError as error:
            raise self.unusable(error) from error
        if is_missing:
            self._refuse_leftovers()
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise self.unusable(error) from error
        # Bytes that are not text must not stop the reader: their row has the wrong digest.
        db.text_factory = _text
        self._db = db
        try:
            # Only this process may use the file; the locks end with the process.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            is_new = self._is_new(db)
            self._keep_wal()
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            db.execute("BEGIN EXCLUSIVE")
            if is_new:
                self._make(db, State(random_id(10), random_id(10)))
            db.execute("COMMIT")
        except (OSError, sqlite3.Error, ValueError) as error:
            self.abandon()
            if type(error) is sqlite3.DatabaseError and self._is_ours():
                self.lose(f"the structure of the file ({_reason(error)})")
                raise self.damaged() from error
            raise self.unusable(error) from error
        except BaseException:  # an interrupt must not leave the file locked
            self.abandon()
            raise

    def start(self) -> None:
        """Accept the content that was read: from now on, the file can be written.

        Raises:
            StorageUnusableError: The file cannot be written.
        """
        try:
            self._kept_wal.unlink(missing_ok=True)
            # A file that says it has a mark must have one, wherever a kill interrupts this.
            if self.state.is_clean:
                self._mark.create(self.state.file, self.tip)
                with self.transaction(changes_state=True):
                    self.state.is_clean = False
                    self.save_state()
                # The file itself must say so; its write-ahead log can get lost.
                self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                self._mark.open()
        except (OSError, sqlite3.Error, StorageError) as error:
            self.abandon()
            raise self.unusable(error) from error

    def close(self) -> None:
        """Close the file: write everything into it, and delete the write-ahead log and the mark."""
        if self._db is None:
            return
        is_clean = False
        try:
            with self.transaction(changes_state=True):
                self.state.is_clean = True
                self.save_state()
            is_clean = True
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, StorageError) as error:
            logger.warning("the data file keeps its write-ahead log: %s", error)
        db, self._db = self._db, None
        db.close()
        if is_clean and not self._wal.exists():
            self._mark.remove()
        else:
            self._mark.close()

    def abandon(self) -> None:
        """Close the file and leave it and its write-ahead log as they were found."""
        db, self._db = self._db, None
        if db is not None:
            db.close()
        self._mark.close()
        # SQLite has deleted the log after writing its sound part into the file.
        self._bring_back_wal()

    def set_aside(self, draft: Path) -> Path:
        """Replace the file, which is being read, by a draft; returns where the damaged one is kept.

        Raises:
            OSError: Files cannot be moved.
        """
        kept = _free(_beside(self.path, ".damaged"))
        for suffix in ("", "-wal", "-mark"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(_beside(self.path, suffix), _beside(kept, suffix))
        self.abandon()
        # A log must never meet a file that it was not written for. The draft has another id than the mark.
        self._wal.unlink(missing_ok=True)
        draft.replace(self.path)
        self._mark.remove()
        return kept

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

    def _is_ours(self) -> bool:
        """Tell whether a file that SQLite cannot read is a data file: by its header, or by its mark."""
        with self.path.open("rb") as file:
            header = file.read(_HEADER_SIZE)
        return header[68:72] == _APPLICATION_ID.to_bytes(4) or self._mark.path.exists()

    def _make(self, db: sqlite3.Connection, state: State) -> None:
        for statement in _TABLES.split(";"):
            db.execute(statement)
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self.state = state
        self.save_state()

    def _refuse_leftovers(self) -> None:
        """Refuse to start an empty file beside what an earlier one has left."""
        try:
            mark = self._mark.read()
            number = 0 if mark is None else mark[1].number
        except DamagedMarkError:
            number = 1
        if number or (self._wal.exists() and self._wal.stat().st_size):
            self.losses = [f"the file is gone or empty, and it held {number or 'an unknown number of'} steps"]
            raise self.damaged()

    def _keep_wal(self) -> None:
        if self._wal.exists():
            try:
                os.link(self._wal, self._kept_wal)
            except OSError:  # not every file system has links
                shutil.copy2(self._wal, self._kept_wal)

    def _bring_back_wal(self) -> None:
        if self._wal.exists():
            self._kept_wal.unlink(missing_ok=True)
        elif self._kept_wal.exists():
            self._kept_wal.replace(self._wal)

    # Errors

    def unusable(self, error: Exception) -> StorageUnusableError:
        """Return the error for a file that cannot be opened."""
        return StorageUnusableError(f"unable to open the data file {self.path}; {_reason(error)}")

    def damaged(self) -> StorageDamagedError:
        """Return the error for a file with losses."""
        return StorageDamagedError(
            f"unable to open the data file {self.path}; content is missing or damaged: "
            f"{'; '.join(self.losses)}. Nothing was changed. Put back a sound copy of the file, with its"
            f" {self._wal.name} and {self._mark.path.name} if it had them. Or start with accept_loss=True"
            " (serve --accept-loss) to go on with what is left; the damaged files are kept then."
        )

    # Reading

    def read_state(self) -> None:
        """Read the row that describes the file; the first of all reads."""
        self._found = State("", "")
        fields: list[Any] | None = next((body for _, body in self._rows("state", "id")), None)
        if fields is None:
            self.lose("the description of the file")
            state = State(random_id(10), random_id(10), is_clean=False)
        else:
            state = State(*fields)
        self.state = state
        self.tip = Tip(state.base, state.chain, state.time)

    def channels(self) -> Iterator[ChannelRow]:
        """Read the channels."""
        for id_, body in self._rows("channels", "id"):
            yield ChannelRow(id_, *body)

    def messages(self) -> Iterator[tuple[int, Any]]:
        """Read the folded messages: channel and fields."""
        for channel, _, body in self._rows("messages", "channel, serial", counted=True):
            yield channel, body

    def presence(self) -> Iterator[tuple[int, Any]]:
        """Read the folded presence steps: channel and content."""
        for _, channel, _, body in self._rows("presence", "id, channel, timestamp", counted=True):
            yield channel, body

    def apps(self) -> Iterator[tuple[str, Any]]:
        """Read the provisioned apps: id and description."""
        yield from cast("Iterator[tuple[str, Any]]", self._rows("apps", "id", counted=True))

    def connections(self) -> Iterator[tuple[str, Any]]:
        """Read the connections: id and fields."""
        yield from cast("Iterator[tuple[str, Any]]", self._rows("connections", "id"))

    def steps(self) -> Iterator[tuple[StepRow, Any]]:
        """Read the steps with their unpacked content, up to the first that is missing or damaged."""
        tip = self.tip
        is_sound = True
        last = tip
        columns = "id, channel, serial, timestamp, kind"
        for number, channel, serial, timestamp, kind, blob in self._select("steps", columns):
            # A damaged row may hold anything.
            last = Tip(number, b"", timestamp if isinstance(timestamp, int) else 0)
            if not is_sound:
                continue
            try:
                if number != tip.number + 1:
                    raise DamagedRowError("a step is missing")
                body = unsealed((number, channel, serial, timestamp, kind), blob, tip.chain)
                content = unpack(body)
            except DamagedRowError:
                is_sound = False
                continue
            tip = self.tip = Tip(number, blob[:DIGEST_SIZE], max(tip.time, timestamp))
            yield StepRow(channel, serial, timestamp, kind, body), content
        self._latest = max(last, tip)

    def lose(self, what: str) -> None:
        """Note that something is missing or damaged."""
        self.losses.append(what)

    def check(self) -> None:
        """Find out what is missing, once everything has been read; see `losses`."""
        state, tip = self.state, self.tip
        if (self._found.rows, self._found.digests) != (state.rows, state.digests):
            missing = state.rows - self._found.rows
            self.lose(f"{missing} messages or apps" if missing > 0 else "some messages or apps")
        try:
            [[report], *_] = self.db.execute("PRAGMA quick_check(1)").fetchall()
        except sqlite3.Error as error:
            report = str(error)
        if report != "ok":
            self.lose(f"the structure of the file ({' '.join(report.split())})")
        self._check_tip(tip)

    def _check_tip(self, tip: Tip) -> None:
        """Compare the latest step with the mark."""
        state = self.state
        latest, name = self._latest, self._mark.path.name
        try:
            found = self._mark.read()
        except (DamagedMarkError, OSError):
            found = None
        mark = None if found is None or found[0] != state.file else found[1]
        if mark is not None:
            latest = max(latest, mark)
        if latest.number > tip.number:
            self.lose(
                f"the last {latest.number - tip.number} of {latest.number} steps (publishes, appends and"
                f" presence events), the latest of {_time(latest.time)}"
            )
        elif mark is None and not state.is_clean:
            self.lose(f"{name}, without which nobody knows whether steps after {_time(tip.time)} are missing")
        elif mark is not None and mark.number >= state.base and not self._is_in_chain(mark):
            self.lose(f"what {name} tells of: it belongs to another copy of the file")
        self.tip = max(tip, Tip(latest.number, tip.chain, latest.time)) if self.losses else tip

    def _is_in_chain(self, mark: Tip) -> bool:
        if mark.number == self.state.base:
            return mark.chain == self.state.chain
        rows = self.db.execute("SELECT body FROM steps WHERE id = ?", (mark.number,)).fetchall()
        return [row[0][:DIGEST_SIZE] for row in rows] == [mark.chain]

    def _rows(self, table: str, columns: str, *, counted: bool = False) -> Iterator[tuple[Any, ...]]:
        """Read the sound rows of a table: the columns and the unpacked body."""
        damaged = 0
        for *key, blob in self._select(table, columns):
            try:
                body = unpack(unsealed(key, blob))
            except DamagedRowError:
                damaged += 1
                continue
            if counted:
                self._found.count(blob, 1)
            yield *key, body
        if damaged:
            self.lose(f"{damaged} rows of {table}")

    def _select(self, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self.db.execute(f"SELECT {columns}, body FROM {table} ORDER BY {columns}")  # noqa: S608
        except sqlite3.Error as error:
            self.lose(f"the table {table} ({_reason(error)})")

    # Writing

    @contextlib.contextmanager
    def transaction(self, *, changes_state: bool = False) -> Generator[sqlite3.Connection]:
        """Write as one transaction, all or nothing.

        Args:
            changes_state: Whether more is written than steps, channels and connections.

        Raises:
            StorageError: It failed; the file is as it was.
        """
        db, tip, state = self.db, self.tip, self.state
        if changes_state:
            self.state = replace(state)
        try:
            if self._is_mark_due:
                self._write_mark()
            db.execute("BEGIN")
            yield db
            db.execute("COMMIT")
        except BaseException as error:
            self.tip, self.state = tip, state
            if db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
            if isinstance(error, (sqlite3.Error, OSError)):
                raise StorageError(_reason(error)) from error
            raise
        if self.tip != tip:
            try:
                self._write_mark()
            except OSError as error:
                # What was written is stored. Without its mark a loss could go unnoticed, so nothing more is.
                self._is_mark_due = True
                logger.error("unable to write %s; %s", self._mark.path, _reason(error))

    def add_steps(self, rows: Iterable[StepRow]) -> None:
        """Add steps; within a transaction."""
        number, chain, time = self.tip
        values: list[tuple[object, ...]] = []
        for row in rows:
            number += 1
            columns = (number, *row[:-1])
            chain, time = digest(chain, columns, row.body), max(time, row.timestamp)
            values.append((*columns, chain + row.body))
        self.db.executemany("INSERT INTO steps VALUES (?, ?, ?, ?, ?, ?)", values)
        self.tip = Tip(number, chain, time)

    def put_channel(self, row: ChannelRow) -> None:
        """Add or replace a channel; within a transaction."""
        blob = sealed((row.id,), pack(row[1:]))
        self.db.execute("INSERT OR REPLACE INTO channels VALUES (?, ?)", (row.id, blob))

    def put_message(self, channel: int, serial: str, fields: object) -> None:
        """Add or replace a folded message; within a transaction."""
        key = (channel, serial)
        self._uncount("SELECT body FROM messages WHERE channel = ? AND serial = ?", key)
        self._put("messages", key, fields)

    def put_presence(self, number: int, channel: int, timestamp: int, content: object) -> None:
        """Add a folded presence step; within a transaction."""
        self._put("presence", (number, channel, timestamp), content)

    def forget_presence(self, before: int) -> None:
        """Delete the folded presence steps before a time; within a transaction."""
        self._uncount("SELECT body FROM presence WHERE timestamp < ?", (before,))
        self.db.execute("DELETE FROM presence WHERE timestamp < ?", (before,))

    def fold(self, number: int, chain: bytes, time: int) -> None:
        """Delete the steps up to a number, which other rows hold now; within a transaction."""
        self.db.execute("DELETE FROM steps WHERE id <= ?", (number,))
        state = self.state
        state.base, state.chain, state.time = number, chain, max(state.time, time)
        self.save_state()

    def put_app(self, id_: str, description: object) -> None:
        """Add an app and the description of the file; within a transaction."""
        self._put("apps", (id_,), description)
        self.save_state()

    def forget_app(self, id_: str, channels: Iterable[int]) -> None:
        """Delete an app and what was folded on its channels; within a transaction.

        Its steps stay until they are folded: the digests of later ones cover them.
        """
        self._uncount("SELECT body FROM apps WHERE id = ?", (id_,))
        self.db.execute("DELETE FROM apps WHERE id = ?", (id_,))
        for channel in channels:
            self._forget_folded(channel)
        self.save_state()

    def forget_channel(self, id_: int) -> None:
        """Delete a channel without steps; within a transaction that saves the description of the file."""
        self._forget_folded(id_)
        self.db.execute("DELETE FROM channels WHERE id = ?", (id_,))

    def _forget_folded(self, channel: int) -> None:
        for table in ("messages", "presence"):
            self._uncount(f"SELECT body FROM {table} WHERE channel = ?", (channel,))  # noqa: S608
            self.db.execute(f"DELETE FROM {table} WHERE channel = ?", (channel,))  # noqa: S608

    def put_connection(self, id_: str, fields: object) -> None:
        """Add or replace a connection; within a transaction."""
        blob = sealed((id_,), pack(fields))
        self.db.execute("INSERT OR REPLACE INTO connections VALUES (?, ?)", (id_, blob))

    def forget_connection(self, id_: str) -> None:
        """Delete a connection; within a transaction."""
        self.db.execute("DELETE FROM connections WHERE id = ?", (id_,))

    def save_key(self, key: str) -> None:
        """Store the generated API key for good.

        Raises:
            StorageError: It failed.
        """
        with self.transaction(changes_state=True):
            self.state.key = key
            self.save_state()
        with contextlib.suppress(sqlite3.Error):
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def save_state(self) -> None:
        """Write the row that describes the file; within a transaction."""
        blob = sealed((0,), pack(astuple(self.state)))
        self.db.execute("INSERT OR REPLACE INTO state VALUES (0, ?)", (blob,))

    def _put(self, table: str, key: tuple[object, ...], fields: object) -> None:
        blob = sealed(key, pack(fields))
        self.state.count(blob, 1)
        places = ", ".join("?" * (len(key) + 1))
        self.db.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", (*key, blob))  # noqa: S608

    def _uncount(self, query: str, values: tuple[object, ...]) -> None:
        for (blob,) in self.db.execute(query, values):
            self.state.count(blob, -1)

    def _write_mark(self) -> None:
        self._mark.write(self.state.file, self.tip)
        self._is_mark_due = False


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _free(path: Path) -> Path:
    """Return a path that is not taken, by adding a number if it must."""
    number, found = 1, path
    while found.exists():
        number += 1
        found = _beside(path, f"-{number}")
    return found


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def _time(ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if ms else "the start"
    except (ValueError, OverflowError, OSError):
        return "an unknown time"


def _reason(error: BaseException) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return "another server has it open"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
