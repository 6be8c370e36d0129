"""A caller that is cancelled in the middle of a call leaves the encoder whole."""

import asyncio
import logging
from collections.abc import Coroutine

import pytest

from ably_ai_transport.codec.contract import EncoderOptions, Payload
from ably_ai_transport.codec.encoder import EncoderCore
from ably_ai_transport.wire import AITransportError, ErrorCode
from tests.codec.fake_channel import FakeChannel, Reader, settle, timed

END = Payload("ai-output")


async def cancel_in_the_middle(call: Coroutine[object, object, object]) -> None:
    task = asyncio.ensure_future(call)
    await settle()
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def finish(channel: FakeChannel) -> None:
    """Answer everything, now and from now on."""
    channel.manual = False
    channel.answer()
    await settle()


@timed
async def test_publish() -> None:
    channel = FakeChannel(manual=True)
    encoder = EncoderCore(channel)
    await cancel_in_the_middle(encoder.publish_discrete(Payload("ai-output", "x")))
    assert not channel.futures[0].cancelled()
    flushing = asyncio.ensure_future(encoder.flush())
    await settle()
    assert not flushing.done()  # it was written, so it counts
    await finish(channel)
    await flushing
    assert [m.data for m in channel.history] == ["x"]


@timed
async def test_a_refusal_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    channel = FakeChannel(publish_outcomes=["refuse"], manual=True)
    encoder = EncoderCore(channel)
    await cancel_in_the_middle(encoder.publish_discrete(Payload("ai-output", "x")))
    with caplog.at_level(logging.WARNING, "ably_ai_transport.codec"):
        await finish(channel)
    assert "refused by the script" in caplog.text
    await encoder.close()


@timed
async def test_start_then_go_on() -> None:
    """The start has been published: text for it waits for the serial."""
    channel = FakeChannel(manual=True)
    encoder = EncoderCore(channel)
    await cancel_in_the_middle(encoder.start_stream("t1", Payload("ai-output")))
    await encoder.append_stream("t1", "a")
    await encoder.append_stream("t1", "b")
    assert channel.texts() == []
    await finish(channel)
    await encoder.close_stream("t1", END)
    assert Reader().read(channel.seen_from(0)).streams() == {"t1": ("ab", True)}


@timed
async def test_start_then_cancel_all() -> None:
    channel = FakeChannel(manual=True)
    encoder = EncoderCore(channel)
    await cancel_in_the_middle(encoder.start_stream("t1", Payload("ai-output")))
    cancelling = asyncio.ensure_future(encoder.cancel_all_streams())
    await settle()
    await finish(channel)
    await cancelling
    assert [m.transport_headers["status"] for m in channel.history] == ["cancelled"]


@pytest.mark.parametrize("text", ["", "lost"])
@timed
async def test_start_that_is_refused_afterwards(text: str) -> None:
    """It is reported where text was lost with it, and only there."""
    channel = FakeChannel(publish_outcomes=["refuse"], manual=True)
    encoder = EncoderCore(channel)
    await cancel_in_the_middle(encoder.start_stream("t1", Payload("ai-output")))
    if text:
        await encoder.append_stream("t1", text)
    cancelling = asyncio.ensure_future(encoder.cancel_all_streams())
    await settle()
    await finish(channel)
    if text:
        with pytest.raises(AITransportError, match="'t1'") as caught:
            await cancelling
        assert caught.value.code == ErrorCode.ENCODER_RECOVERY_FAILED
    await encoder.close()
    if not text:
        await cancelling


@timed
async def test_text_that_waits_for_a_start_that_is_refused() -> None:
    channel = FakeChannel(publish_outcomes=["refuse"], manual=True)
    encoder = EncoderCore(channel, EncoderOptions(merge_appends=False))
    await cancel_in_the_middle(encoder.start_stream("t1", Payload("ai-output")))
    waiting = asyncio.ensure_future(encoder.append_stream("t1", "lost"))
    await settle()
    channel.answer()
    with pytest.raises(AITransportError) as caught:
        await waiting
    assert caught.value.code == ErrorCode.ENCODER_RECOVERY_FAILED


@timed
async def test_close_stream() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output"))
    channel.manual = True
    await encoder.append_stream("t1", "a")
    await cancel_in_the_middle(encoder.close_stream("t1", Payload("ai-output", "z")))
    cancelling = asyncio.ensure_future(encoder.cancel_all_streams())
    await settle()
    assert not cancelling.done()
    await finish(channel)
    await cancelling
    assert Reader().read(channel.seen_from(0)).streams() == {"t1": ("az", True)}


@timed
async def test_cancel_all_streams() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output"))
    channel.manual = True
    await cancel_in_the_middle(encoder.cancel_all_streams())
    await finish(channel)
    await encoder.cancel_all_streams()
    assert [m.transport_headers["status"] for kind, m in channel.sent if kind == "append"] == ["cancelled"]


@timed
async def test_close() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output"))
    channel.manual = True
    await encoder.append_stream("t1", "a")
    await cancel_in_the_middle(encoder.close())
    closing = asyncio.ensure_future(encoder.close())
    await settle()
    assert not closing.done()
    await finish(channel)
    await closing


@timed
async def test_a_repair_goes_on_without_its_waiter() -> None:
    channel = FakeChannel(["refuse"])
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output"))
    channel.manual = True
    await encoder.append_stream("t1", "a")
    await cancel_in_the_middle(encoder.flush())
    channel.answer()
    await settle()
    await cancel_in_the_middle(encoder.flush())
    assert channel.texts("update") == ["a"]
    await finish(channel)
    await encoder.close()
    assert encoder.stats.recovered == 1
