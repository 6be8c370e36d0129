"""Tests of each kind of row, in both directions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import pytest

from ably_ai_transport.codec import (
    BatchRow,
    BoolField,
    Data,
    DropRow,
    EncodeContext,
    EventRow,
    InputRow,
    PartRow,
    Payload,
    Rebuilt,
    SignalRow,
    StreamRow,
    StreamState,
    StrField,
    UserMessage,
    Values,
    WriteOptions,
)
from ably_ai_transport.wire import AITransportError, ErrorCode, Headers, InboundMessage
from tests.codec.fake_channel import FakeChannel
from tests.support.table_codecs import Event, ListCodec, codec_of, outputs_of, publish

TEXT = StreamRow("text", "open", "more", "close", "text", "id", (StrField("id"), StrField("lang")), ("id",))
ANY = Data(lambda values: values.get("data"), lambda data: {"data": data})


async def test_write_options_reach_discrete_messages_and_streams() -> None:
    codec = codec_of([TEXT, EventRow("note")])

    channel = await publish(codec, {"type": "open", "id": "1"}, {"type": "note"})

    for message in channel.history:
        assert message.transport_headers["x"] == "y"
        assert message.transport_headers["codec-message-id"] == "m"


async def test_deltas_repeat_the_fields_that_they_are_told_to() -> None:
    codec = codec_of([TEXT])

    channel = await publish(
        codec, {"type": "open", "id": "1", "lang": "nl"}, {"type": "more", "id": "1", "text": "ja"}
    )

    assert outputs_of(codec, channel.seen_from(0)) == [
        {"type": "open", "id": "1", "lang": "nl"},
        {"type": "more", "id": "1", "text": "ja"},
    ]


async def test_an_own_row_goes_before_a_wildcard_and_a_drop_too() -> None:
    codec = codec_of([EventRow("x-*", data=ANY), EventRow("x-y"), DropRow("x-z")])

    channel = await publish(
        codec, {"type": "x-y", "data": 1}, {"type": "x-z", "data": 2}, {"type": "x-w", "data": 3}
    )

    assert outputs_of(codec, channel.history) == [{"type": "x-y"}, {"type": "x-w", "data": 3}]


async def test_streams_may_share_a_start_and_leave_some_to_an_event() -> None:
    def wanted(mood: str) -> StreamRow:
        return StreamRow(
            mood,
            "open",
            f"{mood}-more",
            f"{mood}-close",
            "text",
            lambda values: f"{mood}:{values.get('id')}",
            (StrField("id"), StrField("mood")),
            starts=lambda values: values.get("mood") == mood,
        )

    codec = codec_of([wanted("glad"), wanted("sad"), EventRow("open", (StrField("mood"),))])

    channel = await publish(
        codec,
        {"type": "open", "id": "1", "mood": "sad"},
        {"type": "open", "id": "1", "mood": "glad"},
        {"type": "open", "mood": "none"},
    )

    kinds = [message.codec_headers["kind"] for message in channel.history]
    assert kinds == ["sad", "glad", "open"]
    assert [m.transport_headers.get("stream-id") for m in channel.history] == ["sad:1", "glad:1", None]


async def test_some_events_are_ephemeral() -> None:
    codec = codec_of([EventRow("ping", (BoolField("now"),), ephemeral=lambda values: values["now"] is True)])

    channel = await publish(codec, {"type": "ping", "now": True}, {"type": "ping", "now": False})

    assert [m.extras.get("ephemeral") for _, m in channel.sent] == [True, None]
    assert [m.codec_headers["now"] for m in channel.history] == ["false"]


async def test_hatches_of_an_event() -> None:
    async def encode(values: Values, context: EncodeContext) -> None:
        headers = context.headers(values, ("a",))
        payload = Payload(context.name, [context.message_id], headers)
        await context.core.publish_discrete(payload, context.options)

    def decode(payload: Payload) -> Iterable[Rebuilt]:
        return [("pair", {"n": 1}), ("other", {"data": payload.data})]

    codec = codec_of([EventRow("pair", (StrField("a"), StrField("b")), encode=encode, decode=decode)])

    channel = await publish(codec, {"type": "pair", "a": "1", "b": "2"}, message_id="own")

    assert channel.history[0].codec_headers == {"kind": "pair", "a": "1"}
    assert outputs_of(codec, channel.history) == [
        {"type": "pair", "n": 1},
        {"type": "other", "data": ["own"]},
    ]


async def test_hatches_of_a_stream() -> None:
    async def encode_end(values: Values, context: EncodeContext) -> None:
        await context.core.append_stream("1", "!")
        await context.core.close_stream("1", Payload(context.name, "", {"last": "yes"}))

    def decode_delta(stream: StreamState, delta: str) -> Iterable[Rebuilt]:
        return [("more", {"text": delta.upper(), "stream": stream.stream_id})]

    def decode_end(stream: StreamState, closing: Headers) -> Iterable[Rebuilt]:
        return [("close", {"text": stream.text, "last": closing.get("last")})]

    def decode_discrete(payload: Payload) -> Iterable[Rebuilt]:
        return [("open", {}), ("close", {"text": payload.data})]

    row = StreamRow(
        "text",
        "open",
        "more",
        "close",
        "text",
        "id",
        encode_end=encode_end,
        decode_delta=decode_delta,
        decode_end=decode_end,
        decode_discrete=decode_discrete,
    )
    codec = codec_of([row, EventRow("text-*")])

    channel = await publish(
        codec, {"type": "open", "id": "1"}, {"type": "more", "id": "1", "text": "a"}, {"type": "close"}
    )

    assert outputs_of(codec, channel.history) == [
        {"type": "open"},
        {"type": "more", "text": "A!", "stream": "1"},
        {"type": "close", "text": "a!", "last": "yes"},
    ]
    whole = InboundMessage(
        name="ai-output", data="all", serial="1", extras={"ai": {"codec": {"kind": "text"}}}
    )
    assert outputs_of(codec, [whole]) == [{"type": "open"}, {"type": "close", "text": "all"}]


def test_a_stream_in_one_piece_is_ignored_unless_a_row_knows_better() -> None:
    whole = InboundMessage(
        name="ai-output", data="all", serial="1", extras={"ai": {"codec": {"kind": "x-text"}}}
    )
    row = StreamRow("x-text", "open", "more", "close", "text", "id")

    assert outputs_of(codec_of([row]), [whole]) == []
    assert outputs_of(codec_of([row, EventRow("x-*", data=ANY)]), [whole]) == [
        {"type": "x-text", "data": "all"}
    ]


@pytest.mark.parametrize("name", ["ai-input", "other", None])
def test_streams_under_another_name_are_no_outputs(name: str | None) -> None:
    extras = {"ai": {"transport": {"stream": "true", "stream-id": "1"}, "codec": {"kind": "text"}}}
    closing = {"ai": {"transport": {"stream": "true", "status": "complete"}, "codec": {"kind": "text"}}}
    codec = codec_of([TEXT], [SignalRow("text")])
    decoder = codec.create_decoder()

    for message in (
        InboundMessage(name=name, data="", serial="1", version="1", extras=extras),
        InboundMessage(name=name, data="more", serial="1", version="2", extras=closing),
    ):
        decoded = decoder.decode(message)
        assert not decoded.inputs
        assert not decoded.outputs


@pytest.mark.parametrize("name", ["other", None, ""])
def test_messages_under_another_name_are_ignored(name: str | None) -> None:
    message = InboundMessage(name=name, serial="1", extras={"ai": {"codec": {"kind": "note"}}})

    assert outputs_of(codec_of([EventRow("note")]), [message]) == []


async def test_a_rewritten_stream_replaces() -> None:
    codec = codec_of([TEXT])
    channel = await publish(codec, {"type": "open", "id": "1"}, {"type": "more", "id": "1", "text": "wrong"})
    decoder = codec.create_decoder()
    for message in channel.seen_from(0):
        assert not decoder.decode(message).replaces
    (latest,) = channel.history

    rewritten = InboundMessage(latest.action, latest.name, "right", latest.serial, "9", extras=latest.extras)

    decoded = decoder.decode(rewritten)
    assert decoded.replaces
    assert decoded.outputs == [{"type": "open", "id": "1"}, {"type": "more", "id": "1", "text": "right"}]


async def test_unknown_outputs_are_refused_at_the_source() -> None:
    codec = codec_of([TEXT])

    mistakes: list[tuple[Event, str]] = [
        ({"type": "other"}, "no row for 'other'"),
        ({"kind": "open"}, "type is missing"),
        (cast("Event", "text"), "type is missing"),
        ({"type": "open", "id": 5}, "'id' is not a string"),
        ({"type": "more", "id": "1", "text": None}, "'text' is not a string"),
    ]
    for event, reason in mistakes:
        with pytest.raises(AITransportError, match=reason) as caught:
            await publish(codec, event)
        assert caught.value.code == ErrorCode.INVALID_ARGUMENT


# Inputs


@dataclass(frozen=True)
class Vote:
    codec_message_id: str
    payload: Mapping[str, object]
    kind: str = "vote"


async def say(codec: ListCodec, event: object) -> FakeChannel:
    channel = FakeChannel()
    await codec.create_encoder(channel).publish_input(event, WriteOptions(message_id="m"))
    return channel


async def test_inputs_of_ones_own() -> None:
    codec = codec_of(inputs=[InputRow("vote", (StrField("for"),), ANY, build=Vote)])

    channel = await say(codec, Vote("m", {"for": "x", "data": [1]}))

    (message,) = channel.history
    assert (message.name, message.data) == ("ai-input", [1])
    assert codec.create_decoder().decode(message).inputs == (Vote("m", {"for": "x", "data": [1]}),)


def parts(event: object) -> Iterable[Values]:
    return cast("Iterable[Values]", cast("UserMessage[object]", event).message)


NOTHING: list[Values] = []
BATCH = BatchRow(
    "user-message",
    explode=parts,
    parts=(PartRow("line", data=ANY), PartRow("x-*", (StrField("of"),))),
    assemble=lambda part, payload: (part, payload.transport_headers["codec-message-id"]),
    discriminator="is",
)


async def test_parts_without_a_row_stay_behind() -> None:
    codec = codec_of(inputs=[BATCH])
    event = UserMessage(
        [{"is": "line", "data": "a"}, {"is": "unknown"}, {"no": "kind"}, {"is": "x-y", "of": "z"}]
    )

    channel = await say(codec, event)

    decoder = codec.create_decoder()
    assert [decoder.decode(message).inputs for message in channel.history] == [
        (({"is": "line", "data": "a"}, "m"),),
        (({"is": "x-y", "of": "z"}, "m"),),
    ]


async def test_a_batch_of_nothing_is_one_message_that_says_nothing() -> None:
    codec = codec_of(inputs=[BATCH])

    channel = await say(codec, UserMessage(NOTHING))

    assert [message.codec_headers for message in channel.history] == [{"kind": "user-message"}]
    assert not codec.create_decoder().decode(channel.history[0]).inputs


def test_a_codec_makes_the_inputs_that_its_tables_have() -> None:
    codec = codec_of(inputs=[BATCH])

    assert codec.create_user_message("hi") == UserMessage("hi")
    for make, what in (
        (lambda: codec.create_regenerate("t", "p"), "regenerates"),
        (lambda: codec.create_tool_result("m", {}), "tool results"),
        (lambda: codec.create_tool_result_error("m", {}), "tool result errors"),
        (lambda: codec.create_tool_approval_response("m", {}), "tool approvals"),
    ):
        with pytest.raises(AITransportError, match=f"has no {what}"):
            make()
