"""The tools of the model's providers, and inputs that are not whole."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from ably_ai_transport_vercel import (
    UIMessage,
    UIMessageChunk,
    approved_pending_tool_calls,
    pending_tool_calls,
)
from ably_ai_transport_vercel.adapters import to_ui_chunks

from ably_ai_transport import AITransportError
from ably_ai_transport.codec import EncoderOptions
from tests.codec.fake_channel import FakeChannel
from tests.support.ui_messages import CODEC, Follower

Json = dict[str, Any]


async def chunks_of(events: Sequence[Json]) -> list[UIMessageChunk]:
    async def stream() -> AsyncIterator[Json]:
        for event in events:
            yield event

    return [chunk async for chunk in to_ui_chunks(stream())]


async def shown(events: Sequence[Json]) -> UIMessage:
    """Publish a reply, and return what a late joiner sees."""
    channel = FakeChannel()
    encoder = CODEC.create_encoder(channel, EncoderOptions(headers={"codec-message-id": "m1"}))
    for chunk in await chunks_of(events):
        await encoder.publish_output(chunk)
    await encoder.cancel_streams()
    await encoder.close()
    return Follower().read(channel.history).messages()["m1"]


def of_tools(chunks: Sequence[UIMessageChunk]) -> list[UIMessageChunk]:
    return [chunk for chunk in chunks if chunk["type"].startswith("tool-")]


def response(*events: Json, end: Json | None = None) -> list[Json]:
    return [{"type": "response.created"}, *events, end or {"type": "response.completed", "response": {}}]


def added(**item: object) -> Json:
    return {"type": "response.output_item.added", "output_index": 0, "item": item}


def done(**item: object) -> Json:
    return {"type": "response.output_item.done", "output_index": 0, "item": item}


def streamed(kind: str, **fields: object) -> Json:
    return {"type": f"response.{kind}", "output_index": 0, **fields}


LIMIT: Json = {
    "type": "response.incomplete",
    "response": {"incomplete_details": {"reason": "max_output_tokens"}},
}


def message(*blocks: Sequence[Json], stop: str = "tool_use", message_id: str = "m1") -> list[Json]:
    return [
        {"type": "message_start", "message": {"id": message_id}},
        *({**event, "index": index} for index, block in enumerate(blocks) for event in block),
        {"type": "message_delta", "delta": {"stop_reason": stop}},
        {"type": "message_stop"},
    ]


def block(*pieces: str, **content: object) -> list[Json]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return [
        {"type": "content_block_start", "content_block": content},
        *({"type": "content_block_delta", "delta": delta} for delta in deltas),
        {"type": "content_block_stop"},
    ]


async def test_a_patch_has_its_input() -> None:
    operation = {"type": "update_file", "path": "a.py", "diff": '-"1"\n+2\n'}
    opened = {**operation, "diff": ""}
    chunks = await chunks_of(
        response(
            added(type="apply_patch_call", id="i", call_id="c1", operation=opened),
            streamed("apply_patch_call_operation_diff.delta", delta='-"1"'),
            streamed("apply_patch_call_operation_diff.delta", delta="\n+2\n"),
            streamed("apply_patch_call_operation_diff.done", diff=operation["diff"]),
            done(type="apply_patch_call", id="i", call_id="c1", status="completed", operation=operation),
        )
    )
    value = {"callId": "c1", "operation": operation}
    assert of_tools(chunks)[-1] == {
        "type": "tool-input-available",
        "toolCallId": "c1",
        "toolName": "apply_patch",
        "input": value,
    }
    pieces = [chunk.get("inputTextDelta", "") for chunk in of_tools(chunks)]
    assert json.loads("".join(map(str, pieces))) == value
    assert chunks[-1] == {"type": "finish", "finishReason": "tool-calls"}


@pytest.mark.parametrize(("execution", "call_id"), [("server", "i1"), ("client", "c1")])
async def test_who_searches_for_tools(execution: str, call_id: str) -> None:
    searched = {"type": "tool_search_call", "id": "i1", "execution": execution, "arguments": {"q": "w"}}
    given = {**searched, "call_id": None if execution == "server" else "c1"}
    [*_, chunk] = of_tools(await chunks_of(response(added(**given), done(**given))))
    assert chunk["type"] == "tool-input-available"
    assert chunk.get("toolCallId") == call_id
    assert chunk.get("providerExecuted") is (True if execution == "server" else None)
    assert chunk.get("input") == {"arguments": {"q": "w"}, "call_id": given["call_id"]}


async def test_a_program_and_its_output() -> None:
    reply = await shown(
        response(
            done(type="program", id="p1", call_id="c1", code="x()", fingerprint="f"),
            done(type="program_output", id="o1", call_id="c1", result="1", status="completed"),
        )
    )
    assert reply["parts"][-1] == {
        "type": "tool-programmatic_tool_calling",
        "toolCallId": "c1",
        "providerExecuted": True,
        "state": "output-available",
        "input": {"code": "x()", "fingerprint": "f"},
        "output": {"result": "1", "status": "completed"},
    }


@pytest.mark.parametrize("name", ["bash_code_execution", "text_editor_code_execution"])
async def test_code_execution_is_one_tool(name: str) -> None:
    call = block('{"command"', ':"ls"}', type="server_tool_use", id="t1", name=name, input={})
    content = {"type": f"{name}_tool_result_error", "error_code": "unavailable"}
    result = block(type=f"{name}_tool_result", tool_use_id="t1", content=content)
    reply = await shown(message(call, result, stop="end_turn"))
    assert reply["parts"][-1] == {
        "type": "tool-code_execution",
        "toolCallId": "t1",
        "providerExecuted": True,
        "state": "output-available",
        "input": {"type": name, "command": "ls"},
        "output": content,
    }


async def test_a_message_inside_a_message_is_an_error() -> None:
    first, second = message(), message(message_id="m2")
    with pytest.raises(AITransportError, match="began a message while another one was open") as caught:
        await chunks_of([*first[:-1], *second])
    assert caught.value.code == 104008
    assert len(await chunks_of([*first, *second])) == len(await chunks_of(first))
    assert len(await chunks_of([first[0], *first])) == len(await chunks_of(first))


CUT = '{"city": "Lis'
CUT_OFF = [
    response(
        added(type="function_call", call_id="c1", name="weather"),
        streamed("function_call_arguments.delta", delta=CUT),
        done(type="function_call", id="i", call_id="c1", name="weather", arguments=CUT, status="incomplete"),
        end=LIMIT,
    ),
    message(block(CUT, type="tool_use", id="c1", name="weather", input={}), stop="max_tokens"),
]


@pytest.mark.parametrize("events", CUT_OFF, ids=["openai", "anthropic"])
async def test_an_input_that_the_token_limit_cut_off_is_never_executed(events: list[Json]) -> None:
    last = of_tools(await chunks_of(events))[-1]
    assert last["type"] == "tool-input-error"
    assert last.get("input") == CUT
    assert last.get("errorText") == (
        "unable to read the input of 'weather'; the model did not finish it, or wrote no JSON"
    )
    reply = await shown(events)
    assert reply["parts"][-1].get("state") == "output-error"
    assert pending_tool_calls([reply]) == approved_pending_tool_calls([reply]) == []
    assert (await chunks_of(events))[-1] == {"type": "finish", "finishReason": "length"}


async def test_an_input_that_was_cut_off_before_its_first_character() -> None:
    item = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": ""}
    function = response(added(**item), done(**item, status="incomplete"), end=LIMIT)
    call = block("", type="tool_use", id="c1", name="weather", input={})
    for events in (function, message(call, stop="max_tokens"), message(call)[:-2]):
        assert of_tools(await chunks_of(events))[-1]["type"] == "tool-input-error"
    # A tool without arguments is called all the same.
    second = block('{"n":1}', type="tool_use", id="c2", name="weather", input={})
    for whole in (message(call), message(call, second)):
        chunks = of_tools(await chunks_of(whole))
        assert chunks[2] == {
            "type": "tool-input-available",
            "toolCallId": "c1",
            "toolName": "weather",
            "input": {},
        }


async def test_a_text_for_a_tool_is_whole_or_an_error() -> None:
    item = {"type": "custom_tool_call", "call_id": "c1", "name": "sql", "input": "select 1"}
    [*_, last] = of_tools(await chunks_of(response(added(**item), done(**item, status="completed"))))
    assert (last["type"], last.get("input")) == ("tool-input-available", "select 1")
    [*_, last] = of_tools(
        await chunks_of(response(added(**item), done(**item, status="incomplete"), end=LIMIT))
    )
    assert (last["type"], last.get("input")) == ("tool-input-error", "select 1")


async def test_a_tool_of_an_mcp_server_is_dynamic() -> None:
    about = {"id": "m1", "name": "shorten", "server_label": "s", "arguments": "{}", "output": "done"}
    reply = await shown(response(done(type="mcp_call", **about)))
    assert reply["parts"][-1].get("type") == "dynamic-tool"
    assert reply["parts"][-1].get("toolName") == "mcp.shorten"


async def test_an_approved_call_is_the_one_that_was_asked_about() -> None:
    about = {"name": "shorten", "server_label": "s", "arguments": "{}"}
    chunks = await chunks_of(
        response(
            done(type="mcp_approval_request", id="a1", **about),
            done(type="mcp_call", id="m1", approval_request_id="a1", output="done", **about),
        )
    )
    assert {chunk.get("toolCallId") for chunk in of_tools(chunks)} == {"a1"}


async def test_pages_are_named_by_the_search_that_found_them() -> None:
    citation = {"type": "url_citation", "url": "https://a.example", "title": "A"}
    cited = streamed("output_text.annotation.added", annotation=citation)
    action = {"type": "search", "query": "q", "sources": [{"type": "url", "url": "https://b.example"}]}
    searched = done(type="web_search_call", id="w1", status="completed", action=action)

    async def urls(*events: Json) -> list[object]:
        return [c.get("url") for c in await chunks_of(response(*events)) if c["type"] == "source-url"]

    assert await urls(cited) == ["https://a.example"]
    assert await urls(cited, searched) == await urls(searched, cited) == ["https://b.example"]
