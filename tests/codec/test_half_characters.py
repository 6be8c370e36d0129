"""Text that JavaScript cut inside a character, and other values that UTF-8 and JSON cannot carry."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.codec import EncoderCore, EncoderOptions, Payload
from ably_ai_transport.codec.text import carried, carried_headers, well_formed
from ably_ai_transport.wire import InboundMessage, InvalidArgumentError, MessageAction, names
from tests.codec.fake_channel import FakeChannel, Reader, timed
from tests.support.any_json import Deep

FACE = "😀"
HIGH, LOW = "\ud83d", "\ude00"
PAYLOAD = Payload(names.AI_OUTPUT)
PIECES = st.lists(st.sampled_from(["a", "é", FACE, HIGH, LOW, HIGH + "b", "", LOW + HIGH]), max_size=8)


async def streamed(*pieces: str, first: str = "", last: str = "") -> FakeChannel:
    """Stream pieces of text."""
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t", Payload(names.AI_OUTPUT, first))
    for piece in pieces:
        await encoder.append_stream("t", piece)
    await encoder.close_stream("t", Payload(names.AI_OUTPUT, last))
    return channel


def text_of(channel: FakeChannel) -> str:
    [(text, complete)] = Reader().read(channel.seen_from(0)).streams().values()
    assert complete
    assert Reader().read(channel.history).streams() == {"t": (text, True)}
    return text


@timed
async def test_half_a_character_waits_for_the_other_half() -> None:
    channel = await streamed("Hi " + HIGH, LOW + "!")
    assert text_of(channel) == "Hi 😀!"
    assert channel.texts() == ["Hi ", "😀!", ""]


@pytest.mark.parametrize(
    ("first", "pieces", "last", "text"),
    [
        (HIGH, [LOW], "", FACE),
        ("", [HIGH], LOW, FACE),
        ("", [HIGH, "", LOW], "", FACE),
        ("", ["a" + HIGH], "", "a\ufffd"),
        ("", [HIGH, "b"], "", "\ufffdb"),
        ("", [LOW, HIGH, HIGH + LOW], HIGH, "\ufffd\ufffd😀\ufffd"),
    ],
)
@timed
async def test_a_half_alone_is_a_replacement_character(
    first: str, pieces: list[str], last: str, text: str
) -> None:
    assert text_of(await streamed(*pieces, first=first, last=last)) == text


@given(pieces=PIECES)
async def test_what_is_read_is_what_was_written(pieces: list[str]) -> None:
    channel = await streamed(*pieces)
    assert text_of(channel) == well_formed("".join(pieces))
    for _, message in channel.sent:
        str(message.data).encode()


@timed
async def test_a_stream_that_is_cancelled_loses_no_half() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t", PAYLOAD)
    await encoder.append_stream("t", "a" + HIGH)
    assert encoder.has_text("t")
    await encoder.cancel_all_streams()
    assert channel.history[0].data == "a\ufffd"


@timed
async def test_a_half_survives_a_repair() -> None:
    channel = FakeChannel(outcomes=["refuse"])
    encoder = EncoderCore(channel)
    await encoder.start_stream("t", PAYLOAD)
    await encoder.append_stream("t", "a" + HIGH)
    await encoder.flush()
    await encoder.append_stream("t", LOW)
    await encoder.close_stream("t", PAYLOAD)
    assert channel.history[0].data == "a😀"


def delivery(
    data: str, version: int, *, status: str = "streaming", action: MessageAction = MessageAction.APPEND
) -> InboundMessage:
    transport = {names.STREAM: "true", names.STREAM_ID: "t", names.STATUS: status}
    extras = {"ai": {"transport": transport}}
    return InboundMessage(action, names.AI_OUTPUT, data, serial="1", version=f"1:{version:03}", extras=extras)


@given(pieces=PIECES, at=st.integers(0, 8))
def test_a_reader_joins_the_halves_of_a_peer(pieces: list[str], at: int) -> None:
    """A late joiner gets the text so far as one update."""
    so_far = "".join(pieces[:at])
    first = delivery(so_far, 0, action=MessageAction.UPDATE)
    rest = [delivery(piece, number) for number, piece in enumerate(pieces[at:], 1)]
    end = delivery("", len(pieces) + 1, status="complete")
    text = well_formed("".join(pieces))
    reader = Reader().read([first, *rest, end])
    assert reader.streams() == {"t": (text, True)}
    # The same version again, whole, changes nothing, and so does a newer one with the same text.
    for version in (len(pieces) + 1, len(pieces) + 2):
        reader.read([delivery("".join(pieces), version, status="complete", action=MessageAction.UPDATE)])
    assert reader.streams() == {"t": (text, True)}
    assert reader.replaced == 0


def test_an_update_brings_both_halves() -> None:
    reader = Reader().read(
        [
            delivery("a" + HIGH, 0, action=MessageAction.CREATE),
            delivery("a😀b", 1, action=MessageAction.UPDATE),
            delivery("", 2, status="complete"),
        ]
    )
    assert reader.streams() == {"t": ("a😀b", True)}
    assert reader.replaced == 0


@timed
async def test_payloads_and_headers_are_what_javascript_would_send() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel, EncoderOptions(headers={"run-id": "r" + HIGH}))
    data = {"text": HIGH, "n": [math.nan, math.inf, 1.5, -math.inf], HIGH + LOW: None}
    await encoder.publish_discrete(Payload(names.AI_OUTPUT, data, {"title": "x" + LOW}))
    await encoder.publish_discrete(Payload(names.AI_OUTPUT, HIGH + LOW + HIGH))
    await encoder.start_stream(HIGH, PAYLOAD)
    first, second, third = channel.history
    assert first.data == {"text": "\ufffd", "n": [None, None, 1.5, None], FACE: None}
    assert first.codec_headers == {"title": "x\ufffd"}
    assert first.transport_headers["run-id"] == "r\ufffd"
    assert second.data == "😀\ufffd"
    assert third.transport_headers[names.STREAM_ID] == "\ufffd"
    assert math.isnan(data["n"][0])  # pyright: ignore[reportArgumentType, reportOptionalSubscript, reportIndexIssue]


def test_values_without_halves_are_not_copied() -> None:
    value = {"text": "😀", "list": [1, 2.5, None, True]}
    assert carried(value) is value
    assert carried(b"bytes") == b"bytes"
    assert carried(math.nan) is None
    assert carried(None) is None
    with pytest.raises(InvalidArgumentError, match="header 'a' is not text"):
        carried_headers({"a": 7})  # pyright: ignore[reportArgumentType]


ENDLESS: list[object] = []
ENDLESS.append(ENDLESS)


STRANGE = [ENDLESS, Deep(), [math.nan, Deep()], object(), [object()], 10**5000]


@pytest.mark.parametrize("data", STRANGE, ids=type)
@timed
async def test_what_has_no_json_form_is_refused(data: object) -> None:
    channel = FakeChannel()
    with pytest.raises(InvalidArgumentError, match="the payload has no JSON form"):
        await EncoderCore(channel).publish_discrete(Payload(names.AI_OUTPUT, data))
    assert channel.sent == []
