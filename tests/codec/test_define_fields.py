"""Header fields, and JSON as JavaScript writes it."""

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.codec import (
    BoolField,
    EnumField,
    Field,
    JsonField,
    StrField,
    dump_json,
    parse_json,
    read_fields,
    write_fields,
)
from ably_ai_transport.wire import AITransportError, ErrorCode


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        ([], "[]"),
        ({}, "{}"),
        ({"a": [1, {"b": None}], "c": False}, '{"a":[1,{"b":null}],"c":false}'),
        ((1, "x"), '[1,"x"]'),
        (2**64, "18446744073709551616"),
        (-0.0, "0"),
        (1.0, "1"),
        (-2.5, "-2.5"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (1e-7, "1e-7"),
        (123456.75, "123456.75"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (-1.25e300, "-1.25e+300"),
        (5e-324, "5e-324"),
        (2.0**53, "9007199254740992"),
        (float("nan"), "null"),
        (float("-inf"), "null"),
        ('é"\\/\b\f\n\r\t\x01\x7f\u2028😀', '"é\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\u2028😀"'),
        ("\ud83d\ude00", '"😀"'),
        ("a\ud800b", '"a\\ud800b"'),
        ({"\udc00": 1}, '{"\\udc00":1}'),
    ],
)
def test_json_is_written_as_javascript_writes_it(value: object, text: str) -> None:
    assert dump_json(value) == text


JSON: st.SearchStrategy[object] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@given(JSON)
def test_json_is_read_back_exactly(value: object) -> None:
    text = dump_json(value)

    assert parse_json(text) == value
    assert json.loads(text) == value


def circle() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a": b"x"}, [{1, 2}], circle()])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        dump_json(value)

    with pytest.raises(AITransportError, match="unable to write header 'meta'") as caught:
        JsonField("meta").write({}, value)
    assert caught.value.code == ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "[" * 100_000, "'a'"])
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text)

    assert JsonField("meta").read({"meta": text}) is None


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        (StrField("k"), "", ""),
        (StrField("k", "fallback"), "é", "é"),
        (BoolField("k"), True, "true"),
        (BoolField("k", default=True), False, "false"),
        (EnumField("k", ("a", "b"), "a"), "b", "b"),
        (JsonField("k"), {"a": 1.0}, '{"a":1}'),
        (JsonField("k"), False, "false"),
    ],
)
def test_a_field_reads_what_it_writes(field: Field, value: object, text: str) -> None:
    headers: dict[str, str] = {}
    field.write(headers, value)

    assert headers == {"k": text}
    assert field.read(headers) == value


@pytest.mark.parametrize(
    ("field", "default"),
    [
        (StrField("k"), None),
        (StrField("k", ""), ""),
        (BoolField("k"), None),
        (BoolField("k", default=False), False),
        (EnumField("k", ("a",)), None),
        (EnumField("k", ("a",), "a"), "a"),
        (JsonField("k"), None),
    ],
)
def test_an_absent_header_reads_as_the_default(field: Field, default: object) -> None:
    assert field.read({}) == default
    assert read_fields((field,), {}) == ({} if default is None else {"k": default})


def test_values_of_another_type_leave_the_header_off() -> None:
    headers: dict[str, str] = {}
    for field in (StrField("k"), BoolField("k"), EnumField("k", ("a",))):
        field.write(headers, 5)
    JsonField("k").write(headers, None)

    assert headers == {}


def test_unknown_text_reads_leniently() -> None:
    assert EnumField("k", ("a",), "a").read({"k": "newer"}) == "a"
    assert BoolField("k").read({"k": "TRUE"}) is False


def test_only_some_fields_may_be_written() -> None:
    fields = (StrField("a"), StrField("b"), StrField("c"))
    values = cast("dict[str, object]", {"a": "1", "b": "2", "d": "4"})

    assert write_fields(fields, "row", values) == {"kind": "row", "a": "1", "b": "2"}
    assert write_fields(fields, "row", values, ("b", "c")) == {"kind": "row", "b": "2"}
