"""Targets: data files of the local server that were tampered with."""

import shutil
import sqlite3
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from hypothesis import strategies as st

from ably_ai_transport.local import LocalServer, LocalServerOptions, StorageUnusableError
from tests.fuzz.asgi import request
from tests.fuzz.local_server import BASIC, KEY, Talk, base_message, talk
from tests.fuzz.samples import MESSAGES
from tests.fuzz.target import Target
from tests.fuzz.values import TEXTS, encode, values


async def _make_file(file: Path) -> None:
    async with LocalServer(LocalServerOptions(keys=(KEY,), data=file)) as server:
        serial = await base_message(server.app)
        for message in MESSAGES:
            frame = {"action": 15, "channel": "c", "msgSerial": 0, "messages": [message]}
            await talk(server.app, Talk("json", [frame]), serial)
        frame = {"action": 14, "channel": "c", "msgSerial": 0, "presence": [{"action": 2, "data": "x"}]}
        await talk(server.app, Talk("msgpack", [frame]), serial)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()


async def _copy_of_file(folder: str) -> Path:
    original = Path(_folder().name) / "data.db"
    if not original.exists():
        await _make_file(original)
        with sqlite3.connect(original) as db:  # everything into the file itself
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
    return Path(shutil.copy(original, Path(folder) / "data.db"))


async def _open_file(file: Path) -> None:
    """A file that was tampered with opens, or is refused; it never breaks a running server."""
    async with LocalServer(LocalServerOptions(keys=(KEY,), data=file)) as server:
        for path in ("/channels", "/channels/c/messages", "/channels/c/presence/history"):
            await request(server.app, "GET", path, headers={"authorization": BASIC})


_cells: Final = st.one_of(
    st.sampled_from(
        (0, 1, 2, 3, -1, 2**62, 0.5, None, "", "x", "9" * 30, b"", b"\xc0", b"\x90", b"\x94\xc0\xc0\x90\x90")
    ),
    st.sampled_from(TEXTS).filter(
        lambda text: "\ud800" <= max(text, default="") <= "\udfff" or text.isascii()
    ),
    values.map(lambda value: encode(value, "msgpack")),
)


def _columns(db: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = [
        name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]
    return [(table, row[1]) for table in tables for row in db.execute(f"PRAGMA table_info({table})")]


async def _take_cell(value: tuple[int, Any]) -> None:
    """Put another value into one column of the file, whatever its tables are."""
    place, cell = value
    with tempfile.TemporaryDirectory() as folder:
        file = await _copy_of_file(folder)
        db = sqlite3.connect(file)
        try:
            columns = _columns(db)
            table, column = columns[place % len(columns)]
            text = cell.encode(errors="replace").decode() if isinstance(cell, str) else cell
            db.execute(f"UPDATE {table} SET {column} = ?", (text,))  # noqa: S608 - names of our own tables
            db.commit()
        except sqlite3.IntegrityError:
            return  # the table itself refuses it
        finally:
            db.close()
        await _open_file(file)


async def _take_damage(value: list[tuple[float, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = await _copy_of_file(folder)
        data = bytearray(file.read_bytes())
        for where, new in value:
            at = int(where * len(data))
            data[at : at + len(new)] = new
        file.write_bytes(data)
        await _open_file(file)


_refused: Final = (StorageUnusableError,)

TARGETS: Final = (
    Target("local.rows", st.tuples(st.integers(0, 59), _cells), _take_cell, _refused),
    Target(
        "local.files",
        st.lists(
            st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)),
            min_size=1,
            max_size=4,
        ),
        _take_damage,
        _refused,
    ),
)
