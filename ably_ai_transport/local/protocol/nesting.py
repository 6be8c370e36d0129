"""Nesting: frames that nest too deep for the decoders, with the deep parts cut off.

Without those parts, the frame can be decoded and answered: its publish is refused, and its connection lives.
"""

from __future__ import annotations

import re
from typing import Final

_TOKEN: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.DOTALL)
_NIL: Final = 0xC0
_LENGTHS: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xC7: 1, 0xC8: 2, 0xC9: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_COUNTS: Final = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
_WIDTHS: Final = {
    0xC0: 0,
    0xC2: 0,
    0xC3: 0,
    0xCA: 4,
    0xCB: 8,
    0xCC: 1,
    0xCD: 2,
    0xCE: 4,
    0xCF: 8,
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
    0xD4: 2,
    0xD5: 3,
    0xD6: 5,
    0xD7: 9,
    0xD8: 17,
}


def prune_json(text: str, depth: int) -> str:
    """Return a JSON text with null in place of each container that is nested deeper than `depth`."""
    kept: list[str] = []
    open_ = 0
    start = 0
    for token in _TOKEN.finditer(text):
        first = token[0][0]
        if first in "[{":
            open_ += 1
            if open_ == depth + 1:
                kept.append(text[start : token.start()])
                kept.append("null")
        elif first in "]}":
            open_ -= 1
            if open_ == depth:
                start = token.end()
    if open_ <= depth:
        kept.append(text[start:])
    return "".join(kept)


def prune_msgpack(data: bytes, depth: int) -> bytes:
    """Return msgpack with nil in place of each container that is nested deeper than `depth`.

    Raises:
        ValueError: It is not msgpack.
    """
    kept = bytearray()
    left = [1]
    at = 0
    while left:
        if not left[-1]:
            left.pop()
            continue
        left[-1] -= 1
        end, children = _item(data, at)
        is_kept = len(left) <= depth + 1
        if not children:
            if is_kept:
                kept += data[at:end]
        elif len(left) <= depth:
            kept += data[at:end]
            left.append(children)
        else:
            if is_kept:
                kept.append(_NIL)
            left.append(children)
        at = end
    return bytes(kept)


def _item(data: bytes, at: int) -> tuple[int, int]:
    """Return the end of the item at an index, without its children, and their number."""
    if at >= len(data):
        raise ValueError("unexpected end of msgpack")
    kind = data[at]
    at += 1
    if kind <= 0x7F or kind >= 0xE0:
        return at, 0
    if kind <= 0x8F:
        return at, 2 * (kind & 0x0F)
    if kind <= 0x9F:
        return at, kind & 0x0F
    if kind <= 0xBF:
        return _within(data, at + (kind & 0x1F)), 0
    if kind in _WIDTHS:
        return _within(data, at + _WIDTHS[kind]), 0
    width = _LENGTHS.get(kind) or _COUNTS.get(kind)
    if width is None:
        raise ValueError("msgpack has no such type")
    end = _within(data, at + width)
    number = int.from_bytes(data[at:end], "big")
    if kind in _COUNTS:
        _within(data, end + number)
        return end, 2 * number if kind >= 0xDE else number
    return _within(data, end + number + (1 if kind <= 0xC9 and kind >= 0xC7 else 0)), 0


def _within(data: bytes, end: int) -> int:
    if end > len(data):
        raise ValueError("unexpected end of msgpack")
    return end
