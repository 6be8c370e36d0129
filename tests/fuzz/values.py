"""Values that parsers stumble over, valid samples with changes, and their bytes on the wire."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias, cast

import msgpack
from hypothesis import strategies as st

from tests.local.raw_client import WireFormat

Json: TypeAlias = dict[str, Any]

# What no Python value can stand for is spelled, and replaced in the bytes: integers of more digits than
# Python converts, and values nested more deeply than its encoders go.
_SPELLED: Final[dict[str, tuple[bytes, bytes]]] = {
    "<5000 digits>": (b"9" * 5000, b"\xcf" + b"\xff" * 8),
    "<depth 100>": (b"[" * 100 + b"]" * 100, b"\x91" * 100 + b"\xc0"),
    "<depth 960>": (b'{"a":' * 960 + b"1" + b"}" * 960, b"\x81\xa1a" * 960 + b"\xc0"),
    "<depth 9000>": (b"[" * 9000 + b"]" * 9000, b"\x91" * 9000 + b"\xc0"),
}

TEXTS: Final = (
    "", "*", ".", "..", "/", ":", "[", "[?rewind=1]c", "[x]c", "c", "c:d", "a b", "%00", "%2e%2e", "\x00",
    "\n", "\r\n", "\ud800", "\udc00\ud800", "\ud83d\ude00", "😀", "é", "ÿ", "\ufeff", "\u2028", "٣", "²",
    "0", "1", "-1", "1e5", "0x10", "1_0", " 1", "9" * 30, "9" * 5000, "true", "null", "NaN", "{}", "[]",
    '{"a":', "json", "utf-8", "base64", "json/utf-8/base64", "AAAA", "A===", "====", "@", "!", "a" * 300,
    "😀" * 20_000, "01795209205749-000@kJ7VAZk5Dg", "01795209205749-000@kJ7VAZk5Dg:000", *_SPELLED,
)  # fmt: skip

NUMBERS: Final = (
    0, 1, -1, 2, 5, 127, 255, 1000, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1,
    10**30, 0.0, -0.0, 0.5, 1e20, 1e308, -1e-320, float("inf"), float("-inf"), float("nan"),
)  # fmt: skip

_NESTED: Final[list[Any]] = [[], {}, [[]], [{}], {"": None}, [None], {"a": [[]]}, {"*": ["*"]}]
_BYTES: Final = (b"", b"\x00", b"\xff\xfe", b"text", b"\xed\xa0\x80")

scalars: Final = st.one_of(
    st.sampled_from((None, True, False)),
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS),
    st.text(max_size=6),
    st.integers(),
)
_LIKELY: Final[tuple[Any, ...]] = (
    None, -1, 0, 2**64, -(2**70), 1e20, float("nan"), float("inf"), "", "\ud800", "<5000 digits>",
    "<depth 960>", "<depth 9000>", True, [], {}, [[]], {"a": {}}, {"a": 2**64}, {"a": float("nan")},
    {"\ud800": 1}, b"\xff",
)  # fmt: skip
"""The values that break the most parsers."""

values: Final = st.one_of(
    st.sampled_from(_LIKELY).map(copy.deepcopy),
    st.sampled_from(_LIKELY).map(copy.deepcopy),
    scalars,
    st.sampled_from(_NESTED).map(copy.deepcopy),
    st.sampled_from(_BYTES),
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3)
        ),
        max_leaves=6,
    ),
)
"""Any value, of JSON and beyond."""

texts: Final = st.sampled_from(TEXTS) | st.text(max_size=12)


numerals: Final = st.sampled_from(
    ("0", "1", "-1", "5s", "2m", "9" * 30, "9" * 5000, "²", "٣", "1e5", " 1", "1.5")
)
"""Numbers as text, and what some parsers take for it."""


@st.composite
def changed(draw: st.DrawFn, samples: Sequence[Any], *, most: int = 4) -> Any:  # noqa: ANN401 - any sample
    """Draw a valid sample, and change it in a few places."""
    value = copy.deepcopy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, most))):
        places: list[tuple[Any, Any]] = list(_places(value)) if isinstance(value, dict | list) else []
        # The last ones are the deepest: what replaces the whole is refused before much of a parser has run.
        chosen = draw(st.integers(0, len(places) + 1))
        if not places or chosen == len(places) + 1:
            value = draw(values)
            continue
        _change(draw, *places[max(0, len(places) - 1 - chosen)])
    return cast("Any", value)


def _places(container: Any) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """Find every place of a value: the dict or list that holds it, and its key."""
    items = cast("Any", container.items() if isinstance(container, dict) else enumerate(container))
    for key, value in items:
        yield container, key
        if isinstance(value, dict | list):
            yield from _places(value)


def _change(draw: st.DrawFn, container: Any, key: Any) -> None:  # noqa: ANN401
    """Change one place."""
    value = container[key]
    kind = draw(st.sampled_from(_CHANGES))
    if kind == "drop":
        del container[key]
    elif kind == "rename" and isinstance(container, dict) and key != "":
        cast("Json", container)[draw(texts)] = cast("Json", container).pop(key)
    elif kind == "again" and isinstance(container, list):
        cast("list[Any]", container).append(copy.deepcopy(value))
    elif kind == "add" and isinstance(value, dict):
        value[draw(texts)] = draw(values)
    elif kind == "text" and isinstance(value, str):
        at = draw(st.integers(0, len(value)))
        container[key] = value[:at] + draw(texts) + value[at + draw(st.integers(0, 3)) :]
    else:
        container[key] = draw(values)


_CHANGES: Final = ("replace", "replace", "replace", "text", "text", "drop", "rename", "again", "add")


@st.composite
def changed_bytes(draw: st.DrawFn, samples: Sequence[bytes]) -> bytes:
    """Draw valid bytes, and change a few of them."""
    data = bytearray(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(("flip", "cut", "insert", "end", "again"))):
            case "flip":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del data[at : at + draw(st.integers(1, 8))]
            case "insert":
                data[at:at] = draw(
                    st.binary(max_size=4) | st.sampled_from((b"\xff", b"\x00", b'"', b"{", b"[", b"\\ud800"))
                )
            case "end":
                del data[at:]
            case _:
                data += data[at : at + 40]
    return bytes(data)


def encode(value: object, format_: WireFormat) -> bytes:
    """Encode a value as a hostile peer would: what a format cannot hold is written all the same."""
    return encode_json(value) if format_ == "json" else encode_msgpack(value)


def encode_json(value: object) -> bytes:
    """Encode a value as JSON, and what JSON lacks as some peers do."""
    data = json.dumps(_with_text_keys(value), default=_latin).encode()
    return _spell_out(data, lambda text: b'"' + text.encode() + b'"', 0)


def as_json(value: object) -> Any:  # noqa: ANN401 - any JSON
    """Return a value as a peer would see it that reads it as JSON."""
    return json.loads(json.dumps(_with_text_keys(value), default=_latin))


def encode_msgpack(value: object) -> bytes:
    """Encode a value as msgpack; integers that it lacks become floats."""
    data: bytes = cast("Any", msgpack).packb(_with_small_numbers(value), unicode_errors="surrogatepass")
    return _spell_out(data, lambda text: bytes([0xA0 | len(text)]) + text.encode(), 1)


def _spell_out(data: bytes, quoted: Callable[[str], bytes], which: int) -> bytes:
    if b"<" in data:
        for name, spelled in _SPELLED.items():
            data = data.replace(quoted(name), spelled[which])
    return data


def _latin(value: object) -> object:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _with_text_keys(value: object) -> object:
    if isinstance(value, dict):
        fields = cast("dict[Any, object]", value)
        return {
            key if isinstance(key, str) else str(key): _with_text_keys(one) for key, one in fields.items()
        }
    if isinstance(value, list | tuple):
        return [_with_text_keys(one) for one in cast("list[object]", value)]
    return value


def _with_small_numbers(value: object) -> object:
    if isinstance(value, dict):
        fields = cast("dict[Any, object]", value)
        return {key: _with_small_numbers(one) for key, one in fields.items()}
    if isinstance(value, list | tuple):
        return [_with_small_numbers(one) for one in cast("list[object]", value)]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 10**300 else 1e300
    return value


def read_json(data: str | bytes) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON as strict peers do.

    Raises:
        ValueError: It is not JSON, such as NaN, or no UTF-8.
    """
    text = data if isinstance(data, str) else data.decode()
    text.encode()
    return json.loads(text, parse_constant=_refuse)


def read_msgpack(data: bytes) -> Any:  # noqa: ANN401 - any msgpack
    """Read msgpack as strict peers do.

    Raises:
        ValueError: It is not msgpack, or holds text that is no UTF-8, or a key that is no text.
    """
    return cast("Any", msgpack).unpackb(data, raw=False, strict_map_key=True)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not JSON")
