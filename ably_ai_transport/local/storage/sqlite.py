"""Storage in one SQLite file: publishes that were acked outlive the process.

The file holds the steps of the channels in order, and the messages as of the latest compaction, which folds
steps that are too old to resume from into their messages. While the server runs, all of it is in memory as
well; the file is read once, at the start.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from ably_ai_transport.local.storage.compaction import compact
from ably_ai_transport.local.storage.contract import (
    ChannelStorage,
    ConnectionRecord,
    StorageDamagedError,
    StorageError,
)
from ably_ai_transport.local.storage.data_file import DataFile
from ably_ai_transport.local.storage.rows import DamagedRowError
from ably_ai_transport.local.storage.salvage import salvage
from ably_ai_transport.local.storage.stored_channel import SqliteChannelStorage, Unstored

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ably_ai_transport.local.storage.contract import LogEntry

logger = logging.getLogger("ably_ai_transport.local")

_COMPACT_EVERY_MS: Final = 30_000
_DEFAULT_APP: Final = ""
_NO_APP: Final = "-"
"""The app of channels that were let go; no app has this id."""


class SqliteContent:
    """The content of one data file.

    Attributes:
        file: The file.
        apps: The descriptions of the provisioned apps by id.
        connections: The connections of an earlier process: app, keys, key name and clientId by id.
    """

    def __init__(self, path: Path, *, kept_ms: int, accept_loss: bool = False) -> None:
        """Prepare the content of a file; `open` reads it.

        Args:
            path: The file, made when missing.
            kept_ms: How far back steps can be resumed from.
            accept_loss: Whether to go on with what is left of a damaged file.
        """
        self.file = DataFile(path)
        self.apps: dict[str, Any] = {}
        self.connections: dict[str, list[Any]] = {}
        self._last_channel_id = 0
        self._kept_ms = kept_ms
        self._accept_loss = accept_loss
        self._storages: dict[str, SqliteStorage] = {}
        self._channels: dict[int, SqliteChannelStorage] = {}
        self._gone: set[int] = set()
        self._compacted = 0

    @property
    def series(self) -> tuple[str, int] | None:
        """The series of serials and the time of the latest one; None while the file is closed."""
        return (self.file.state.series, self.file.tip.time) if self.file.is_open else None

    def app(self, id_: str = _DEFAULT_APP) -> SqliteStorage:
        """Return the storage of an app; that of the default app without an id."""
        found = self._storages.get(id_)
        if found is None:
            found = self._storages[id_] = SqliteStorage(self, id_)
        return found

    # Opening

    def open(self) -> None:
        """Open the file and read it.

        Raises:
            StorageUnusableError: It cannot be opened, is in use, or is not a data file of this server.
            StorageDamagedError: Content is missing or damaged, and the loss is not accepted.
        """
        file = self.file
        if file.is_open:
            return
        try:
            file.open()
            self._load()
        except StorageDamagedError:
            if not self._accept_loss:
                raise
            self._clear()
        except BaseException:
            file.abandon()
            raise
        if file.losses:
            if not self._accept_loss:
                file.abandon()
                raise file.damaged()
            salvage(file, self.apps, self._channels)
            file.open()
            self._load()
        file.start()

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        self._clear()

    def _clear(self) -> None:
        self.apps.clear()
        self.connections.clear()
        self._channels.clear()
        self._gone.clear()
        self._last_channel_id = self._compacted = 0
        for storage in self._storages.values():
            storage.channels.clear()
            storage.publishes.clear()
            storage.unstored.clear()
        # The engine of the default app keeps its storage over a restart.
        self._storages = {id_: one for id_, one in self._storages.items() if id_ == _DEFAULT_APP}

    def _load(self) -> None:
        file = self.file
        self._clear()
        file.read_state()
        self.apps.update(file.apps())
        for row in file.channels():
            self._last_channel_id = max(self._last_channel_id, row.id)
            if row.app in self.apps or row.app == _DEFAULT_APP:
                storage = self.app(row.app)
                storage.channels[row.name] = self._channels[row.id] = SqliteChannelStorage(
                    row.app, row.name, storage.unstored, row.trimmed_to, row.id
                )
            else:
                self._gone.add(row.id)
        for id_, fields in file.messages():
            if (channel := self._find(id_)) is not None:
                channel.load_message(fields)
        for id_, records in file.presence():
            if (channel := self._find(id_)) is not None:
                channel.load_presence(records)
        self.connections.update(file.connections())
        for step, content in file.steps():
            if (channel := self._find(step.channel)) is None:
                continue
            try:
                self.app(channel.app_id).recall(channel.load_step(step, content))
            except KeyError:
                file.lose("the beginning of a message that was changed later")
        file.check()
        for storage in self._storages.values():
            # Only a connection that can be resumed retries its publishes.
            for id_ in storage.publishes.keys() - self.connections.keys():
                del storage.publishes[id_]

    def _find(self, id_: int) -> SqliteChannelStorage | None:
        """Return a channel by its number; None for one of a deleted app."""
        channel = self._channels.get(id_)
        if channel is None and id_ not in self._gone:
            self.file.lose("the name of a channel")
            self._gone.add(id_)
        return channel

    # Apps

    def save_app(self, id_: str, description: object) -> None:
        """Store a provisioned app.

        Raises:
            StorageError: It failed.
        """
        with self.file.transaction(changes_state=True):
            self.file.put_app(id_, description)
        self.apps[id_] = description

    def forget_app(self, id_: str) -> None:
        """Delete a provisioned app and its channels.

        Raises:
            StorageError: It failed.
        """
        storage = self.app(id_)
        channels = {channel.id for channel in storage.channels.values() if channel.id is not None}
        with self.file.transaction(changes_state=True):
            self.file.forget_app(id_, channels)
        del self._storages[id_]
        self.apps.pop(id_, None)
        self._gone |= channels
        for channel in channels:
            del self._channels[channel]

    # For its apps

    def number(self, channels: Iterable[SqliteChannelStorage]) -> dict[SqliteChannelStorage, int]:
        """Return numbers for those channels that have none yet."""
        new = dict.fromkeys(channel for channel in channels if channel.id is None)
        return {channel: number for number, channel in enumerate(new, self._last_channel_id + 1)}

    def add_channels(self, new: Mapping[SqliteChannelStorage, int]) -> None:
        """Take note that channels were stored under these numbers."""
        for channel, id_ in new.items():
            channel.id = id_
            self._channels[id_] = channel
            self._last_channel_id = id_

    def let_go(self, id_: int) -> None:
        """Take note that a channel is gone; a compaction deletes what the file has of it."""
        del self._channels[id_]
        self._gone.add(id_)

    def compact_in_time(self) -> None:
        """Fold steps that are too old to resume from into their messages, some at a time."""
        latest = self.file.tip.time
        if latest - self._compacted <= _COMPACT_EVERY_MS:
            return
        if any(storage.unstored.steps for storage in self._storages.values()):
            return  # messages in memory are ahead of the file
        self._compacted = latest
        try:
            if compact(self.file, self._channels, self._gone, latest=latest, kept_ms=self._kept_ms):
                self._compacted = 0  # continue at the next commit
        except (StorageError, DamagedRowError) as error:
            # What was committed stays so; the steps stay as they are.
            logger.warning("unable to compact the data file; %s", error)


class SqliteStorage:
    """The channels of one app in a data file that several apps may share.

    Once `commit` has returned, steps are in the write-ahead log and survive any end of the process. They
    survive a crash of the machine a little later.

    Args:
        content: The data file.
        app_id: The id of a provisioned app; empty for the default app.
    """

    is_durable = True

    def __init__(self, content: SqliteContent, app_id: str = "") -> None:
        self.app_id = app_id
        self.channels: dict[str, SqliteChannelStorage] = {}
        self.publishes: dict[str, dict[int, list[str | None]]] = {}
        self.unstored = Unstored()
        self._content = content

    @property
    def series(self) -> tuple[str, int] | None:
        """The series of its serials and the time of the latest one."""
        return self._content.series

    @property
    def saved_key(self) -> str | None:
        """The generated API key that the file keeps for the default app."""
        return None if self.app_id else self._content.file.state.key

    def open(self) -> None:
        """Open the file and load its content.

        Raises:
            StorageUnusableError: It cannot be opened, is in use, or is not a data file of this server.
            StorageDamagedError: Content that was acked is missing or damaged.
        """
        self._content.open()

    def save_key(self, key: str) -> None:
        """Keep the generated API key: clients use it again after a restart."""
        self._content.file.save_key(key)

    def channel(self, name: str) -> ChannelStorage:
        """Return the storage of one channel, made when missing."""
        found = self.channels.get(name)
        if found is None:
            found = self.channels[name] = SqliteChannelStorage(self.app_id, name, self.unstored)
        return found

    def names(self) -> Iterable[str]:
        """Return the names of the stored channels."""
        return list(self.channels)

    def release(self, name: str) -> None:
        """Forget a channel that has no messages, steps or presence events.

        Its row stays until its steps have been folded, and says that it is gone.
        """
        channel = self.channels.pop(name, None)
        if channel is not None and channel.id is not None:
            self.unstored.moved.pop(channel, None)
            self.unstored.gone.append(channel.row(channel.id)._replace(app=_NO_APP))
            self._content.let_go(channel.id)

    def commit(self) -> None:
        """Write everything recorded so far in one transaction.

        Raises:
            StorageError: The write failed: the steps are given up.
        """
        unstored, content = self.unstored, self._content
        if not unstored:
            return
        steps, unstored.steps = unstored.steps, []
        file = content.file
        with file.transaction():
            new = content.number(step.channel for step in steps)
            for channel, id_ in new.items():
                file.put_channel(channel.row(id_))
            file.add_steps(step.row(step.channel.id or new[step.channel]) for step in steps)
            for channel in unstored.moved:
                if channel.id is not None:
                    file.put_channel(channel.row(channel.id))
            for row in unstored.gone:
                file.put_channel(row)
            for id_, fields in unstored.connections.items():
                if fields is None:
                    file.forget_connection(id_)
                else:
                    file.put_connection(id_, fields)
        unstored.clear()
        content.add_channels(new)
        content.compact_in_time()

    def save_connection(self, record: ConnectionRecord) -> None:
        """Store a connection, or its changes."""
        fields: list[object] = [self.app_id, record.keys, record.key_name, record.client_id]
        self.unstored.connections[record.id] = fields

    def forget_connection(self, id_: str) -> None:
        """Delete a connection: it can no longer be resumed."""
        self.unstored.connections[id_] = None

    def connections(self) -> Sequence[ConnectionRecord]:
        """Return the connections of an earlier process that can be resumed."""
        return [
            ConnectionRecord(id_, tuple(keys), key_name, client_id)
            for id_, (app_id, keys, key_name, client_id) in self._content.connections.items()
            if app_id == self.app_id
        ]

    def results(self, connection_id: str) -> dict[int, list[str | None]]:
        """Return the results of the publishes of a connection of an earlier process, by msgSerial."""
        return self.publishes.pop(connection_id, {})

    def apps(self) -> Mapping[str, Any]:
        """Return the provisioned apps by id, as they were described to `save_app`."""
        return self._content.apps

    def app(self, id_: str) -> SqliteStorage:
        """Return the storage of a provisioned app."""
        return self._content.app(id_)

    def save_app(self, id_: str, description: object) -> None:
        """Store a provisioned app at once.

        Raises:
            StorageError: It failed.
        """
        self._content.save_app(id_, description)

    def forget_app(self, id_: str) -> None:
        """Delete a provisioned app and its channels at once.

        Raises:
            StorageError: It failed.
        """
        self._content.forget_app(id_)

    def close(self) -> None:
        """Close the file, with the default app."""
        if not self.app_id:
            self._content.close()

    # Loading

    def recall(self, entry: LogEntry) -> None:
        """Restore the results of the publishes in a step, for retries."""
        if entry.connection_id is None or not entry.msg_serials:
            return
        results = self.publishes.setdefault(entry.connection_id, {})
        for msg_serial in entry.msg_serials:
            results[msg_serial] = [None]
        if entry.presence:
            answer: list[str | None] = [None] * len(entry.presence)
        elif entry.change is not None:
            answer = [f"{entry.channel_serial}:000"]
        else:
            answer = [message.serial for message in entry.messages]
        results[entry.msg_serials[-1]] = answer
