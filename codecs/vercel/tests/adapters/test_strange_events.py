"""Events with any content: they are translated, or refused with an error of ours."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from ably_ai_transport_vercel.adapters import to_ui_chunks
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from ably_ai_transport import AITransportError
from tests.codec.fake_channel import FakeChannel
from tests.support.any_json import ANY, objects
from tests.support.ui_messages import CODEC

Json = dict[str, Any]

ITEMS = objects(
    [
        *("message", "reasoning", "function_call", "custom_tool_call", "web_search_call", "computer_call"),
        *("file_search_call", "image_generation_call", "code_interpreter_call", "mcp_call", "program"),
        *("mcp_approval_request", "apply_patch_call", "shell_call", "shell_call_output", "new_output"),
        *("local_shell_call", "tool_search_call", "tool_search_output", "program_output", "new_call"),
    ],
    [
        *("id", "call_id", "name", "arguments", "input", "status", "operation", "action", "actions", "code"),
        *("output", "outputs", "results", "tools", "execution", "environment", "error", "sources", "result"),
        *("encrypted_content", "approval_request_id", "container_id", "pending_safety_checks"),
    ],
)
BLOCKS = objects(
    [
        *("text", "thinking", "redacted_thinking", "compaction", "tool_use", "server_tool_use"),
        *("mcp_tool_use", "web_search_tool_result", "web_fetch_tool_result", "new_tool_result"),
        *("text_delta", "thinking_delta", "signature_delta", "input_json_delta", "citations_delta"),
    ],
    [
        *("id", "name", "input", "text", "thinking", "data", "content", "signature", "partial_json"),
        *("tool_use_id", "is_error", "toolset_name", "citation", "stop_reason"),
    ],
)
OPENAI = objects(
    [
        *("response.created", "response.output_item.added", "response.output_item.done"),
        *("response.output_text.delta", "response.refusal.delta", "response.completed"),
        *("response.incomplete", "response.failed", "error", "response.reasoning_summary_text.delta"),
        *("response.function_call_arguments.delta", "response.reasoning_text.done"),
        *("response.code_interpreter_call_code.delta", "response.code_interpreter_call_code.done"),
        *("response.apply_patch_call_operation_diff.delta", "response.output_text.annotation.added"),
        *("response.apply_patch_call_operation_diff.done", "response.custom_tool_call_input.delta"),
        "response.image_generation_call.partial_image",
    ],
    [
        *("item", "output_index", "summary_index", "content_index", "delta", "code", "diff", "annotation"),
        *("response", "error", "partial_image_b64", "item_id"),
    ],
    values=ANY | ITEMS,
)
ANTHROPIC = objects(
    [
        *("message_start", "message_delta", "message_stop", "content_block_start", "ping", "error"),
        *("content_block_delta", "content_block_stop"),
    ],
    ["index", "message", "content_block", "delta", "error"],
    values=ANY | BLOCKS,
)


async def source(events: Sequence[object]) -> AsyncIterator[object]:
    for event in events:
        yield event


async def translate(events: Sequence[object], provider: Any) -> list[Json]:  # noqa: ANN401
    chunks: list[Json] = []
    with suppress(AITransportError):
        async for chunk in to_ui_chunks(source(events), provider=provider):
            chunks.append(dict(chunk))  # noqa: PERF401 - the chunks before a failure count
    return chunks


@settings(max_examples=150, deadline=None)
@given(st.lists(OPENAI, max_size=8) | st.lists(ANY, max_size=3))
async def test_openai(events: list[object]) -> None:
    await written(await translate(events, "openai"))


@settings(max_examples=150, deadline=None)
@given(st.lists(ANTHROPIC, max_size=8) | st.lists(ANY, max_size=3))
async def test_anthropic(events: list[object]) -> None:
    await written(await translate(events, "anthropic"))


@given(st.lists(ANY | OPENAI | ANTHROPIC, max_size=3))
async def test_any_provider(events: list[object]) -> None:
    await translate(events, None)


async def written(chunks: list[Json]) -> None:
    """Publish a reply; only our errors count."""
    encoder = CODEC.create_encoder(FakeChannel())
    for chunk in chunks:
        with suppress(AITransportError):
            await encoder.publish_output(chunk)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("index", [[], {}, "0", 1.5, -1, True, 2**53, float("inf")])
@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_item.added", "item": {"type": "function_call"}, "output_index": ...},
        {"type": "response.function_call_arguments.delta", "delta": "x", "output_index": ...},
        {"type": "content_block_start", "content_block": {"type": "text"}, "index": ...},
        {"type": "content_block_stop", "index": ...},
    ],
)
async def test_an_index_that_is_no_position_is_refused(event: Json, index: object) -> None:
    given = {key: index if value is ... else value for key, value in event.items()}
    with pytest.raises(AITransportError, match="index' is no position") as caught:
        [chunk async for chunk in to_ui_chunks(source([given]))]
    assert caught.value.code == 40003


async def test_an_endless_index_is_refused() -> None:
    blocks = [{"type": "content_block_stop", "index": 10**5000}]
    with pytest.raises(AITransportError, match="'index' is no position: int"):
        [chunk async for chunk in to_ui_chunks(source(blocks))]


async def test_a_position_may_be_a_whole_float() -> None:
    blocks: list[Json] = [
        {"type": "message_start", "message": {}},
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "tool_use", "id": "c", "name": "w"},
        },
        {
            "type": "content_block_delta",
            "index": 0.0,
            "delta": {"type": "input_json_delta", "partial_json": "{}"},
        },
        {"type": "content_block_stop", "index": 0.0},
    ]
    chunks = await translate(blocks, "anthropic")
    assert [chunk["type"] for chunk in chunks if "tool" in chunk["type"]] == [
        "tool-input-start",
        "tool-input-delta",
        "tool-input-available",
    ]


async def test_values_that_do_not_fit_a_package_s_types(recwarn: pytest.WarningsRecorder) -> None:
    class Event(BaseModel):
        model_config = ConfigDict(extra="allow")
        type: str
        delta: str = ""

    odd = Event.model_construct(type="response.output_text.delta", delta=7)
    strange = Event.model_construct(type="response.created", more={"\ud83d": 1})
    assert [chunk["type"] for chunk in await translate([odd], None)] == [
        "start",
        "start-step",
        "finish-step",
        "finish",
    ]
    assert await translate([strange], None) == []
    assert not recwarn.list
