"""VCDIFF (RFC 3284): encodes a value as its difference from an earlier one."""

from __future__ import annotations

from typing import Final

# Magic, version 0, and a header indicator without a compressor or a code table of its own.
_HEADER: Final = b"\xd6\xc3\xc4\x00\x00"
_VCD_SOURCE: Final = 0x01
_NOT_COMPRESSED: Final = 0x00

# The default code table (section 5.6): a size that is not in the opcode follows it.
_ADD: Final = 1
_ADD_UP_TO: Final = 17
_COPY: Final = 19
"""COPY with an address of mode SELF: the address itself, counted from the start of the source."""
_COPY_FROM: Final = 4
_COPY_UP_TO: Final = 18


def encode(source: bytes, target: bytes) -> bytes:
    """Return `target` as its difference from `source`.

    It copies what both begin and end with and carries the rest: one change in a long value makes a short
    delta, several changes one that carries all between the first and the last.

    Args:
        source: The value that the decoder has.
        target: The value that the decoder will return.
    """
    start = _common_prefix(source, target)
    room = min(len(source), len(target)) - start
    end = _common_suffix(source, target, room)
    added = target[start : len(target) - end]
    instructions = bytearray()
    addresses = bytearray()
    if start:
        instructions += _copy(start)
        addresses += _integer(0)
    if added:
        instructions += _add(len(added))
    if end:
        instructions += _copy(end)
        addresses += _integer(len(source) - end)
    window = b"".join(
        (
            _integer(len(target)),
            bytes((_NOT_COMPRESSED,)),
            _integer(len(added)),
            _integer(len(instructions)),
            _integer(len(addresses)),
            added,
            instructions,
            addresses,
        )
    )
    segment = _integer(len(source)) + _integer(0)
    return b"".join((_HEADER, bytes((_VCD_SOURCE,)), segment, _integer(len(window)), window))


def _add(size: int) -> bytes:
    return bytes((_ADD + size,)) if size <= _ADD_UP_TO else bytes((_ADD,)) + _integer(size)


def _copy(size: int) -> bytes:
    if _COPY_FROM <= size <= _COPY_UP_TO:
        return bytes((_COPY + size - _COPY_FROM + 1,))
    return bytes((_COPY,)) + _integer(size)


def _integer(value: int) -> bytes:
    """Encode an integer in base 128, the highest digits first (section 2)."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F | 0x80)
    return bytes(reversed(digits))


def _common_prefix(one: bytes, other: bytes) -> int:
    """Return the number of bytes that both begin with; comparing halves is faster than comparing bytes."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least


def _common_suffix(one: bytes, other: bytes, most: int) -> int:
    """Return the number of bytes that both end with, `most` at the most."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        if one[len(one) - middle : len(one) - least] == other[len(other) - middle : len(other) - least]:
            least = middle
        else:
            most = middle - 1
    return least
