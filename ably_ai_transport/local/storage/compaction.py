"""Compaction: steps that are too old to resume from are folded into rows of messages and presence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.storage.memory import PRESENCE_KEPT_MS
from ably_ai_transport.local.storage.rows import DIGEST_SIZE, unpack
from ably_ai_transport.local.storage.stored_channel import PRESENCE, touched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ably_ai_transport.local.protocol.frames import WirePresence
    from ably_ai_transport.local.protocol.messages import StoredMessage
    from ably_ai_transport.local.storage.data_file import DataFile
    from ably_ai_transport.local.storage.stored_channel import SqliteChannelStorage

_MOST_STEPS: Final = 2000
_STEPS: Final = "SELECT id, channel, serial, timestamp, kind, body FROM steps ORDER BY id LIMIT ?"


def compact(
    file: DataFile,
    channels: Mapping[int, SqliteChannelStorage],
    gone: set[int],
    *,
    latest: int,
    kept_ms: int,
) -> bool:
    """Fold the oldest steps; returns whether there may be more to fold.

    Args:
        file: The data file. Every step in memory must be stored.
        channels: The channels by their numbers.
        gone: The numbers of channels that were let go; those without steps are deleted for good.
        latest: The time of the latest step (milliseconds).
        kept_ms: How far back steps can be resumed from.

    Raises:
        StorageError: The file cannot be written.
        DamagedRowError: A step has been damaged.
    """
    trimmed: dict[int, str] = {}
    messages: dict[tuple[int, str], StoredMessage] = {}
    presence: list[tuple[int, int, int, list[tuple[str, int, WirePresence]]]] = []
    count = number = 0
    chain = b""
    with file.transaction(changes_state=True) as db:
        for id_, channel_id, serial, timestamp, kind, blob in db.execute(_STEPS, (_MOST_STEPS,)):
            if timestamp >= latest - kept_ms:
                break
            count, number, chain = count + 1, id_, blob[:DIGEST_SIZE]
            channel = channels.get(channel_id)
            if channel is None:
                continue
            trimmed[channel_id] = serial
            content = unpack(blob[DIGEST_SIZE:])
            if kind == PRESENCE:
                events = enumerate(content[3])
                records = [(f"{serial}:{index:03d}", timestamp, event) for index, event in events]
                presence.append((id_, channel_id, timestamp, records))
                continue
            for target in touched(kind, content):
                stored = channel.get(target)
                if stored is not None:
                    messages[channel_id, target] = stored
        if not count:
            return False
        for (channel_id, target), message in messages.items():
            file.put_message(channel_id, target, message.dump())
        for row in presence:
            file.put_presence(*row)
        file.forget_presence(latest - PRESENCE_KEPT_MS)
        for channel_id, serial in trimmed.items():
            channel = channels[channel_id]
            channel.trimmed_to = max(channel.trimmed_to, serial)
            file.put_channel(channel.row(channel_id))
        file.fold(number, chain, latest)
        if gone:
            used = {id_ for (id_,) in db.execute("SELECT DISTINCT channel FROM steps")}
            for id_ in gone - used:
                file.forget_channel(id_)
            gone &= used
            file.save_state()
    return count == _MOST_STEPS
