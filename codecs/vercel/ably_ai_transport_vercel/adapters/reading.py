"""Lenient reads of a provider's events, which may hold any JSON."""

import math
from collections.abc import Mapping
from typing import Final, TypeAlias, cast

from ably_ai_transport import AITransportError, ErrorCode

Event: TypeAlias = Mapping[str, object]
"""An event of a provider's stream, as plain JSON."""

_LARGEST_INDEX: Final = 2**53 - 1


def type_of(event: Event) -> str:
    """Return the type of an event.

    Raises:
        AITransportError: It has none (40003).
    """
    kind = event.get("type")
    if isinstance(kind, str):
        return kind
    raise AITransportError(
        "unable to read a model's stream; an event has no type"
        " (pass the stream of OpenAI's Responses or of Anthropic's messages)",
        ErrorCode.INVALID_ARGUMENT,
    )


def map_at(event: Event, key: str) -> Event:
    """Return an object inside an event; an empty one if there is none."""
    value = event.get(key)
    return cast("Event", value) if isinstance(value, dict) else {}


def text_at(event: Event, key: str) -> str:
    """Return a text inside an event; an empty one if there is none."""
    value = event.get(key)
    return value if isinstance(value, str) else ""


def maps_at(event: Event, key: str) -> list[Event]:
    """Return the objects of a list inside an event."""
    value = event.get(key)
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Event", one) for one in listed if isinstance(one, dict)]


def index_at(event: Event, key: str) -> int:
    """Return a position inside an event; 0 if there is none.

    Raises:
        AITransportError: It is not a whole number from 0 to 2^53 - 1 (40003).
    """
    value = event.get(key)
    if value is None:
        return 0
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_INDEX:
        raise AITransportError(
            f"unable to read a model's stream; '{key}' is no position: {type(value).__name__}"
            " (give a whole number from 0)",
            ErrorCode.INVALID_ARGUMENT,
        )
    return value


def renamed(event: Event, names: Mapping[str, str]) -> dict[str, object]:
    """Copy some values of an object under other names. Absent and null values are left out."""
    return {new: event[old] for old, new in names.items() if event.get(old) is not None}


def model_failed(error: Event) -> AITransportError:
    """Build the error for a failure that a model reported.

    Args:
        error: Its ``message`` and ``code``.

    Returns:
        The error (104008).
    """
    reason = text_at(error, "message") or text_at(error, "code") or "no reason given"
    return AITransportError(f"unable to answer; the model failed: {reason}", ErrorCode.STREAM_ERROR)
