"""Values that the server stores: those that JSON and msgpack can both carry.

A message is published in one format and read in another one, so each stored value must fit both. JSON has
neither binary values nor NaN; msgpack has no integers beyond 64 bits; decoders bound the nesting.
"""

from __future__ import annotations

import json
from math import isfinite
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Final, cast

from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request

if TYPE_CHECKING:
    from ably_ai_transport.local.protocol.frames import Data, Value

MAX_DEPTH: Final = 64
"""The most containers that a stored value nests in one another."""

_LEAST: Final = -(2**63)
_MOST: Final = 2**64 - 1
_NUMBER: Final = 32
_TEXT: Final = 56
_FEW: Final = 3

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


class _NeedsChange(Exception):  # noqa: N818 - no error: the value is carried in another form
    """A value cannot be carried as it is, but a close one can."""


def carried(value: Value, what: str) -> Value:
    """Return a value as both formats carry it; see `weighed`."""
    return weighed(value, what)[0]


def weighed(value: Value, what: str) -> tuple[Value, int]:
    """Return a value as both formats carry it, and the bytes of memory that it takes.

    Integers that do not fit into 64 bits become floats, as every number of JavaScript is one. Half a
    surrogate pair becomes U+FFFD, as when JavaScript writes UTF-8.

    Args:
        value: A decoded value of a client.
        what: The name of the field, for the error.

    Raises:
        RefusedError: 40000, there is no such value: it holds NaN, an infinite number, binary, a type of
            msgpack that JSON lacks or a key that is not text, or it nests deeper than `MAX_DEPTH`.
    """
    if value is None:
        return None, 0
    try:
        return value, _weigh(value, what, MAX_DEPTH)
    except _NeedsChange:
        value = _changed(value, what, MAX_DEPTH)
        return value, _weigh(value, what, MAX_DEPTH)


def carried_text(text: str) -> str:
    """Return text as both formats carry it: half a surrogate pair becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        # Two escaped halves that follow one another are a pair.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def is_shallow(value: Value) -> bool:
    """Tell whether a value nests at most `MAX_DEPTH` containers."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        deeper: list[Value] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        if not deeper:
            return True
        level = deeper
    return not any(isinstance(item, (dict, list)) for item in level)


def size_of(value: Value) -> int:
    """Return the bytes of a value's JSON representation (Ably specification TM6d); 0 for None."""
    return 0 if value is None else len(_encode(value).encode())


def size_of_text(text: Data) -> int:
    """Return the bytes of text or binary; 0 for None."""
    if not text:
        return 0
    return len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode(errors="replace"))


def weight_of_text(text: Data) -> int:
    """Return the bytes of memory that text or binary takes: up to four a character."""
    if text is None:
        return 0
    return len(text) if isinstance(text, bytes) or text.isascii() else getsizeof(text)


def weight_of(value: Value) -> int:
    """Return the bytes of memory that a stored value takes."""
    return 0 if value is None else _weigh(value, "a value", MAX_DEPTH)


def _weigh(value: Any, what: str, room: int) -> int:  # noqa: ANN401 - any value; this is on the hot path
    """Check a value and return the bytes of memory that it takes; `room` is how deep it may nest."""
    kind = value.__class__
    if kind is dict:
        return _weigh_dict(value, what, room)
    if kind is str:
        return _TEXT + _weigh_text(value)
    if value is None or kind is bool:
        return 0
    if kind is int:
        if not _LEAST <= value <= _MOST:
            raise _NeedsChange
        return _NUMBER
    if kind is float:
        if not isfinite(value):
            raise _unfit(what, f"JSON has no number {value} (send null)")
        return _NUMBER
    if kind is list:
        if not room:
            raise _too_deep(what)
        size = getsizeof(value)
        for item in value:
            size += _weigh(item, what, room - 1)
        return size
    if kind is bytes:
        raise _unfit(what, "JSON cannot carry binary (send text in base64, or send it as data)")
    raise _unfit(what, f"JSON cannot carry msgpack's type {kind.__name__}")


def _weigh_dict(value: dict[Any, Any], what: str, room: int) -> int:
    if not room:
        raise _too_deep(what)
    number = len(value)
    size = getsizeof(value) + number * _TEXT
    if number > _FEW:
        # Most of what is published: an object that holds nothing but text.
        try:
            return size + number * _TEXT + _weigh_text("".join(value)) + _weigh_text("".join(value.values()))
        except TypeError:
            pass
    for key, item in value.items():
        if type(key) is not str:
            raise _unfit(what, f"the keys of an object must be text, not {type(key).__name__}")
        size += len(key) if key.isascii() else _weigh_text(key)
        kind = item.__class__
        if kind is dict:
            size += _weigh_dict(item, what, room - 1)
        elif kind is str and item.isascii():
            size += _TEXT + len(item)
        else:
            size += _weigh(item, what, room - 1)
    return size


def _weigh_text(text: str) -> int:
    """Return the bytes of memory of the characters of a text."""
    if text.isascii():
        return len(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _NeedsChange from None
    return getsizeof(text)


def _changed(value: object, what: str, room: int) -> Value:
    """Return a value with what must be changed in it; `_weigh` checks the rest."""
    if isinstance(value, str):
        return carried_text(value)
    if isinstance(value, int) and not isinstance(value, bool) and not _LEAST <= value <= _MOST:
        try:
            return float(value)
        except OverflowError:
            raise _unfit(what, "a number is larger than JSON clients can read") from None
    if isinstance(value, (dict, list)) and not room:
        raise _too_deep(what)
    if isinstance(value, list):
        return [_changed(item, what, room - 1) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {
            carried_text(key) if isinstance(cast("object", key), str) else key: _changed(item, what, room - 1)
            for key, item in items
        }
    return cast("Value", value)


def _unfit(what: str, reason: str) -> RefusedError:
    return bad_request(f"unable to store {what}; {reason}")


def _too_deep(what: str) -> RefusedError:
    return _unfit(what, f"it nests more than {MAX_DEPTH} objects and lists in one another")
