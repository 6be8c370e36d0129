"""What JavaScript may hold and a channel does not carry: halves of characters, and NaN.

JavaScript cuts text between the two halves of a pair of surrogates, and shows a half alone as U+FFFD. UTF-8
carries no halves, and JSON no NaN.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

_write: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_HALVES: Final = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    r"""Join the halves of characters; a half alone becomes U+FFFD.

    Args:
        text: Any text.

    Returns:
        A text that UTF-8 can carry; the same object if it is one.

    Example:
        >>> well_formed("\ud83d\ude00 \ud83d")
        '😀 �'
    """
    if text.isascii() or _HALVES.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def whole_characters(text: str) -> tuple[str, str]:
    """Take text as far as its characters are whole.

    Args:
        text: A piece of a longer text.

    Returns:
        The well-formed text, and the half of a character at its end, which the next piece may complete; empty
        if there is none.
    """
    if text.isascii() or not "\ud800" <= text[-1] <= "\udbff":
        return well_formed(text), ""
    return well_formed(text[:-1]), text[-1]


def carried(data: object) -> object:
    """Return a payload as JavaScript would send it: NaN is null, and half a character is U+FFFD.

    Args:
        data: Any value.

    Returns:
        The same object if it can be sent as it is, or not at all.
    """
    if isinstance(data, str):
        return well_formed(data)
    if not isinstance(data, float | Mapping | list | tuple):
        return data
    value = cast("object", data)
    try:
        text = _write(value)
    except (ValueError, RecursionError):  # NaN, say
        text = None
    except TypeError:
        return value
    if text is not None and (text.isascii() or _HALVES.search(text) is None):
        return value
    try:
        return _carried(value)
    except RecursionError:
        return value


def _carried(data: object) -> object:
    if isinstance(data, str):
        return well_formed(data)
    if isinstance(data, float):
        return data if math.isfinite(data) else None
    if isinstance(data, Mapping):
        entries = cast("Mapping[object, object]", data)
        return {_carried(key): _carried(value) for key, value in entries.items()}
    if isinstance(data, list | tuple):
        return [_carried(item) for item in cast("Sequence[object]", data)]
    return data


def carried_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Copy headers. Half a character in a value is U+FFFD."""
    try:
        if "".join(headers.values()).isascii():
            return dict(headers)
    except TypeError:  # the channel refuses it
        return dict(headers)
    return {name: well_formed(value) for name, value in headers.items()}
