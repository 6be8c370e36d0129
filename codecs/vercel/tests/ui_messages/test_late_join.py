"""Late joiners: from any message on, the rest reads well and nothing shows twice."""

from itertools import pairwise
from typing import cast

import pytest
from ably_ai_transport_vercel import UIMessage, UIMessageChunk

from ably_ai_transport.codec import EncoderOptions, WriteOptions
from tests.codec.fake_channel import FakeChannel
from tests.support.ui_messages import CODEC, Follower, fold_all, shown

REPLY = cast(
    "list[UIMessageChunk]",
    [
        {"type": "start"},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "r"},
        {"type": "reasoning-delta", "id": "r", "delta": "Let me "},
        {"type": "reasoning-delta", "id": "r", "delta": "see."},
        {"type": "reasoning-end", "id": "r"},
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "weather"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '{"city":'},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '"Ghent"}'},
        {
            "type": "tool-input-available",
            "toolCallId": "c",
            "toolName": "weather",
            "input": {"city": "Ghent"},
        },
        {"type": "tool-output-available", "toolCallId": "c", "output": "rain"},
        {"type": "finish-step"},
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "It "},
        {"type": "text-delta", "id": "t", "delta": "rains."},
        {"type": "text-end", "id": "t"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ],
)
WHOLE: list[UIMessage] = shown(fold_all(REPLY))
FRAMES = len(REPLY)


async def published() -> FakeChannel:
    channel = FakeChannel()
    encoder = CODEC.create_encoder(channel, EncoderOptions(headers={"run-id": "run"}))
    for item in REPLY:
        await encoder.publish_output(item, WriteOptions(message_id="m"))
    await encoder.close()
    return channel


@pytest.mark.parametrize("start", range(FRAMES + 1))
async def test_live_first_and_history_after_make_the_whole(start: int) -> None:
    channel = await published()
    live = channel.seen_from(start)

    follower = Follower().read(live)
    follower.read(channel.history)

    assert list(follower.messages().values()) == WHOLE


@pytest.mark.parametrize("start", range(FRAMES + 1))
@pytest.mark.parametrize("page", [1, 2, 3])
async def test_pages_of_history_in_any_size_make_the_whole(start: int, page: int) -> None:
    channel = await published()

    follower = Follower().read(channel.seen_from(start))
    newest_first = channel.history[::-1]
    for first in range(0, len(newest_first), page):
        follower.read(newest_first[first : first + page][::-1])

    assert list(follower.messages().values()) == WHOLE


@pytest.mark.parametrize("start", range(FRAMES))
async def test_live_alone_shows_no_content_outside_a_step(start: int) -> None:
    channel = await published()

    messages = Follower().read(channel.seen_from(start)).messages()

    for message in messages.values():
        kinds = [part["type"] for part in message["parts"]]
        assert not kinds or kinds[0] == "step-start"
        assert ("step-start", "step-start") not in pairwise(kinds)


async def test_what_is_made_up_looks_like_the_real_thing() -> None:
    channel = await published()
    at_text = next(
        i
        for i, frame in enumerate(channel.frames)
        if frame.change.name == "ai-output" and frame.change.data == "It "
    )

    outputs = Follower().read(channel.seen_from(at_text)).outputs

    assert outputs[:4] == [
        {"type": "start"},
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "It "},
    ]


async def test_a_rewritten_stream_keeps_the_lead_in_that_it_brought() -> None:
    channel = await published()
    (stream,) = (m for m in channel.history if m.data == "It rains.")
    follower = Follower().read([stream])
    rewritten = channel.history[channel.history.index(stream)] if stream in channel.history else stream
    rewritten = type(stream)(
        stream.action, stream.name, "It snows.", stream.serial, "9", extras=stream.extras
    )

    decoded = follower.decoder.decode(rewritten)

    assert decoded.replaces
    assert [chunk["type"] for chunk in decoded.outputs] == [
        "start",
        "start-step",
        "text-start",
        "text-delta",
        "text-end",
    ]
