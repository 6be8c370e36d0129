"""Rows of the data file: content in msgpack, with digests that tell whether it is still what was written."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final, cast

import msgpack

from ably_ai_transport.local.storage.contract import StorageError

DIGEST_SIZE: Final = 8

_WRAPPED: Final = 2
_pack = cast("Any", msgpack).Packer(unicode_errors="surrogatepass").pack


class DamagedRowError(Exception):
    """A row does not hold what was written."""


def pack(value: object) -> bytes:
    """Return a value as the body of a row.

    Raises:
        StorageError: It holds something that no row can hold, such as an integer of more than 64 bits.
    """
    try:
        # A compaction stores the metadata of a version two levels deeper than its step does. What can be
        # stored now must fit there, too; each list of one item takes one byte.
        return _pack([[value]])[_WRAPPED:]
    except (OverflowError, ValueError, TypeError, RecursionError) as error:
        raise StorageError(f"the content has no binary form: {error}") from error


def unpack(body: bytes) -> Any:  # noqa: ANN401 - rows are of several shapes
    """Return the value in the body of a row.

    Raises:
        DamagedRowError: There is none.
    """
    try:
        return cast("Any", msgpack).unpackb(
            body, raw=False, unicode_errors="surrogatepass", strict_map_key=False
        )
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise DamagedRowError(str(error)) from error


def digest(before: bytes, columns: object, body: bytes) -> bytes:
    """Return the digest of a row.

    Args:
        before: The digest of the row before it in a chain; empty for a row that stands alone.
        columns: Its other columns.
        body: Its body.
    """
    return blake2b(b"".join((before, _pack(columns), body)), digest_size=DIGEST_SIZE).digest()


def sealed(columns: object, body: bytes) -> bytes:
    """Return a body with the digest of its row before it."""
    return digest(b"", columns, body) + body


def unsealed(columns: object, blob: object, before: bytes = b"") -> bytes:
    """Return the body of a row whose digest is right.

    Raises:
        DamagedRowError: The digest is wrong.
    """
    if not isinstance(blob, bytes):
        raise DamagedRowError("no body")
    body = blob[DIGEST_SIZE:]
    try:
        expected = digest(before, columns, body)
    except (ValueError, TypeError, OverflowError) as error:
        raise DamagedRowError(str(error)) from error
    if blob[:DIGEST_SIZE] != expected:
        raise DamagedRowError("wrong digest")
    return body
