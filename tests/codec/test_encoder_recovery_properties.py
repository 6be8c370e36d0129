"""Property tests: every reader ends with the whole text after any refusal, loss, delay or cancel."""

import asyncio
import contextlib
from dataclasses import dataclass

import anyio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ably_ai_transport.codec.contract import EncoderOptions, Payload
from ably_ai_transport.codec.encoder import EncoderCore
from tests.codec.fake_channel import FakeChannel, Outcome, Reader, settle

TEXT = st.text(alphabet="ab é€😀\n", max_size=12)
APPEND_OUTCOMES = st.lists(st.sampled_from(["ok", "ok", "ok", "refuse", "lose"]), max_size=30)
UPDATE_OUTCOMES = st.lists(st.sampled_from(["ok", "refuse", "lose"]), max_size=10)


@dataclass
class Step:
    """One call, and how many of the loop's turns it may take before it is cancelled."""

    call: str
    stream: str = ""
    text: str = ""
    patience: int | None = None


STEPS = st.lists(
    st.builds(
        Step,
        call=st.sampled_from(["append"] * 8 + ["close", "discrete", "answer", "turn"]),
        stream=st.sampled_from(["a", "b", "c"]),
        text=TEXT,
        patience=st.one_of(st.none(), st.none(), st.integers(1, 4)),
    ),
    max_size=40,
)


@dataclass
class Written:
    """The text of one stream that was passed to the encoder."""

    text: str = ""
    closed: bool = False


async def _run(
    channel: FakeChannel, encoder: EncoderCore, steps: list[Step], batches: list[int]
) -> dict[str, Written]:
    """Make the calls one after the other, while the channel answers in batches."""
    written = {name: Written(text=">") for name in "abc"}
    turn = 0
    gap = batches or [1]

    async def answers() -> None:
        nonlocal turn
        while True:
            for _ in range(gap[turn % len(gap)]):
                await asyncio.sleep(0)
            channel.answer(gap[turn % len(gap)])
            turn += 1

    answering = asyncio.create_task(answers())
    try:
        for name in written:
            await encoder.start_stream(name, Payload("ai-output", ">", {"kind": "text"}))
        for step in steps:
            await _step(channel, encoder, step, written)
        await encoder.cancel_all_streams()
        await encoder.close()
    finally:
        answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
    return written


async def _step(channel: FakeChannel, encoder: EncoderCore, step: Step, written: dict[str, Written]) -> None:
    stream = written[step.stream]
    match step.call:
        case "append" if not stream.closed:
            stream.text += step.text
            call = encoder.append_stream(step.stream, step.text)
        case "close" if not stream.closed:
            stream.text += step.text
            stream.closed = True
            call = encoder.close_stream(step.stream, Payload("ai-output", step.text, {"done": "1"}))
        case "discrete":
            call = encoder.publish_discrete(Payload("ai-output", step.text))
        case "answer":
            channel.answer()
            return
        case _:
            await asyncio.sleep(0)
            return
    task: asyncio.Task[object] = asyncio.ensure_future(call)
    if step.patience is not None:
        for _ in range(step.patience):
            await asyncio.sleep(0)
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@settings(max_examples=300, deadline=None)
@given(
    steps=STEPS,
    outcomes=APPEND_OUTCOMES,
    update_outcomes=UPDATE_OUTCOMES,
    batches=st.lists(st.integers(1, 5), max_size=6),
    window=st.sampled_from([1, 2, 3, 8, 32]),
    merge=st.booleans(),
    size=st.sampled_from([4, 7, 16, 1024]),
    join=st.integers(0, 60),
)
@example(
    steps=[Step("append", "a", "one "), Step("append", "a", "two "), Step("append", "a", "three")],
    outcomes=["refuse"],
    update_outcomes=[],
    batches=[5],
    window=32,
    merge=True,
    size=1024,
    join=2,
)
def test_all_readers_agree_on_the_whole_text(
    steps: list[Step],
    outcomes: list[Outcome],
    update_outcomes: list[Outcome],
    batches: list[int],
    window: int,
    merge: bool,
    size: int,
    join: int,
) -> None:
    async def scenario() -> None:
        channel = FakeChannel(outcomes, update_outcomes, manual=True, merciful=True)
        options = EncoderOptions(append_window=window, merge_appends=merge, max_append_size=size)
        with anyio.fail_after(20):
            encoder = EncoderCore(channel, options)
            written = await _run(channel, encoder, steps, batches)
        expected = {name: (stream.text, stream.closed) for name, stream in written.items()}

        live = Reader().read(channel.seen_from(0))
        assert live.streams() == expected
        # A channel that refuses what it takes cannot be seen through; one that follows re-sent messages to
        # their real answer, as that over Ably does, never does so.
        assert encoder.has_gaps or not live.replaced or "lose" in outcomes
        assert all(len(str(text).encode()) <= size for text in channel.texts())
        assert merge or not encoder.stats.merged
        assert Reader().read(channel.history).streams() == expected
        # One who joins in the middle: history brings what the live channel does not, in either order.
        late = min(join, len(channel.frames))
        joiner = Reader().read(channel.seen_from(late))
        assert joiner.streams().items() <= expected.items()
        assert joiner.read(channel.history).streams() == expected
        resumed = Reader().read(channel.history_at(late)).read(channel.seen_from(late))
        assert resumed.streams() == expected
        # What has been read is not read again.
        before = live.replaced
        live.read(channel.seen_from(0)).read(channel.history)
        assert (live.streams(), live.replaced) == (expected, before)
        # The last version says how the stream ended.
        for message in channel.history:
            if message.transport_headers["stream"] == "true":
                closed = expected[message.transport_headers["stream-id"]][1]
                assert message.transport_headers["status"] == ("complete" if closed else "cancelled")
                assert message.codec_headers == {"kind": "text", **({"done": "1"} if closed else {})}

    asyncio.run(scenario())


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(TEXT, min_size=1, max_size=15),
    outcomes=APPEND_OUTCOMES,
    batches=st.lists(st.integers(1, 5), max_size=6),
    merge=st.booleans(),
)
@example(texts=["", "a", " "], outcomes=["ok", "refuse"], batches=[4], merge=True)
def test_with_a_window_of_one_no_follower_ever_sees_text_rewritten(
    texts: list[str], outcomes: list[Outcome], batches: list[int], merge: bool
) -> None:
    """No append is accepted after a refused one, so a repair only adds text: JavaScript reads it too."""

    async def scenario() -> None:
        channel = FakeChannel(outcomes, manual=True)
        encoder = EncoderCore(channel, EncoderOptions(append_window=1, merge_appends=merge))
        steps = [Step("append", "a", text) for text in texts] + [Step("close", "a")]
        with anyio.fail_after(20):
            await _run(channel, encoder, steps, batches)
        live = Reader().read(channel.seen_from(0))
        assert live.streams()["a"] == (">" + "".join(texts), True)
        assert live.replaced == 0

    asyncio.run(scenario())


@settings(max_examples=150, deadline=None)
@given(
    steps=STEPS,
    window=st.sampled_from([1, 2, 5]),
    size=st.sampled_from([4, 1024]),
    batches=st.lists(st.integers(1, 5), max_size=6),
)
def test_the_order_on_the_wire_is_the_order_of_the_calls(
    steps: list[Step], window: int, size: int, batches: list[int]
) -> None:
    """Whenever a discrete message is published, all text that was written before it is on the wire."""

    async def scenario() -> None:
        channel = FakeChannel(manual=True)
        encoder = EncoderCore(channel, EncoderOptions(append_window=window, max_append_size=size))
        texts: dict[str, str] = {}
        answered = 0

        def on_wire() -> dict[str, str]:
            return {str(m.extras): str(m.data) for m in channel.messages.values() if m.name == "ai-output"}

        for name in "abc":
            start = asyncio.ensure_future(encoder.start_stream(name, Payload("ai-output", "", {"id": name})))
            await asyncio.sleep(0)
            channel.answer()
            await start
            texts[name] = ""
        for step in steps:
            if step.call == "append":
                texts[step.stream] += step.text
                await encoder.append_stream(step.stream, step.text)
            elif step.call == "discrete":
                publish = asyncio.ensure_future(encoder.publish_discrete(Payload("note", step.text)))
                await asyncio.sleep(0)
                assert sorted(on_wire().values()) == sorted(texts.values())
                assert channel.sent[-1][1].name == "note"
                channel.answer()
                await publish
            elif step.call == "answer":
                channel.answer(batches[answered % len(batches)] if batches else None)
                answered += 1
                await settle()
        closing = asyncio.ensure_future(encoder.close())
        while not closing.done():
            await asyncio.sleep(0)
            channel.answer()
        await closing

    asyncio.run(scenario())
