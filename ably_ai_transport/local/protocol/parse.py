"""Fields from outside: text and numbers of queries, headers, frames, bodies and tokens, within bounds.

Every entry of the server reads its fields through these functions. A field of a wrong type or out of its
bounds is refused and named; it never falls back to a default.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.protocol.refusals import RefusedError, bad_request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Refusal = Callable[[str], RefusedError]
    """Makes the error from its message."""

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer that JSON carries exactly in every language."""

_MAX_DIGITS: Final = 16
_SHOWN: Final = 40


def integer(
    value: object, name: str, low: int, high: int = MAX_INTEGER, *, refusal: Refusal = bad_request
) -> int:
    """Return a whole number of a frame, a body or a token. A float without a fraction is one, too.

    Args:
        value: The value.
        name: The name of the field, for the error.
        low: The smallest number accepted.
        high: The largest number accepted.
        refusal: Makes the error; 40000 unless given.

    Raises:
        RefusedError: It is not a whole number within the bounds.
    """
    if type(value) is int and low <= value <= high:  # every frame passes here
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise refusal(f"{name} must be a whole number from {low} to {high}, not {shown(value)}")
    return value


def integer_of(
    text: str, name: str, low: int, high: int = MAX_INTEGER, *, refusal: Refusal = bad_request
) -> int:
    """Return a whole number of a query or a header.

    Args:
        text: Its digits.
        name: The name of the field, for the error.
        low: The smallest number accepted.
        high: The largest number accepted.
        refusal: Makes the error; 40000 unless given.

    Raises:
        RefusedError: It is not a whole number within the bounds.
    """
    # int() refuses thousands of digits with an error of its own, and takes digits of any script.
    digits = text.removeprefix("-")
    number = int(text) if len(digits) <= _MAX_DIGITS and digits.isascii() and digits.isdecimal() else None
    if number is None or not low <= number <= high:
        raise refusal(f"{name} must be a whole number from {low} to {high}, not {shown(text)}")
    return number


def text(value: object, name: str, most: int | None = None, *, refusal: Refusal = bad_request) -> str:
    """Return a text of a frame, a body or a token.

    Args:
        value: The value.
        name: The name of the field, for the error.
        most: The most characters accepted; None for any number.
        refusal: Makes the error; 40000 unless given.

    Raises:
        RefusedError: It is not a text, it is too long, or it holds half a surrogate pair, which UTF-8 lacks.
    """
    if not isinstance(value, str):
        raise refusal(f"{name} must be a string, not {shown(value)}")
    if most is not None and len(value) > most:
        raise refusal(f"{name} must have at most {most} characters, not {len(value)}")
    if not is_unicode(value):
        raise refusal(f"{name} must be valid Unicode, not {shown(value)}")
    return value


def boolean(value: object, name: str, *, refusal: Refusal = bad_request) -> bool:
    """Return a boolean of a body.

    Raises:
        RefusedError: It is not one.
    """
    if not isinstance(value, bool):
        raise refusal(f"{name} must be true or false, not {shown(value)}")
    return value


def choice(value: str, name: str, options: Sequence[str], *, refusal: Refusal = bad_request) -> str:
    """Return one of a few words of a query.

    Raises:
        RefusedError: It is none of them.
    """
    if value not in options:
        raise refusal(f"{name} must be {' or '.join(options)}, not {shown(value)}")
    return value


def is_unicode(value: str) -> bool:
    """Tell whether UTF-8 can carry a text: it holds no half of a surrogate pair."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_of(value: str, name: str, *, refusal: Refusal = bad_request) -> object:
    """Parse JSON inside a field.

    Raises:
        RefusedError: It is not JSON.
    """
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise refusal(f"{name} must be JSON, not {shown(value)}") from None


def shown(value: object) -> str:
    """Return a value for an error message: short, and safe to log and to send."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        return f"a number of {value.bit_length()} bits"
    if isinstance(value, (str, bytes)):
        return ascii(value[:_SHOWN]) + ("…" if len(value) > _SHOWN else "")
    if value is None or isinstance(value, (int, float)):
        return repr(value)
    return f"a {type(value).__name__}"
