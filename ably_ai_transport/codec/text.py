"""What JavaScript may hold and a channel does not carry: halves of characters, and NaN.

JavaScript cuts text between the two halves of a pair of surrogates, and shows a half alone as U+FFFD. UTF-8
carries no halves, and JSON no NaN.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final, cast

from ably_ai_transport.wire import InvalidArgumentError

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
    if _is_plain(text):
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
        The payload; the same object if it can be sent as it is.

    Raises:
        InvalidArgumentError: It has no JSON form (40003).
    """
    if isinstance(data, str):
        return well_formed(data)
    if data is None or isinstance(data, bool | bytes | bytearray):
        return data
    try:
        if _is_plain(_write(data)):
            return data
    except ValueError:  # NaN, say
        pass
    except (TypeError, RecursionError) as error:
        raise _has_no_form(error) from error
    try:
        mended = _carried(data)
        _write(mended)
    except (TypeError, ValueError, RecursionError) as error:
        raise _has_no_form(error) from error
    return mended


def _is_plain(text: str) -> bool:
    return text.isascii() or _HALVES.search(text) is None


def _has_no_form(error: Exception) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"unable to publish; the payload has no JSON form: {type(error).__name__}", cause=error
    )


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
    """Copy headers. Half a character in a value is U+FFFD.

    Raises:
        InvalidArgumentError: A value is not text (40003).
    """
    try:
        is_ascii = "".join(headers.values()).isascii()
    except TypeError as error:
        wrong = next(name for name, value in headers.items() if not isinstance(value, str))  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(f"unable to publish; header '{wrong}' is not text", cause=error) from error
    if is_ascii:
        return dict(headers)
    return {name: well_formed(value) for name, value in headers.items()}
