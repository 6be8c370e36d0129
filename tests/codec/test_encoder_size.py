"""A stream has at most as much text as one message can carry to everybody."""

from __future__ import annotations

from typing import Any, cast

import pytest

from ably_ai_transport.codec.contract import EncoderOptions, Payload
from ably_ai_transport.codec.encoder import EncoderCore
from ably_ai_transport.wire import AITransportError
from tests.codec.fake_channel import FakeChannel, Outcome, Reader, timed

START = Payload("ai-output", "", {"kind": "text"})
END = Payload("ai-output", "", {})
SMALL = EncoderOptions(max_stream_size=10)


def status_of(channel: FakeChannel) -> str:
    extras = channel.history[-1].extras
    return cast("Any", extras)["ai"]["transport"]["status"]


@timed
async def test_text_beyond_the_limit_is_refused_and_the_rest_stays() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel, SMALL)
    await encoder.start_stream("t1", START)
    for text in ("12345", "678"):
        await encoder.append_stream("t1", text)
    with pytest.raises(
        AITransportError, match=r"unable to append; stream 't1' would have 11 bytes"
    ) as caught:
        await encoder.append_stream("t1", "€")
    assert (caught.value.code, caught.value.status_code) == (40009, 413)
    await encoder.append_stream("t1", "é")
    await encoder.close_stream("t1", END)
    assert Reader().read(channel.history).streams() == {"t1": ("12345678é", True)}
    assert encoder.stats.refused == 0


@timed
async def test_the_text_of_a_start_and_of_an_end_counts() -> None:
    encoder = EncoderCore(FakeChannel(), SMALL)
    with pytest.raises(AITransportError, match="unable to start stream"):
        await encoder.start_stream("t1", Payload("ai-output", "x" * 11, {}))
    await encoder.start_stream("t1", Payload("ai-output", "x" * 6, {}))
    with pytest.raises(AITransportError, match="unable to close stream"):
        await encoder.close_stream("t1", Payload("ai-output", "x" * 5, {}))
    await encoder.close_stream("t1", Payload("ai-output", "x" * 4, {}))


@pytest.mark.parametrize("manual", [False, True])
@timed
async def test_a_channel_that_takes_no_more_text_is_not_asked_again(*, manual: bool) -> None:
    channel = FakeChannel(["ok", "too large"])
    encoder = EncoderCore(channel, EncoderOptions(merge_appends=False))
    await encoder.start_stream("t1", START)
    channel.manual = manual
    for text in ("a", "b"):
        await encoder.append_stream("t1", text)
    channel.answer()
    with pytest.raises(AITransportError, match="unable to flush"):
        await encoder.flush()
    with pytest.raises(AITransportError, match="the channel takes no more text for 't1'") as caught:
        await encoder.append_stream("t1", "c")
    assert caught.value.code == 40009
    channel.manual = False
    await encoder.cancel_all_streams()
    assert channel.texts("update") == []
    assert channel.history[-1].data == "a"
    assert status_of(channel) == "cancelled"


@timed
async def test_a_stream_that_is_full_when_it_is_closed_ends_as_cancelled() -> None:
    channel = FakeChannel(["ok", "too large"])
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", START)
    await encoder.append_stream("t1", "a")
    with pytest.raises(AITransportError) as caught:
        await encoder.close_stream("t1", Payload("ai-output", "b", {}))
    assert caught.value.code == 40009
    assert status_of(channel) == "cancelled"
    assert channel.history[-1].data == "a"
    await encoder.close()


@timed
async def test_a_channel_that_does_not_even_take_the_end() -> None:
    refusals: list[Outcome] = ["too large"] * 5
    channel = FakeChannel(refusals, refusals)
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", START)
    await encoder.append_stream("t1", "a")
    with pytest.raises(AITransportError) as caught:
        await encoder.close()
    assert caught.value.code == 40009
