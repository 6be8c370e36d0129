"""Every kind of chunk: published, read back, the same."""

from typing import cast

import pytest
from ably_ai_transport_vercel import UIMessageChunk

from ably_ai_transport.codec import EncoderOptions, WriteOptions
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, InvalidArgumentError
from tests.codec.fake_channel import FakeChannel
from tests.support.ui_messages import CODEC, Follower

META: dict[str, object] = {"provider": {"cached": True, "tokens": 12, "note": "é\u2028"}}
ANY_JSON: dict[str, object] = {"null": None, "nested": [[], {"a": [1, 2.5]}], "big": 2**60, "text": "日本"}


def chunk(**values: object) -> UIMessageChunk:
    return cast("UIMessageChunk", values)


DISCRETE = [
    chunk(type="start"),
    chunk(type="start", messageId="own", messageMetadata=ANY_JSON),
    chunk(type="start-step"),
    chunk(type="finish-step"),
    chunk(type="finish", finishReason="stop"),
    chunk(type="finish", finishReason="tool-calls", messageMetadata={"tokens": 3}),
    chunk(type="message-metadata", messageMetadata=[1, "two"]),
    chunk(type="error", errorText="out of luck"),
    chunk(type="abort"),
    chunk(type="abort", reason="enough"),
    chunk(type="file", url="data:,x", mediaType="text/plain", providerMetadata=META),
    chunk(type="source-url", sourceId="s", url="https://a.example"),
    chunk(type="source-url", sourceId="s", url="https://a.example", title="A", providerMetadata=META),
    chunk(type="source-document", sourceId="s", mediaType="a/b", title="T", filename="t.pdf"),
    chunk(type="tool-input-error", toolCallId="c", toolName="t", errorText="bad", input=ANY_JSON),
    chunk(type="tool-input-error", toolCallId="c", toolName="t", errorText="bad", dynamic=True, title="T"),
    chunk(type="tool-output-available", toolCallId="c", output=ANY_JSON),
    chunk(type="tool-output-available", toolCallId="c", output=None, preliminary=True, dynamic=False),
    chunk(type="tool-output-error", toolCallId="c", errorText="broke", providerExecuted=True),
    chunk(type="tool-output-denied", toolCallId="c"),
    chunk(type="tool-approval-request", toolCallId="c", approvalId="a"),
    chunk(type="data-weather", data=ANY_JSON),
    chunk(type="data-weather", id="w", data="sunny", transient=False),
]
STREAMED = [
    [
        chunk(type="text-start", id="t", providerMetadata=META),
        chunk(type="text-delta", id="t", delta="Hello "),
        chunk(type="text-delta", id="t", delta="wörld"),
        chunk(type="text-end", id="t", providerMetadata=META),
    ],
    [
        chunk(type="reasoning-start", id="t"),
        chunk(type="reasoning-delta", id="t", delta="hm"),
        chunk(type="reasoning-end", id="t"),
    ],
    [
        chunk(type="tool-input-start", toolCallId="c", toolName="t", dynamic=True, title="T"),
        chunk(type="tool-input-delta", toolCallId="c", inputTextDelta='{"a":'),
        chunk(type="tool-input-delta", toolCallId="c", inputTextDelta="[1.5,null]}"),
        chunk(type="tool-input-available", toolCallId="c", toolName="t", input={"a": [1.5, None]}),
    ],
    [
        chunk(type="tool-input-start", toolCallId="c", toolName="t"),
        chunk(type="tool-input-delta", toolCallId="c", inputTextDelta="no json"),
        chunk(type="tool-input-available", toolCallId="c", toolName="t", input="no json"),
    ],
    [
        chunk(type="tool-input-start", toolCallId="c", toolName="t"),
        chunk(type="tool-input-available", toolCallId="c", toolName="t"),
    ],
]
FRAME = [chunk(type="start"), chunk(type="start-step")]


async def publish(chunks: list[UIMessageChunk], options: EncoderOptions | None = None) -> FakeChannel:
    channel = FakeChannel()
    encoder = CODEC.create_encoder(channel, options)
    for item in chunks:
        await encoder.publish_output(item, WriteOptions(message_id="m"))
    await encoder.close()
    return channel


def codec_headers(message: InboundMessage) -> dict[str, str]:
    return dict(message.codec_headers)


@pytest.mark.parametrize("item", DISCRETE, ids=lambda item: str(item["type"]))
async def test_a_discrete_chunk_is_read_back(item: UIMessageChunk) -> None:
    channel = await publish([item])

    assert Follower().read(channel.seen_from(0)).outputs == [item]


@pytest.mark.parametrize("stream", STREAMED, ids=lambda stream: str(stream[0]["type"]))
async def test_streamed_chunks_are_read_back(stream: list[UIMessageChunk]) -> None:
    channel = await publish([*FRAME, *stream])

    assert Follower().read(channel.seen_from(0)).outputs == [*FRAME, *stream]


async def test_a_whole_tool_input_is_read_back_with_the_start_that_it_implies() -> None:
    whole = chunk(
        type="tool-input-available", toolCallId="c", toolName="t", input=[1], dynamic=True, title="T"
    )

    channel = await publish([*FRAME, whole])

    start = chunk(type="tool-input-start", toolCallId="c", toolName="t", dynamic=True, title="T")
    available = chunk(type="tool-input-available", toolCallId="c", toolName="t", input=[1])
    assert Follower().read(channel.seen_from(0)).outputs == [*FRAME, start, available]


async def test_headers_are_written_as_javascript_writes_them() -> None:
    metadata = {"f": 1.0, "small": 1e-7, "s": 'é"\n', "n": None}

    (message,) = (await publish([chunk(type="message-metadata", messageMetadata=metadata)])).history

    assert codec_headers(message) == {
        "kind": "message-metadata",
        "messageMetadata": '{"f":1,"small":1e-7,"s":"é\\"\\n","n":null}',
    }


async def test_a_start_without_id_takes_the_encoders() -> None:
    channel = await publish([chunk(type="start")], EncoderOptions(message_id="fallback"))

    assert codec_headers(channel.history[0])["messageId"] == "fallback"


async def test_transient_data_stays_out_of_history() -> None:
    channel = await publish([chunk(type="data-x", data=1, transient=True), chunk(type="data-x", data=1)])

    assert [message.extras.get("ephemeral") for _, message in channel.sent] == [True, None]
    assert [message.serial for message in channel.history] == list(channel.messages)[1:]


async def test_an_unknown_finish_reason_reads_as_stop() -> None:
    channel = await publish([chunk(type="finish", finishReason="exhausted")])

    assert codec_headers(channel.history[0])["finishReason"] == "exhausted"
    assert Follower().read(channel.history).outputs == [chunk(type="finish", finishReason="stop")]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (chunk(type="custom"), "no row for 'custom'"),
        (chunk(id="x"), "type is missing"),
        (chunk(type="text-start"), "'id' is not a string"),
        (chunk(type="text-delta", id="t"), "'delta' is not a string"),
        (chunk(type="text-delta", id="t", delta="x"), "no active stream 't'"),
        (chunk(type="start", messageMetadata={"at": object()}), "header 'messageMetadata'"),
    ],
)
async def test_what_cannot_be_written_is_refused(item: UIMessageChunk, reason: str) -> None:
    with pytest.raises(AITransportError, match=reason) as caught:
        await publish([item])

    assert caught.value.code == ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("error", {"no": "text"}, {"errorText": ""}),
        ("tool-output-available", "no object", {"toolCallId": ""}),
        ("tool-output-error", {"errorText": 5}, {"toolCallId": "", "errorText": ""}),
        (
            "tool-input-error",
            {"errorText": 5, "input": 1},
            {"toolCallId": "", "toolName": "", "errorText": ""},
        ),
        ("file", None, {"mediaType": "", "url": ""}),
    ],
)
def test_malformed_payloads_read_as_empty(kind: str, data: object, expected: dict[str, object]) -> None:
    message = InboundMessage(
        name="ai-output", data=data, serial="1", extras={"ai": {"transport": {}, "codec": {"kind": kind}}}
    )

    assert CODEC.create_decoder().decode(message).outputs == [chunk(type=kind, **expected)]


@pytest.mark.parametrize("codec_tier", [{}, {"kind": "custom"}, {"kind": "text"}, {"kind": ""}])
def test_unknown_kinds_are_ignored(codec_tier: dict[str, str]) -> None:
    message = InboundMessage(
        name="ai-output", data="x", serial="1", extras={"ai": {"transport": {}, "codec": codec_tier}}
    )

    assert not CODEC.create_decoder().decode(message).outputs


def test_the_kind_is_read_where_earlier_releases_wrote_it() -> None:
    message = InboundMessage(
        name="ai-output",
        data="",
        serial="1",
        extras={"ai": {"transport": {}, "codec": {"type": "start-step"}}},
    )

    assert CODEC.create_decoder().decode(message).outputs == [{"type": "start-step"}]


@pytest.mark.parametrize("value", [{"a": [1, None]}, {}, "text", None, [], 0])
@pytest.mark.parametrize("late", [False, True])
async def test_the_input_of_a_call_without_deltas_is_kept(value: object, late: bool) -> None:
    channel = await publish(
        [
            chunk(type="tool-input-start", toolCallId="c", toolName="t"),
            chunk(type="tool-input-available", toolCallId="c", toolName="t", input=value),
        ]
    )
    follower = Follower().read(channel.history if late else channel.seen_from(0))
    [message] = follower.messages().values()
    assert message["parts"][-1] == {
        "type": "tool-t",
        "toolCallId": "c",
        "state": "input-available",
        "input": value,
    }


async def test_the_input_of_a_call_is_sent_once() -> None:
    channel = await publish(
        [
            chunk(type="tool-input-start", toolCallId="c", toolName="t"),
            chunk(type="tool-input-delta", toolCallId="c", inputTextDelta='{"a":1}'),
            chunk(type="tool-input-available", toolCallId="c", toolName="t", input={"a": 1}),
        ]
    )
    assert channel.texts() == ['{"a":1}', ""]


async def test_an_input_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="no JSON form"):
        await publish(
            [
                chunk(type="tool-input-start", toolCallId="c", toolName="t"),
                chunk(type="tool-input-available", toolCallId="c", toolName="t", input={1}),
            ]
        )


async def test_a_second_input_of_a_streamed_call_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    channel = FakeChannel()
    encoder = CODEC.create_encoder(channel)
    start = chunk(type="tool-input-start", toolCallId="c", toolName="t")
    first = chunk(type="tool-input-available", toolCallId="c", toolName="t", input={"a": 1})
    second = chunk(type="tool-input-available", toolCallId="c", toolName="t", input={"a": 2})
    for item in (start, first, second):
        await encoder.publish_output(item)
    assert len(channel.history) == 1
    assert "a second input of tool call 'c' is left out" in caplog.text
    # A call that begins again has a new input.
    for item in (start, second):
        await encoder.publish_output(item)
    assert [message.data for message in channel.history] == ['{"a":1}', '{"a":2}']
