"""Property tests: every reader sees the same, for any stream of an agent."""

import json
from typing import cast

from ably_ai_transport_vercel import UIMessage, UIMessageChunk
from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport.codec import EncoderOptions, FoldMeta, OutputEvent, WriteOptions
from tests.codec.fake_channel import FakeChannel
from tests.support.ui_messages import CODEC, Follower, fold_all, shown

Values = dict[str, object]
FEW = settings(deadline=None, max_examples=100)

NAMES = st.sampled_from(["a", "b"])
TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)


@st.composite
def texts(draw: st.DrawFn) -> list[Values]:
    kind, name = draw(st.sampled_from(["text", "reasoning"])), draw(NAMES)
    deltas = draw(st.lists(TEXT, max_size=4))
    start: Values = {"type": f"{kind}-start", "id": name}
    pieces: list[Values] = [{"type": f"{kind}-delta", "id": name, "delta": delta} for delta in deltas]
    end: Values = {"type": f"{kind}-end", "id": name, "providerMetadata": draw(OBJECT)}
    return [start, *pieces, end]


@st.composite
def tool_calls(draw: st.DrawFn) -> list[Values]:
    call = {"toolCallId": draw(st.uuids().map(str)), "toolName": draw(NAMES)}
    given_input = draw(OBJECT)
    text = json.dumps(given_input)
    cut = draw(st.integers(0, len(text)))
    streamed: list[Values] = [
        {"type": "tool-input-start", **call, "dynamic": draw(st.booleans())},
        *(
            {"type": "tool-input-delta", **call, "inputTextDelta": piece}
            for piece in (text[:cut], text[cut:])
        ),
        {"type": "tool-input-available", **call, "input": given_input},
    ]
    whole: list[Values] = [
        {"type": "tool-input-start", **call},
        {"type": "tool-input-delta", **call, "inputTextDelta": "{}"},
        {"type": "tool-input-error", **call, "input": given_input, "errorText": draw(TEXT)},
    ]
    after: list[Values] = [
        {"type": "tool-output-available", **call, "output": draw(JSON)},
        {"type": "tool-output-error", **call, "errorText": draw(TEXT)},
        {"type": "tool-output-denied", **call},
        {"type": "tool-approval-request", **call, "approvalId": "1"},
    ]
    return draw(st.sampled_from([streamed, whole])) + draw(st.lists(st.sampled_from(after), max_size=2))


@st.composite
def single_parts(draw: st.DrawFn) -> list[Values]:
    data: Values = {"type": f"data-{draw(NAMES)}", "data": draw(JSON), "transient": draw(st.booleans())}
    if draw(st.booleans()):
        data["id"] = draw(NAMES)
    kinds: list[Values] = [
        {"type": "file", "url": draw(TEXT), "mediaType": "a/b"},
        {"type": "source-url", "sourceId": "s", "url": draw(TEXT)},
        {"type": "message-metadata", "messageMetadata": draw(OBJECT)},
        data,
    ]
    return [draw(st.sampled_from(kinds))]


@st.composite
def replies(draw: st.DrawFn) -> list[UIMessageChunk]:
    start: Values = {"type": "start"}
    if draw(st.booleans()):
        start["messageId"] = "own"
    chunks = [start]
    for _ in range(draw(st.integers(0, 2))):
        contents = draw(st.lists(texts() | tool_calls() | single_parts(), max_size=3))
        chunks.append({"type": "start-step"})
        chunks.extend(chunk for part in contents for chunk in part)
        chunks.append({"type": "finish-step"})
    last: list[Values] = [{"type": "finish"}, {"type": "abort"}, {"type": "error", "errorText": "x"}]
    return cast("list[UIMessageChunk]", [*chunks, draw(st.sampled_from(last))])


async def publish(reply: list[UIMessageChunk]) -> FakeChannel:
    channel = FakeChannel()
    encoder = CODEC.create_encoder(channel, EncoderOptions(headers={"run-id": "run"}))
    for chunk in reply:
        await encoder.publish_output(chunk, WriteOptions(message_id="m"))
    await encoder.close()
    return channel


def seen(follower: Follower) -> list[UIMessage]:
    return list(follower.messages().values())


@given(replies())
@FEW
async def test_what_is_decoded_folds_as_what_was_published(reply: list[UIMessageChunk]) -> None:
    channel = await publish(reply)

    assert seen(Follower().read(channel.seen_from(0))) == shown(fold_all(reply))
    assert seen(Follower().read(channel.history)) == shown(fold_all(reply))


@given(replies(), st.data())
@FEW
async def test_joining_anywhere_and_paging_back_shows_the_same(
    reply: list[UIMessageChunk], data: st.DataObject
) -> None:
    channel = await publish(reply)
    start = data.draw(st.integers(0, len(channel.frames)))
    page = data.draw(st.integers(1, 5))

    follower = Follower().read(channel.seen_from(start))
    newest_first = channel.history[::-1]
    for first in range(0, len(newest_first), page):
        follower.read(newest_first[first : first + page][::-1])

    assert seen(follower) == shown(fold_all(reply))


@given(replies())
@FEW
def test_looking_on_the_way_changes_nothing(reply: list[UIMessageChunk]) -> None:
    half = len(reply) // 2
    projection = fold_all(reply[:half])
    early = shown(projection)
    copy = json.dumps(early)
    for chunk in reply[half:]:
        projection = CODEC.fold(projection, OutputEvent(chunk), FoldMeta("s", "m"))
        shown(projection)

    assert shown(projection) == shown(fold_all(reply))
    assert json.dumps(early) == copy
