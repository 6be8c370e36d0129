"""Reading: text frames as JSON values that can be passed on and written again."""

import json
import re
from typing import Any, Final, cast

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.halves import has_halves, whole

MAX_DEPTH: Final = 100
"""The largest depth of nested values in a frame."""
_ESCAPED_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SEQUENCE: Final = re.compile(r'"seq"\s*:\s*"(?P<digits>[0-9]{1,20})"')
_FRAGMENTS: Final = frozenset(
    {"TEXT_MESSAGE_START", "TEXT_MESSAGE_PART", "MESSAGE_START", "MESSAGE_PART"},
)
"""Events with a text that may begin or end in half of a character; its other half is in the next message."""


def read_json(frame: str | bytes) -> object:
    """Read a text frame as JSON.

    Single halves of characters become U+FFFD, except in the texts of messages; see
    :class:`~ably_ai_transport_haip.protocol.text_halves.TextHalves`.

    Args:
        frame: The frame.

    Returns:
        The value.

    Raises:
        HaipProtocolError: The frame is no JSON, has a number that JSON does not know (NaN, Infinity), or is
            nested more than 100 levels deep (INVALID_MESSAGE).
    """
    try:
        text = frame if isinstance(frame, str) else frame.decode()
        value: object = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise HaipProtocolError(
            "unable to read message; it is no JSON", HaipErrorCode.INVALID_MESSAGE
        ) from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    if "\\u" in text and _ESCAPED_HALF.search(text) is not None:
        return _repair(value)
    return value


def sequence_in(frame: str | bytes) -> str | None:
    """Return the sequence number in a frame that cannot be read.

    Args:
        frame: The frame.

    Returns:
        The number as decimal digits; None if there is none.
    """
    text = frame if isinstance(frame, str) else frame.decode(errors="replace")
    found = _SEQUENCE.search(text)
    return None if found is None else found["digits"]


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for holder in level for item in _items(holder) if isinstance(item, list | dict)]
        if not level:
            return
    raise _too_deep()


def _items(holder: object) -> Any:  # noqa: ANN401 - the items of a JSON value
    return cast("dict[str, Any]", holder).values() if isinstance(holder, dict) else holder


def _too_deep() -> HaipProtocolError:
    return HaipProtocolError(
        f"unable to read message; it is nested more than {MAX_DEPTH} levels deep",
        HaipErrorCode.INVALID_MESSAGE,
    )


def _repair(value: object) -> object:
    if not isinstance(value, dict):
        return _whole(value)
    message = cast("dict[str, Any]", value)
    payload, repaired = message.get("payload"), cast("dict[str, Any]", _whole(message))
    kind = message.get("type")
    if isinstance(payload, dict) and isinstance(kind, str) and kind in _FRAGMENTS:
        text = cast("dict[str, Any]", payload).get("text")
        if isinstance(text, str) and has_halves(text):
            repaired["payload"]["text"] = text
    return repaired


def _whole(value: object) -> object:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_whole(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return {whole(key): _whole(item) for key, item in items}
    return value
