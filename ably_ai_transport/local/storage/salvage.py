"""Salvage: what is left of a damaged data file becomes a new one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ably_ai_transport.local.storage.contract import StorageError
from ably_ai_transport.local.storage.data_file import DataFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ably_ai_transport.local.storage.stored_channel import SqliteChannelStorage

logger = logging.getLogger("ably_ai_transport.local")


def salvage(file: DataFile, apps: Mapping[str, Any], channels: Mapping[int, SqliteChannelStorage]) -> None:
    """Replace a damaged file by one that holds what was read of it; the damaged one is kept.

    Connections are forgotten, and serials are of another series: every client learns that its channels did
    not continue.

    Args:
        file: The damaged file, open.
        apps: The descriptions of its apps by id.
        channels: Its channels by their numbers.

    Raises:
        StorageUnusableError: The new file cannot be written.
    """
    path = file.path.with_name(file.path.name + "-new")
    draft = DataFile(path)
    try:
        for suffix in ("", "-wal", "-mark"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        draft.open()
        with draft.transaction(changes_state=True):
            draft.state.key = file.state.key
            draft.state.base, draft.state.time = file.tip.number, file.tip.time
            for id_, description in apps.items():
                draft.put_app(id_, description)
            for id_, channel in channels.items():
                draft.put_channel(channel.row(id_))
                for message in channel.messages():
                    draft.put_message(id_, message.serial, message.dump())
                records = [(one.serial, one.timestamp, one.event) for one in channel.presence()]
                if records:
                    draft.put_presence(id_, id_, records[-1][1], records)
            draft.save_state()
        draft.close()
        kept = file.set_aside(path)
    except (OSError, StorageError) as error:
        draft.abandon()
        file.abandon()
        raise file.unusable(error) from error
    losses = "; ".join(file.losses)
    logger.warning("%s goes on without what it has lost: %s. It is kept as %s", file.path, losses, kept)
