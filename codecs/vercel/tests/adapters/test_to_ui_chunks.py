from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from ably_ai_transport_vercel import UIMessageChunk
from ably_ai_transport_vercel.adapters import ReplyWriter, to_ui_chunks
from pydantic import BaseModel, ConfigDict

from ably_ai_transport import AITransportError

Json = dict[str, Any]

ANSWER: list[Json] = [
    {"type": "response.created", "response": {}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m"}},
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hel"},
    {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "lo"},
    {"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "id": "m"}},
    {"type": "response.completed", "response": {}},
]
CALLING: list[Json] = [
    {"type": "message_start", "message": {"content": []}},
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "tool_use", "id": "call-1", "name": "weather", "input": {}},
    },
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "input_json_delta", "partial_json": '{"a":'},
    },
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
    {"type": "message_stop"},
]


class Source:
    """A stream that notes whether it was closed."""

    def __init__(self, events: Iterable[object]) -> None:
        self.closed = False
        self._events = events

    async def events(self) -> AsyncIterator[object]:
        try:
            for event in self._events:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed = True


async def read_all(source: Source) -> list[UIMessageChunk]:
    return [chunk async for chunk in to_ui_chunks(source.events())]


async def chunks_of(events: Iterable[object]) -> list[UIMessageChunk]:
    return await read_all(Source(events))


async def test_a_text() -> None:
    assert await chunks_of(ANSWER) == [
        {"type": "start"},
        {"type": "start-step"},
        {"type": "text-start", "id": "text-1-0"},
        {"type": "text-delta", "id": "text-1-0", "delta": "Hel"},
        {"type": "text-delta", "id": "text-1-0", "delta": "lo"},
        {"type": "text-end", "id": "text-1-0"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop"},
    ]


async def test_a_tool_call() -> None:
    assert await chunks_of(CALLING) == [
        {"type": "start"},
        {"type": "start-step"},
        {"type": "tool-input-start", "toolCallId": "call-1", "toolName": "weather"},
        {"type": "tool-input-delta", "toolCallId": "call-1", "inputTextDelta": '{"a":'},
        {"type": "tool-input-delta", "toolCallId": "call-1", "inputTextDelta": "1}"},
        {"type": "tool-input-available", "toolCallId": "call-1", "toolName": "weather", "input": {"a": 1}},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "tool-calls"},
    ]


@pytest.mark.parametrize("events", [ANSWER, CALLING], ids=["openai", "anthropic"])
async def test_objects_of_a_package_are_taken_as_they_are(events: list[Json]) -> None:
    class Anything(BaseModel):
        model_config = ConfigDict(extra="allow")

    assert await chunks_of([Anything(**event) for event in events]) == await chunks_of(events)


@pytest.mark.parametrize("events", [ANSWER, CALLING], ids=["openai", "anthropic"])
async def test_a_stream_that_breaks_off_is_ended_in_order(events: list[Json]) -> None:
    for length in range(len(events) - 2):
        chunks = await chunks_of(events[:length])
        assert [chunk["type"] for chunk in chunks[:2]] == ["start", "start-step"]
        assert chunks[-1] == {"type": "finish", "finishReason": "other"}
        starts = [c["type"] for c in chunks if c["type"] == "text-start"]
        assert len(starts) == len([c for c in chunks if c["type"] == "text-end"])


@pytest.mark.parametrize(
    "failure",
    [
        {"type": "error", "error": {"message": "overloaded"}},
        {"type": "error", "message": "overloaded", "code": "x"},
        {"type": "response.failed", "response": {"error": {"message": "overloaded"}}},
    ],
)
@pytest.mark.parametrize("events", [ANSWER, CALLING], ids=["openai", "anthropic"])
async def test_a_failure_that_the_model_reports_is_raised(events: list[Json], failure: Json) -> None:
    if events is CALLING and "error" not in failure:
        return
    source = Source([*events[:3], failure])
    with pytest.raises(AITransportError, match="the model failed: overloaded") as caught:
        await read_all(source)
    assert caught.value.code == 104008
    assert source.closed


async def test_what_the_source_raises_comes_through() -> None:
    with pytest.raises(ConnectionError):
        await chunks_of([*ANSWER[:3], ConnectionError("gone")])


async def test_a_reader_that_leaves_closes_the_source() -> None:
    source = Source(ANSWER)
    stream = to_ui_chunks(source.events())
    await anext(stream)
    await stream.aclose()
    assert source.closed


@pytest.mark.parametrize("event", [{"type": "unheard of"}, {}, "text", 7])
async def test_what_is_no_model_s_event_is_refused(event: object) -> None:
    with pytest.raises(AITransportError) as caught:
        await chunks_of([event])
    assert caught.value.code == 40003


REASONS: list[tuple[Json, str]] = [
    (
        {"type": "response.incomplete", "response": {"incomplete_details": {"reason": "content_filter"}}},
        "content-filter",
    ),
    ({"type": "response.incomplete", "response": {}}, "length"),
    ({"type": "message_delta", "delta": {"stop_reason": "max_tokens"}}, "length"),
    ({"type": "message_delta", "delta": {"stop_reason": "refusal"}}, "content-filter"),
    ({"type": "message_delta", "delta": {"stop_reason": "new"}}, "other"),
]


@pytest.mark.parametrize(("event", "reason"), REASONS)
async def test_why_the_model_stopped(event: Json, reason: str) -> None:
    assert (await chunks_of([event]))[-1] == {"type": "finish", "finishReason": reason}


async def test_a_provider_may_be_named() -> None:
    chunks = [c async for c in to_ui_chunks(Source([{"type": "novel"}]).events(), provider="anthropic")]
    assert chunks[-1] == {"type": "finish", "finishReason": "other"}


async def test_an_input_without_pieces_is_one_piece() -> None:
    silent = [event for event in CALLING if event["type"] != "content_block_delta"]
    chunks = await chunks_of(silent)
    assert [chunk for chunk in chunks if chunk["type"].startswith("tool-")] == [
        {"type": "tool-input-start", "toolCallId": "call-1", "toolName": "weather"},
        {"type": "tool-input-delta", "toolCallId": "call-1", "inputTextDelta": "{}"},
        {"type": "tool-input-available", "toolCallId": "call-1", "toolName": "weather", "input": {}},
    ]


def test_an_output_says_who_ran_the_tool() -> None:
    writer = ReplyWriter()
    list(writer.call_input("ours", "weather", {}))
    list(writer.call_input("its", "search", {}, provider_executed=True))

    def marks(chunks: Iterable[UIMessageChunk]) -> list[object]:
        return [chunk.get("providerExecuted") for chunk in chunks if chunk["type"].startswith("tool-output")]

    assert marks(writer.output("ours", 21)) == marks(writer.output_error("ours", "no")) == [None]
    assert marks(writer.output("its", [])) == marks(writer.output_error("its", "no")) == [True]
    assert marks(writer.output("ours", 21, provider_executed=True)) == [True]
