"""Tests of the encoder: it writes the npm package's frames, in the order of the calls."""

import json
import logging
from collections.abc import Awaitable, Callable

import pytest

from ably_ai_transport.codec.contract import EncoderOptions, Payload, WriteOptions
from ably_ai_transport.codec.encoder import EncoderCore
from ably_ai_transport.wire import AITransportError, ErrorCode, OutboundMessage
from tests.codec.fake_channel import FakeChannel, Reader, timed
from tests.support.scripted_channel import ScriptedChannel

DEFAULTS = {"role": "assistant", "codec-message-id": "m1", "run-id": "r1"}
TEXT = {"kind": "text", "id": "t1"}


def wire(message: OutboundMessage) -> str:
    """A message as JSON, so that the order of the keys counts."""
    fields = {"name": message.name, "serial": message.serial, "data": message.data}
    present: dict[str, object] = {key: value for key, value in fields.items() if value is not None}
    return json.dumps({**present, "extras": message.extras}, separators=(",", ":"))


def stamp(message: OutboundMessage) -> None:
    """Stamp what a session stamps: a header that belongs on every message of a step."""
    message.transport_headers["step-start-serial"] = "s0"


@timed
async def test_a_streamed_answer_is_written_as_javascript_writes_it() -> None:
    """The frames of a recorded run, with its ids shortened."""
    channel = FakeChannel()
    encoder = EncoderCore(channel, EncoderOptions(headers=DEFAULTS, on_message=stamp))
    await encoder.publish_discrete(Payload("ai-output", "", {"kind": "start-step"}))
    await encoder.start_stream("t1", Payload("ai-output", "", TEXT))
    await encoder.append_stream("t1", "Hel")
    await encoder.append_stream("t1", "lo")
    await encoder.close_stream("t1", Payload("ai-output", "", TEXT))

    tier = '"role":"assistant","codec-message-id":"m1","run-id":"r1"'
    discrete = f'{tier},"stream":"false","step-start-serial":"s0"}},"codec":{{"kind":"start-step"}}}}}}}}'
    text = '"stream-id":"t1","step-start-serial":"s0"},"codec":{"kind":"text","id":"t1"}}}}'
    streaming = f'{tier},"stream":"true","status":"streaming",{text}'
    complete = f'{tier},"stream":"true","status":"complete",{text}'
    extras = '"extras":{"ai":{"transport":{'
    _, serial = channel.messages
    assert [(kind, wire(message)) for kind, message in channel.sent] == [
        ("publish", f'{{"name":"ai-output","data":"",{extras}{discrete}'),
        ("publish", f'{{"name":"ai-output","data":"",{extras}{streaming}'),
        ("append", f'{{"serial":"{serial}","data":"Hel",{extras}{streaming}'),
        ("append", f'{{"serial":"{serial}","data":"lo",{extras}{streaming}'),
        ("append", f'{{"serial":"{serial}","data":"",{extras}{complete}'),
    ]


@timed
async def test_what_a_hook_stamps_on_the_start_stays_on_the_message() -> None:
    channel = FakeChannel()

    def stamp_start(message: OutboundMessage) -> None:
        if message.name is not None:
            message.transport_headers["steer"] = "yes"

    encoder = EncoderCore(channel, EncoderOptions(on_message=stamp_start))
    await encoder.start_stream("t1", Payload("ai-output"))
    await encoder.append_stream("t1", "a")
    await encoder.close_stream("t1", Payload("ai-output"))
    assert [m.transport_headers.get("steer") for _, m in channel.sent] == ["yes"] * 3


@timed
async def test_what_a_hook_stamps_on_one_append_is_not_on_the_next() -> None:
    channel = FakeChannel()
    stamps = iter(["start", "first"])

    def stamp_some(message: OutboundMessage) -> None:
        if (value := next(stamps, None)) == "first":
            message.transport_headers["once"] = value

    encoder = EncoderCore(channel, EncoderOptions(on_message=stamp_some))
    await encoder.start_stream("t1", Payload("ai-output", "", TEXT))
    await encoder.append_stream("t1", "a")
    await encoder.append_stream("t1", "b")
    assert [m.transport_headers.get("once") for _, m in channel.sent] == [None, "first", None]


@timed
async def test_a_batch_is_one_publish_of_marked_parts() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    payloads = [Payload("ai-input", "a"), Payload("ai-input", {"url": "b"}, {"kind": "file"})]
    serials = await encoder.publish_discrete_batch(payloads, WriteOptions(message_id="m9"))
    assert len(serials) == 2
    assert serials == list(channel.messages)
    assert len(channel.futures) == 1
    transport = '{"transport":{"codec-message-id":"m9","stream":"false","discrete":"true"}'
    assert [wire(m) for _, m in channel.sent] == [
        f'{{"name":"ai-input","data":"a","extras":{{"ai":{transport}}}}}}}',
        f'{{"name":"ai-input","data":{{"url":"b"}},"extras":{{"ai":{transport},"codec":{{"kind":"file"}}}}}}}}',
    ]


@timed
async def test_an_empty_batch_is_not_published() -> None:
    channel = FakeChannel()
    assert await EncoderCore(channel).publish_discrete_batch([]) == []
    assert channel.sent == []


@timed
async def test_an_ephemeral_message_says_so_beside_the_headers() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.publish_discrete(Payload("ai-output", {"x": 1}, {"kind": "data-x"}, ephemeral=True))
    await encoder.publish_discrete(Payload("ai-output", {"x": 1}, {"kind": "data-x"}))
    assert [m.extras.get("ephemeral") for _, m in channel.sent] == [True, None]


@timed
async def test_narrower_headers_override_wider_ones() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel, EncoderOptions(headers={"a": "default", "b": "default", "c": "default"}))
    options = WriteOptions({"b": "write", "c": "write", "codec-message-id": "write"}, message_id="m2")
    await encoder.publish_discrete(Payload("ai-output", "", {}, {"c": "payload"}), options)
    assert channel.sent[0][1].transport_headers == {
        "a": "default", "b": "write", "c": "payload", "codec-message-id": "m2", "stream": "false"
    }  # fmt: skip


@timed
async def test_the_closing_append_adds_to_the_headers_of_the_start() -> None:
    """The closing append carries the encoder's defaults again, even those that the start overrode."""
    channel = FakeChannel()
    encoder = EncoderCore(channel, EncoderOptions(headers={"a": "default", "d": "default"}))
    await encoder.start_stream(
        "t1", Payload("ai-output", "", TEXT), WriteOptions({"b": "write", "d": "write"}, "m1")
    )
    await encoder.close_stream("t1", Payload("ai-output", "!", {"id": "t2", "reason": "stop"}, {"c": "end"}))
    closing = channel.sent[-1][1]
    assert closing.data == "!"
    assert closing.extras == {
        "ai": {
            "transport": {
                "a": "default", "d": "default", "b": "write", "codec-message-id": "m1", "stream": "true",
                "status": "complete", "stream-id": "t1", "c": "end",
            },
            "codec": {"kind": "text", "id": "t2", "reason": "stop"},
        }
    }  # fmt: skip


@timed
async def test_cancelling_closes_each_open_stream_once() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    for stream_id in ("a", "b", "c"):
        await encoder.start_stream(stream_id, Payload("ai-output", "", {"id": stream_id}))
    await encoder.close_stream("a", Payload("ai-output"))
    await encoder.cancel_all_streams(WriteOptions({"why": "user"}))
    await encoder.cancel_all_streams()
    ends = [m.transport_headers for kind, m in channel.sent if kind == "append"]
    assert [(h["stream-id"], h["status"], h.get("why")) for h in ends] == [
        ("a", "complete", None),
        ("b", "cancelled", "user"),
        ("c", "cancelled", "user"),
    ]


@timed
async def test_the_id_of_a_stream_that_ended_may_be_used_again() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    for text in ("one", "two"):
        await encoder.start_stream("t1", Payload("ai-output"))
        await encoder.append_stream("t1", text)
        await encoder.close_stream("t1", Payload("ai-output"))
    assert [m.data for m in channel.history] == ["one", "two"]


@timed
async def test_first_and_last_text_ride_on_start_and_end() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output", "a"))
    await encoder.close_stream("t1", Payload("ai-output", "z"))
    assert [m.data for _, m in channel.sent] == ["a", "z"]
    assert Reader().read(channel.seen_from(0)).streams() == {"t1": ("az", True)}


@timed
async def test_an_open_stream_cannot_be_started_again() -> None:
    encoder = EncoderCore(FakeChannel())
    await encoder.start_stream("t1", Payload("ai-output"))
    with pytest.raises(AITransportError, match="stream 't1' is open") as caught:
        await encoder.start_stream("t1", Payload("ai-output"))
    assert caught.value.code == ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize("serial", [None, ""])
@timed
async def test_a_start_without_a_serial_is_an_error_and_no_stream(serial: str | None) -> None:
    channel = ScriptedChannel()
    channel.answers.append([serial])
    encoder = EncoderCore(channel)
    with pytest.raises(AITransportError, match="no serial returned for stream 't1'") as caught:
        await encoder.start_stream("t1", Payload("ai-output"))
    assert caught.value.code == ErrorCode.INTERNAL_ERROR
    with pytest.raises(AITransportError, match="no active stream 't1'"):
        await encoder.append_stream("t1", "a")


@timed
async def test_a_refused_publish_is_the_callers_error() -> None:
    encoder = EncoderCore(FakeChannel(publish_outcomes=["refuse", "refuse", "refuse"]))
    payload = Payload("ai-output")
    for call in (
        encoder.publish_discrete(payload),
        encoder.publish_discrete_batch([payload]),
        encoder.start_stream("t1", payload),
    ):
        with pytest.raises(AITransportError) as caught:
            await call
        assert caught.value.code == 40160
    await encoder.close()


Call = Callable[[EncoderCore], Awaitable[object]]
CALLS: dict[str, Call] = {
    "discrete": lambda e: e.publish_discrete(Payload("ai-output")),
    "batch": lambda e: e.publish_discrete_batch([Payload("ai-output")]),
    "start": lambda e: e.start_stream("new", Payload("ai-output")),
    "append": lambda e: e.append_stream("t1", "x"),
    "close stream": lambda e: e.close_stream("t1", Payload("ai-output")),
    "cancel": lambda e: e.cancel_all_streams(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
@timed
async def test_a_closed_encoder_writes_nothing(call: Call) -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output"))
    await encoder.close()
    await encoder.close()
    with pytest.raises(AITransportError, match="the encoder has been closed") as caught:
        await call(encoder)
    assert caught.value.code == ErrorCode.SESSION_CLOSED
    assert len(channel.sent) == 1


NOT_OPEN: dict[str, Call] = {
    "append": lambda e: e.append_stream("x", "a"),
    "close stream": lambda e: e.close_stream("x", Payload("ai-output")),
}


@pytest.mark.parametrize("action", NOT_OPEN.keys())
@timed
async def test_a_stream_that_is_not_open_is_named(action: str) -> None:
    encoder = EncoderCore(FakeChannel())
    await encoder.start_stream("x", Payload("ai-output"))
    await encoder.close_stream("x", Payload("ai-output"))
    with pytest.raises(AITransportError) as caught:
        await NOT_OPEN[action](encoder)
    assert caught.value.message == f"unable to {action}; no active stream 'x'"
    assert caught.value.code == ErrorCode.INVALID_ARGUMENT


@pytest.mark.parametrize("bad", [7, b"bytes", ["a"]])
@timed
async def test_text_that_is_no_text_is_refused_before_anything_is_sent(bad: object) -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output"))
    for call in (
        encoder.append_stream("t1", bad),  # pyright: ignore[reportArgumentType]
        encoder.start_stream("t2", Payload("ai-output", bad)),
        encoder.close_stream("t1", Payload("ai-output", bad)),
    ):
        with pytest.raises(AITransportError, match="text") as caught:
            await call
        assert caught.value.code == ErrorCode.INVALID_ARGUMENT
    assert len(channel.sent) == 1
    await encoder.append_stream("t1", "\U0001f600")
    await encoder.close_stream("t1", Payload("ai-output"))
    await encoder.start_stream("t2", Payload("ai-output"))


@timed
async def test_a_hook_that_raises_is_logged_and_the_message_goes_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = FakeChannel()

    def broken(_: OutboundMessage) -> None:
        raise RuntimeError("hook is broken")

    encoder = EncoderCore(channel, EncoderOptions(on_message=broken))
    with caplog.at_level(logging.ERROR, "ably_ai_transport.codec"):
        await encoder.start_stream("t1", Payload("ai-output"))
        await encoder.append_stream("t1", "a")
        await encoder.close_stream("t1", Payload("ai-output"))
    assert Reader().read(channel.history).streams() == {"t1": ("a", True)}
    assert [record.name for record in caplog.records] == ["ably_ai_transport.codec"] * 3


@pytest.mark.parametrize("options", [EncoderOptions(append_window=0), EncoderOptions(max_append_size=3)])
def test_options_that_leave_no_room_are_refused(options: EncoderOptions) -> None:
    with pytest.raises(AITransportError) as caught:
        EncoderCore(FakeChannel(), options)
    assert caught.value.code == ErrorCode.INVALID_ARGUMENT
