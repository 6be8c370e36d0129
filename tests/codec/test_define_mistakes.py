"""Tables with mistakes are refused when the codec is built, and the error says where."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from ably_ai_transport.codec import (
    BatchRow,
    Codec,
    Data,
    DropRow,
    EncodeContext,
    EnumField,
    EventRow,
    Field,
    InputRow,
    InputTableRow,
    LeadIn,
    LifecyclePhase,
    OutputRow,
    PartRow,
    Reducer,
    SignalRow,
    StreamRow,
    StrField,
    Values,
    define_codec,
)
from ably_ai_transport.wire import AITransportError, ErrorCode

Event = dict[str, object]

REDUCER: Reducer[object, Event, None, object] = Reducer(
    lambda: None, lambda projection, event, meta: None, lambda projection: ()
)


def explode(event: object) -> list[Values]:
    return []


STREAM = StreamRow("text", "text-start", "text-delta", "text-end", "delta", "id", (StrField("id"),))
BATCH = BatchRow(
    "user-message", explode=explode, parts=(PartRow("text"),), assemble=lambda part, message: part
)
START: LifecyclePhase[Event] = LifecyclePhase("start", lambda context: [{"type": "start"}])


def build(
    outputs: Sequence[OutputRow] = (),
    inputs: Sequence[InputTableRow] = (),
    lead_in: LeadIn[Event] | None = None,
) -> Codec[object, Event, None, object]:
    return define_codec(REDUCER, outputs=outputs, inputs=inputs, lead_in=lead_in)


def refusal(*args: object) -> str:
    with pytest.raises(AITransportError) as caught:
        build(*cast("tuple[Sequence[OutputRow]]", args))
    assert caught.value.code == ErrorCode.INVALID_ARGUMENT
    assert caught.value.message.startswith("unable to define codec; ")
    return caught.value.message.removeprefix("unable to define codec; ")


async def encode_end(values: Values, context: EncodeContext) -> None: ...


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([EventRow("a"), EventRow("a")], "event kind 'a' is declared by both"),
        ([EventRow("")], "empty event kind"),
        ([EventRow("a"), DropRow("a")], "declared by both output event 'a' and dropped output 'a'"),
        ([EventRow("text"), STREAM], "wire kind 'text' is declared by both output event 'text'"),
        ([STREAM, replace(STREAM, start="s", delta="d", end="e")], "wire kind 'text'"),
        ([STREAM, replace(STREAM, kind="other", start="s", end="e")], "event kind 'text-delta'"),
        ([STREAM, EventRow("text-end")], "event kind 'text-end'"),
        ([STREAM, replace(STREAM, kind="o", start="text-end", delta="d", end="e")], "start 'text-end'"),
        ([replace(STREAM, end="text-delta")], "event kind 'text-delta'"),
        ([replace(STREAM, start="")], "output stream 'text' names no start"),
        ([replace(STREAM, text="")], "names no field for a delta's text"),
        ([replace(STREAM, stream_id="")], "has an empty stream_id"),
        ([replace(STREAM, delta_keys=("other",))], "repeats 'other' on deltas"),
        ([replace(STREAM, text="id", delta_keys=("id",))], "two uses for a delta's 'id'"),
        ([replace(STREAM, text="type")], "two uses for a delta's 'type'"),
        ([replace(STREAM, encode_end=encode_end)], "encode_end without decode_end"),
        ([replace(STREAM, kind="text-*")], "output stream 'text-*' cannot be a wildcard"),
        ([replace(STREAM, delta="text-*")], "delta 'text-*' cannot be a wildcard"),
        ([DropRow("x-*")], "dropped output 'x-*' cannot be a wildcard"),
        ([EventRow("*")], "output event '*' is not a wildcard"),
        ([EventRow("-*")], "output event '-*' is not a wildcard"),
        ([EventRow("a*b")], "output event 'a*b' is not a wildcard"),
    ],
)
def test_output_rows(rows: list[OutputRow], reason: str) -> None:
    assert reason in refusal(rows)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ((StrField("kind"),), "field 'kind'; that header names rows"),
        ((StrField("partType"),), "field 'partType'; that header names rows"),
        ((StrField("type"),), "field 'type'; that is where an event's kind stands"),
        ((StrField("a"), StrField("a")), "field 'a' is declared by both"),
        ((StrField(""),), "empty field"),
        ((EnumField("mood", ()),), "field 'mood' allows no value"),
        ((EnumField("mood", ("good",), "bad"),), "field 'mood' does not allow its default 'bad'"),
    ],
)
def test_fields_of_any_row(fields: tuple[Field, ...], reason: str) -> None:
    assert reason in refusal([EventRow("a", fields)])
    assert reason in refusal([replace(STREAM, fields=fields)])
    assert reason in refusal([], [replace(BATCH, parts=(PartRow("a", fields),))])


@pytest.mark.parametrize(
    ("storable", "reason"),
    [
        ("output", "names its storable places in a str, not in a tuple"),
        (("a..b",), "storable place with an empty key: 'a..b'"),
        (("a", "a.b"), "storable place 'a.b' inside of another one"),
        (("", "a"), "storable place 'a' inside of another one"),
        (("a", "a"), "storable place 'a' inside of another one"),
    ],
)
def test_storable_places_of_any_row(storable: tuple[str, ...], reason: str) -> None:
    data = Data(lambda values: values, lambda data: {}, storable)
    assert reason in refusal([EventRow("a", data=data)])
    assert reason in refusal([], [InputRow("tool-result", data=data)])
    assert reason in refusal([], [replace(BATCH, parts=(PartRow("a", data=data),))])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([SignalRow("a"), SignalRow("a")], "input kind 'a' is declared by both"),
        ([BATCH, BATCH], "input kind 'user-message'"),
        ([SignalRow("a-*")], "input 'a-*' cannot be a wildcard"),
        ([InputRow("custom")], "input 'custom' needs a build function"),
        ([InputRow("tool-result", (StrField("kind"),))], "input 'tool-result' has a field 'kind'"),
        ([replace(BATCH, parts=())], "input 'user-message' has no parts"),
        ([replace(BATCH, parts=(PartRow("a"), PartRow("a")))], "part kind 'a' is declared by both"),
        ([replace(BATCH, parts=(PartRow("*"),))], "part '*' is not a wildcard"),
    ],
)
def test_input_rows(rows: list[InputTableRow], reason: str) -> None:
    assert reason in refusal([], rows)


@pytest.mark.parametrize(
    ("lead_in", "reason"),
    [
        (LeadIn((START, START), {}, {}), "phase 'start' is declared by both"),
        (LeadIn((START,), {"start": "begin"}, {}), "lead-in marks 'start' names the unknown phase 'begin'"),
        (LeadIn((START,), {}, {"start": "begin"}), "lead-in resets 'start' names the unknown phase 'begin'"),
        (LeadIn((START,), {"begin": "start"}, {}), "lead-in marks names 'begin', which no row has"),
        (LeadIn((START,), {}, {}, frozenset({"end"})), "lead-in clears names 'end', which no row has"),
        (LeadIn((START,), {}, {}, needed_by=frozenset({"x"})), "lead-in needed_by names 'x'"),
    ],
)
def test_lead_ins(lead_in: LeadIn[Event], reason: str) -> None:
    assert reason in refusal([EventRow("start")], [], lead_in)


def test_what_may_be_shared() -> None:
    other = StreamRow("other", "text-start", "other-delta", "other-end", "delta", "id")
    phases = LeadIn((START,), {"text-start": "start"}, {}, needed_by=frozenset({"text"}))

    assert build([STREAM, other, EventRow("text-start"), EventRow("x-*"), EventRow("x-y"), DropRow("x-z")])
    assert build([STREAM, EventRow("text-start")], [BATCH, SignalRow("x")], phases)
