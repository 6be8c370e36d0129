"""Tests of appends in flight: their number, text that arrives meanwhile, and writers that wait."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.codec.appends import MAX_BUFFER, split_text
from ably_ai_transport.codec.contract import EncoderOptions, Payload
from ably_ai_transport.codec.encoder import EncoderCore
from tests.codec.fake_channel import FakeChannel, settle, timed


async def start(channel: FakeChannel, options: EncoderOptions, *stream_ids: str) -> EncoderCore:
    """An encoder with open streams, on a channel that from now on answers when told to."""
    encoder = EncoderCore(channel, options)
    for stream_id in stream_ids:
        await encoder.start_stream(stream_id, Payload("ai-output", "", {"id": stream_id}))
    channel.manual = True
    return encoder


@timed
async def test_text_goes_out_at_once_until_the_window_is_full_and_is_merged_then() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=2), "a")
    for text in "12345":
        await encoder.append_stream("a", text)
    assert channel.texts() == ["1", "2"]
    channel.answer(1)
    await settle()
    assert channel.texts() == ["1", "2", "345"]
    await encoder.append_stream("a", "6")
    assert channel.texts() == ["1", "2", "345"]
    stats = encoder.stats
    assert (stats.deltas, stats.appends, stats.merged, stats.max_in_flight) == (6, 3, 2, 2)


@timed
async def test_many_tokens_keep_the_window() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=4), "a")
    for _ in range(1000):
        await encoder.append_stream("a", "token ")
        if len(channel.unanswered) == 4:
            channel.answer(1)
            await asyncio.sleep(0)
    channel.manual = False
    channel.answer()
    await encoder.close()
    assert encoder.stats.max_in_flight == 4
    assert "".join(map(str, channel.texts())) == "token " * 1000


@timed
async def test_streams_that_wait_are_served_in_turn() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1, max_append_size=4), "a", "b", "c")
    await encoder.append_stream("a", "a0")
    for _ in range(2):
        for stream_id in "bac":
            await encoder.append_stream(stream_id, stream_id * 4)
    for _ in range(7):
        channel.answer(1)
        await settle()
    assert channel.texts() == ["a0", "bbbb", "aaaa", "cccc", "bbbb", "aaaa", "cccc"]


@timed
async def test_without_merging_the_writer_waits_for_room() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1, merge_appends=False), "a")
    await encoder.append_stream("a", "1")
    waiting = asyncio.ensure_future(encoder.append_stream("a", "2"))
    await settle()
    assert not waiting.done()
    assert channel.texts() == ["1"]
    channel.answer(1)
    await waiting
    assert channel.texts() == ["1", "2"]
    assert encoder.stats.merged == 0


@timed
async def test_without_merging_text_of_cancelled_writers_stays_apart() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1, merge_appends=False), "a")
    await encoder.append_stream("a", "1")
    for text in "23":
        waiting = asyncio.ensure_future(encoder.append_stream("a", text))
        await settle()
        waiting.cancel()
    channel.manual = False
    channel.answer()
    await encoder.close()
    assert channel.texts() == ["1", "2", "3"]


@timed
async def test_merged_text_fits_into_one_append() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1, max_append_size=8), "a")
    for text in ("0", "aaa", "éb", "ccc", "dd", "eee"):
        await encoder.append_stream("a", text)
    channel.manual = False
    channel.answer()
    await encoder.close()
    assert channel.texts() == ["0", "aaaéb", "cccddeee"]


@timed
async def test_a_writer_far_ahead_of_the_channel_waits() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1), "a")
    await encoder.append_stream("a", "1")
    await encoder.append_stream("a", "x" * MAX_BUFFER)
    waiting = asyncio.ensure_future(encoder.append_stream("a", "y"))
    await settle()
    assert not waiting.done()
    channel.answer(1)
    await waiting
    channel.manual = False
    channel.answer()
    await encoder.close()
    assert channel.history[0].data == "1" + "x" * MAX_BUFFER + "y"


@pytest.mark.parametrize("merge", [True, False])
@timed
async def test_text_of_a_writer_that_is_cancelled_while_it_waits_is_written(merge: bool) -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1, merge_appends=merge), "a")
    await encoder.append_stream("a", "1")
    waiting = asyncio.ensure_future(encoder.append_stream("a", "x" * (MAX_BUFFER + 1)))
    await settle()
    waiting.cancel()
    await settle()
    assert waiting.cancelled()
    channel.manual = False
    channel.answer()
    await encoder.append_stream("a", "3")
    await encoder.close_stream("a", Payload("ai-output"))
    assert channel.history[0].data == "1" + "x" * (MAX_BUFFER + 1) + "3"


@timed
async def test_large_text_is_split_between_characters() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(max_append_size=4), "a")
    await encoder.append_stream("a", "a\U0001f600€é")
    assert channel.texts() == ["a", "\U0001f600", "€", "é"]


@timed
async def test_last_text_that_is_too_large_for_the_closing_append_goes_ahead_of_it() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(max_append_size=4), "a")
    channel.manual = False
    await encoder.close_stream("a", Payload("ai-output", "1234567"))
    statuses = [m.transport_headers["status"] for _, m in channel.sent[1:]]
    assert (channel.texts(), statuses) == (["1234", "567"], ["streaming", "complete"])


@given(st.text(), st.integers(4, 40))
def test_pieces_fit_and_make_the_text_again(text: str, limit: int) -> None:
    pieces = split_text(text, limit)
    assert "".join(pieces) == text
    assert all(len(piece.encode()) <= limit for piece in pieces)
    assert pieces == [""] or all(pieces)
    # No piece is cut shorter than it has to be.
    for piece, following in pairwise(pieces):
        assert len((piece + following[0]).encode()) > limit


@timed
async def test_waiting_text_of_all_streams_goes_out_before_a_discrete_message() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1), "a", "b")
    await encoder.append_stream("a", "1")
    await encoder.append_stream("b", "2")
    await encoder.append_stream("a", "3")
    publishing = asyncio.ensure_future(encoder.publish_discrete(Payload("ai-output", "tool")))
    await asyncio.sleep(0)
    assert [m.data for _, m in channel.sent[2:]] == ["1", "2", "3", "tool"]
    channel.answer()
    await publishing
    assert encoder.stats.max_in_flight == 3


@timed
async def test_waiting_text_goes_out_before_a_stream_starts() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1), "a")
    await encoder.append_stream("a", "1")
    await encoder.append_stream("a", "2")
    starting = asyncio.ensure_future(encoder.start_stream("b", Payload("ai-output", "b")))
    await asyncio.sleep(0)
    assert [m.data for _, m in channel.sent[1:]] == ["1", "2", "b"]
    channel.answer()
    await starting


@timed
async def test_flush_waits_for_every_answer() -> None:
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1), "a", "b")
    for stream_id in "abab":
        await encoder.append_stream(stream_id, stream_id)
    flushing = asyncio.ensure_future(encoder.flush())
    for sent in (1, 2, 3):
        await settle()
        assert (flushing.done(), len(channel.texts())) == (False, sent)
        channel.answer(1)
    await flushing
    assert channel.unanswered == []


@timed
async def test_closing_a_stream_does_not_exceed_the_window() -> None:
    """Text sent over a refusal that is still to come would leave a gap that followers see."""
    channel = FakeChannel()
    encoder = await start(channel, EncoderOptions(append_window=1), "a")
    await encoder.append_stream("a", "1")
    await encoder.append_stream("a", "2")
    closing = asyncio.ensure_future(encoder.close_stream("a", Payload("ai-output", "3")))
    for expected in (["1"], ["1", "2"], ["1", "2", "3"]):
        await settle()
        assert (closing.done(), channel.texts()) == (False, expected)
        channel.answer()
    await closing
    assert encoder.stats.max_in_flight == 1
