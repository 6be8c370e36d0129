"""JSON text, byte for byte as JavaScript peers write it.

``json.dumps`` prints floats (``1.0``, ``1e-05``) and lone surrogates in another way than ``JSON.stringify``.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NoReturn, cast

_quote = json.JSONEncoder(ensure_ascii=False).encode
_SURROGATE = re.compile("[\ud800-\udfff]")


def _string(text: str) -> str:
    quoted = _quote(text)
    if _SURROGATE.search(quoted) is None:
        return quoted
    # Two halves of a pair are one character in JavaScript; a lone half is written as an escape.
    whole = quoted.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return _SURROGATE.sub(lambda match: f"\\u{ord(match.group()):04x}", whole)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "null"
    if value == 0:
        return "0"
    if abs(value) >= 2**53 and abs(value) < 1e21:
        # JavaScript rounds the last digits, since it has no integers. All digits read back as the same number
        # on both sides.
        return str(int(value))
    # Both languages print the fewest digits that read back the same, but place the point differently.
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    shown = "".join(map(str, digits))
    point = len(shown) + int(exponent)
    if len(shown) <= point <= 21:
        text = shown + "0" * (point - len(shown))
    elif 0 < point <= 21:
        text = f"{shown[:point]}.{shown[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + shown
    else:
        mantissa = shown[0] + (f".{shown[1:]}" if len(shown) > 1 else "")
        text = f"{mantissa}e{point - 1:+d}"
    return f"-{text}" if sign else text


def _write(value: object, out: Callable[[str], None]) -> None:
    if isinstance(value, str):
        out(_string(value))
    elif value is None:
        out("null")
    elif isinstance(value, bool):
        out("true" if value else "false")
    elif isinstance(value, int):
        out(int.__repr__(value))
    elif isinstance(value, float):
        out(_number(value))
    elif isinstance(value, Mapping):
        separator = "{"
        for key, item in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str):
                raise TypeError(f"a key is {type(key).__name__}, not str")
            out(separator + _string(key) + ":")
            _write(item, out)
            separator = ","
        out("{}" if separator == "{" else "}")
    elif isinstance(value, list | tuple):
        separator = "["
        for item in cast("list[object]", value):
            out(separator)
            _write(item, out)
            separator = ","
        out("[]" if separator == "[" else "]")
    else:
        raise TypeError(f"{type(value).__name__} has no JSON form")


def dump_json(value: object) -> str:
    """Write a value as ``JSON.stringify`` would.

    Args:
        value: Strings, numbers, booleans, None, and mappings and lists of them.

    Returns:
        Compact JSON. Integers keep all their digits; NaN and the infinities become ``null``.

    Raises:
        TypeError: Something in the value has no JSON form.
        ValueError: The value is nested too deeply, or contains itself.

    Example:
        >>> dump_json({"n": 1.0, "s": "é"})
        '{"n":1,"s":"é"}'
    """
    parts: list[str] = []
    try:
        _write(value, parts.append)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return "".join(parts)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def parse_json(text: str) -> object:
    """Read JSON as ``JSON.parse`` would.

    Args:
        text: The JSON.

    Returns:
        Its value.

    Raises:
        ValueError: It is not JSON, or nested too deeply.
    """
    try:
        return cast("object", json.loads(text, parse_constant=_refuse))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
