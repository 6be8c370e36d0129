"""The high-water mark: a small file beside the data file that tells how many steps were stored.

SQLite takes a write-ahead log that is cut short, damaged or gone for one that had no more in it. The mark is
written after each commit and before its acks, so it shows that something is missing.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from ably_ai_transport.local.storage.rows import DIGEST_SIZE, digest

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

_LAYOUT: Final = struct.Struct(f">8s10sQ{DIGEST_SIZE}sQ")
_MAGIC: Final = b"AblyMark"
_SIZE: Final = _LAYOUT.size + DIGEST_SIZE


class Tip(NamedTuple):
    """The latest step of a data file.

    Attributes:
        number: Its number: steps are counted from 1.
        chain: The digest of the chain of all steps up to it.
        time: Its time (milliseconds); 0 when there is no step.
    """

    number: int
    chain: bytes
    time: int


class DamagedMarkError(Exception):
    """The file does not hold a mark."""


class HighWaterMark:
    """The mark of one data file.

    A mark is written in one call to the operating system, which a kill of the process cannot interrupt.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: FileIO | None = None

    def read(self) -> tuple[str, Tip] | None:
        """Return the id of the data file and its latest step; None when there is no mark.

        Raises:
            DamagedMarkError: The file is not a mark.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        head, tail = content[: _LAYOUT.size], content[_LAYOUT.size :]
        if len(content) != _SIZE or tail != digest(b"", None, head):
            raise DamagedMarkError
        magic, file_id, number, chain, time = _LAYOUT.unpack(head)
        if magic != _MAGIC:
            raise DamagedMarkError
        return file_id.decode("ascii", "replace"), Tip(number, chain, time)

    def create(self, file_id: str, tip: Tip) -> None:
        """Make the file. It appears at once as a whole.

        Raises:
            OSError: It cannot be made.
        """
        draft = self.path.with_name(self.path.name + "-new")
        os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        draft.write_bytes(_content(file_id, tip))
        draft.replace(self.path)
        self.open()

    def open(self) -> None:
        """Open the existing file for `write`."""
        self.close()
        self._file = self.path.open("r+b", buffering=0)

    def write(self, file_id: str, tip: Tip) -> None:
        """Replace the mark.

        Raises:
            OSError: It cannot be written.
        """
        if self._file is None:
            raise OSError("the mark is closed")
        self._file.seek(0)
        if self._file.write(_content(file_id, tip)) != _SIZE:
            raise OSError("the mark was not written as a whole")

    def close(self) -> None:
        """Close the file; it stays."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def remove(self) -> None:
        """Delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)


def _content(file_id: str, tip: Tip) -> bytes:
    head = _LAYOUT.pack(_MAGIC, file_id.encode(), *tip)
    return head + digest(b"", None, head)
