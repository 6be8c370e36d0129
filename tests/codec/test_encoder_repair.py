"""Appends that the channel refuses: repaired at once, for everybody, or reported."""

import asyncio
import gc
from collections.abc import Awaitable, Callable

import pytest

from ably_ai_transport.codec.contract import EncoderOptions, Payload
from ably_ai_transport.codec.encoder import EncoderCore
from ably_ai_transport.wire import AITransportError, ErrorCode, OutboundMessage
from tests.codec.fake_channel import FakeChannel, Outcome, Reader, settle, timed

TOKENS = ["one ", "two ", "three ", "four"]
WHOLE = "".join(TOKENS)
END = Payload("ai-output", "", {"reason": "stop"})


async def write(channel: FakeChannel, options: EncoderOptions | None = None) -> EncoderCore:
    encoder = EncoderCore(channel, options)
    await encoder.start_stream("t1", Payload("ai-output", "", {"kind": "text"}))
    for token in TOKENS:
        await encoder.append_stream("t1", token)
    return encoder


SCRIPTS: dict[str, list[Outcome]] = {
    "first": ["refuse"],
    "middle": ["ok", "refuse"],
    "last": ["ok", "ok", "ok", "refuse"],
    "closing": ["ok", "ok", "ok", "ok", "refuse"],
    "several in a row": ["ok", "refuse", "refuse"],
    "all": ["refuse"] * 9,
    "middle, answer lost": ["ok", "lose"],
    "closing, answer lost": ["ok", "ok", "ok", "ok", "lose"],
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
@pytest.mark.parametrize("window", [1, 2, 32])
@timed
async def test_everybody_ends_with_the_whole_text(script: list[Outcome], window: int) -> None:
    channel = FakeChannel(script)
    encoder = await write(channel, EncoderOptions(append_window=window, merge_appends=False))
    await encoder.close_stream("t1", END)
    whole = {"t1": (WHOLE, True)}
    assert Reader().read(channel.seen_from(0)).streams() == whole
    assert Reader().read(channel.history).streams() == whole
    for start in range(len(channel.frames)):
        assert Reader().read(channel.history).read(channel.seen_from(start)).streams() == whole
    assert encoder.stats.recovered == len(channel.texts("update")) > 0


@pytest.mark.parametrize("script", [SCRIPTS["last"], SCRIPTS["closing"], SCRIPTS["closing, answer lost"]])
@timed
async def test_a_refusal_with_nothing_after_it_is_repaired_by_adding(script: list[Outcome]) -> None:
    """Followers that drop a rewritten text, as JavaScript ones do, read this one whole."""
    channel = FakeChannel(script)
    encoder = await write(channel)
    await encoder.close_stream("t1", END)
    live = Reader().read(channel.seen_from(0))
    assert (live.streams(), live.replaced) == ({"t1": (WHOLE, True)}, 0)


@timed
async def test_the_repair_happens_at_once_and_text_waits_for_it() -> None:
    channel = FakeChannel(["ok", "refuse"])
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output", "", {"kind": "text"}))
    channel.manual = True
    for token in TOKENS[:3]:
        await encoder.append_stream("t1", token)
    channel.answer(2)
    await settle()
    await encoder.append_stream("t1", TOKENS[3])
    assert (channel.texts(), channel.texts("update")) == (TOKENS[:3], [])  # one is unanswered yet
    channel.answer(1)
    await settle()
    update = channel.sent[-1][1]
    assert (channel.sent[-1][0], update.name, update.data) == ("update", None, WHOLE)
    assert [update.serial] == list(channel.messages)
    assert update.extras == channel.sent[0][1].extras
    await encoder.append_stream("t1", "!")
    await settle()
    assert channel.sent[-1][1] is update  # still unanswered
    channel.answer()
    await settle()
    assert channel.texts()[3:] == ["!"]
    assert encoder.stats.recovered == 1


@timed
async def test_the_closing_append_waits_until_all_text_is_accepted() -> None:
    channel = FakeChannel(["ok", "ok", "ok", "refuse"])
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output", "", {"kind": "text"}))
    channel.manual = True
    for token in TOKENS:
        await encoder.append_stream("t1", token)
    closing = asyncio.ensure_future(encoder.close_stream("t1", END))
    kinds: list[str] = []
    while not closing.done():
        await settle()
        kinds = [f"{kind} {m.transport_headers['status']}" for kind, m in channel.sent[5:]]
        channel.answer(1)
    assert kinds == ["update streaming", "append complete"]


@pytest.mark.parametrize(("how", "status"), [("close", "complete"), ("cancel", "cancelled")])
@timed
async def test_a_refused_closing_append_is_repaired_with_the_end(how: str, status: str) -> None:
    channel = FakeChannel(["ok", "ok", "ok", "ok", "refuse"])
    encoder = await write(channel)
    await (encoder.close_stream("t1", END) if how == "close" else encoder.cancel_all_streams())
    kind, update = channel.sent[-1]
    assert (kind, update.data, update.transport_headers["status"]) == ("update", WHOLE, status)
    assert Reader().read(channel.seen_from(0)).streams() == {"t1": (WHOLE, how == "close")}


@timed
async def test_the_hook_sees_the_update() -> None:
    channel = FakeChannel(["refuse"])
    seen: list[OutboundMessage] = []
    encoder = await write(channel, EncoderOptions(on_message=seen.append))
    await encoder.flush()
    assert next(m for kind, m in channel.sent if kind == "update") in seen


@timed
async def test_an_update_that_is_refused_once_is_tried_again() -> None:
    channel = FakeChannel(["refuse"], update_outcomes=["refuse"])
    encoder = await write(channel)
    await encoder.close_stream("t1", END)
    assert len(channel.texts("update")) == 2
    assert Reader().read(channel.history).streams() == {"t1": (WHOLE, True)}


def refusals(count: int) -> list[Outcome]:
    return ["refuse" for _ in range(count)]


def dead_channel() -> FakeChannel:
    """Refuses what is written to the first stream, beyond repair."""
    return FakeChannel(["refuse"], update_outcomes=["refuse", "refuse"])


Call = Callable[[EncoderCore], Awaitable[object]]
LAST_WORDS: dict[str, Call] = {
    "append": lambda e: e.append_stream("t1", "more"),
    "close stream": lambda e: e.close_stream("t1", END),
    "start stream": lambda e: e.start_stream("t1", END),
    "cancel streams": lambda e: e.cancel_all_streams(),
    "flush": lambda e: e.flush(),
    "close encoder": lambda e: e.close(),
}


@pytest.mark.parametrize("action", LAST_WORDS.keys())
@timed
async def test_text_that_cannot_be_repaired_is_reported_by_the_next_call(action: str) -> None:
    encoder = await write(dead_channel())
    await settle()
    with pytest.raises(AITransportError) as caught:
        await LAST_WORDS[action](encoder)
    assert caught.value.message == f"unable to {action}; refused text could not be sent again for 't1'"
    assert caught.value.code == ErrorCode.ENCODER_RECOVERY_FAILED
    assert isinstance(caught.value.cause, AITransportError)
    assert caught.value.cause.code == 40160
    await encoder.close()  # told once is enough


@timed
async def test_the_cause_is_the_first_refusal_since_the_stream_was_whole() -> None:
    outcomes: list[Outcome] = ["refuse", "ok", "ok", "ok", "refuse", "refuse"]
    channel = FakeChannel(outcomes, update_outcomes=["ok", "refuse", "refuse"])
    encoder = await write(channel)
    await encoder.flush()
    await encoder.append_stream("t1", "five")
    await encoder.append_stream("t1", "six")
    with pytest.raises(AITransportError) as caught:
        await encoder.flush()
    assert isinstance(caught.value.cause, AITransportError)
    assert caught.value.cause.message == "refused by the script: five"


@timed
async def test_gaps_are_noticed_where_text_was_accepted_after_a_refusal() -> None:
    for outcomes, gaps in ((SCRIPTS["middle"], True), (SCRIPTS["last"], False), (SCRIPTS["all"], False)):
        encoder = await write(FakeChannel(outcomes))
        await encoder.close_stream("t1", END)
        assert encoder.has_gaps is gaps


@timed
async def test_a_stream_beyond_repair_keeps_refusing_text_until_its_id_is_used_again() -> None:
    channel = dead_channel()
    encoder = await write(channel)
    await settle()
    for _ in range(2):
        with pytest.raises(AITransportError) as caught:
            await encoder.append_stream("t1", "more")
        assert caught.value.code == ErrorCode.ENCODER_RECOVERY_FAILED
    await encoder.start_stream("t1", Payload("ai-output"))
    await encoder.append_stream("t1", "anew")
    await encoder.close_stream("t1", END)
    assert channel.history[-1].data == "anew"


@timed
async def test_other_streams_go_on() -> None:
    channel = dead_channel()
    encoder = await write(channel)
    await encoder.start_stream("t2", Payload("ai-output"))
    await encoder.append_stream("t2", "fine")
    await encoder.close_stream("t2", END)
    with pytest.raises(AITransportError, match="for 't1'"):
        await encoder.flush()
    assert Reader().read(channel.history).streams()["t2"] == ("fine", True)


@timed
async def test_one_error_names_all_streams_that_died() -> None:
    channel = FakeChannel(refusals(2), update_outcomes=refusals(4))
    encoder = EncoderCore(channel)
    for stream_id in ("a", "b"):
        await encoder.start_stream(stream_id, Payload("ai-output"))
    for stream_id in ("a", "b"):
        await encoder.append_stream(stream_id, "x")
    with pytest.raises(AITransportError, match="for 'a', 'b'"):
        await encoder.close()


@timed
async def test_a_writer_that_waits_for_room_learns_that_its_stream_died() -> None:
    channel = dead_channel()
    encoder = EncoderCore(channel, EncoderOptions(append_window=1, merge_appends=False))
    await encoder.start_stream("t1", Payload("ai-output"))
    channel.manual = True
    await encoder.append_stream("t1", "a")
    for _ in range(2):
        channel.answer()
        await settle()
    waiting = asyncio.ensure_future(encoder.append_stream("t1", "b"))
    await settle()
    assert not waiting.done()  # the last attempt to repair the stream is under way
    channel.answer()
    with pytest.raises(AITransportError) as caught:
        await waiting
    assert caught.value.code == ErrorCode.ENCODER_RECOVERY_FAILED


@timed
async def test_a_channel_that_raises_at_once_has_refused() -> None:
    class Rude(FakeChannel):
        def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
            if message.data == "two ":
                raise AITransportError("not now", 40000)
            return super().append(message)

    channel = Rude()
    encoder = await write(channel)
    await encoder.close_stream("t1", END)
    assert Reader().read(channel.seen_from(0)).streams() == {"t1": (WHOLE, True)}


@timed
async def test_an_answer_that_the_channel_cancels_is_a_refusal() -> None:
    channel = FakeChannel()
    encoder = EncoderCore(channel)
    await encoder.start_stream("t1", Payload("ai-output"))
    channel.manual = True
    await encoder.append_stream("t1", "a")
    channel.futures[-1].cancel()
    channel.manual = False
    await encoder.flush()
    assert channel.texts("update") == ["a"]


@timed
async def test_no_refusal_is_left_unhandled() -> None:
    noise: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    channel = dead_channel()
    encoder = await write(channel)
    await settle()
    with pytest.raises(AITransportError):
        await encoder.close()
    refused = FakeChannel(publish_outcomes=["refuse"], manual=True)
    lonely = asyncio.ensure_future(EncoderCore(refused).publish_discrete(Payload("ai-output")))
    await settle()
    lonely.cancel()
    await settle()
    refused.answer()
    refused.futures.clear()
    channel.futures.clear()
    del encoder, lonely
    gc.collect()
    await settle()
    assert noise == []
