"""Responses over the local server: one side writes, the other reads, in both languages."""

from collections.abc import Sequence

import pytest
from ably_ai_transport_openai import OpenAIMessage, resolved_call_ids, unanswered_calls, user_message

from integration_tests import streams
from integration_tests.engines.server import Server
from integration_tests.js_process import Json
from integration_tests.stage import Pairing, Stage, agree

CALL: Json = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "weather", "arguments": ""}
CALLING: Sequence[Json] = (
    {"type": "response.created", "response": {}},
    {"type": "response.output_item.added", "output_index": 0, "item": CALL},
    {
        "type": "response.function_call_arguments.delta",
        "item_id": "f1",
        "output_index": 0,
        "delta": '{"city":',
    },
    {
        "type": "response.function_call_arguments.delta",
        "item_id": "f1",
        "output_index": 0,
        "delta": '"Lisboa"}',
    },
    {
        "type": "response.function_call_arguments.done",
        "item_id": "f1",
        "output_index": 0,
        "arguments": '{"city":"Lisboa"}',
    },
    {"type": "response.output_item.done", "output_index": 0, "item": {**CALL, "status": "completed"}},
    {"type": "response.completed", "response": {}},
)
MODELLED = ("message", "reasoning", "function_call")


def answering(text: str) -> list[Json]:
    item: Json = {"type": "message", "id": "m1", "role": "assistant", "status": "in_progress", "content": []}
    where: Json = {"item_id": "m1", "output_index": 0, "content_index": 0}
    part: Json = {"type": "output_text", "text": "", "annotations": []}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **where, "part": part},
        *({"type": "response.output_text.delta", **where, "delta": char} for char in text),
        {"type": "response.output_text.done", **where, "text": text},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "status": "completed"}},
    ]


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def stage(request: pytest.FixtureRequest, server: Server, pairing: Pairing) -> Stage:
    return Stage(server, pairing, binary=request.param, codec="openai")


def modelled(name: str) -> list[Json]:
    """Return a recording without the events of hosted tools."""
    hosted = ("web_search", "file_search", "code_interpreter", "mcp_", "image_gen", "shell_", "annotation")
    return [
        event
        for event in streams.recorded_events(name)
        if not any(word in event["type"] for word in hosted)
        and event.get("item", {"type": "message"})["type"] in MODELLED
    ]


@pytest.mark.parametrize(
    "name",
    [name for name in streams.recordings("openai-responses") if "reasoning" in name or "phase" in name],
)
async def test_what_a_model_has_streamed(stage: Stage, name: str) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send(message=dict(user_message("hi")))
        await agent.serve(run.invocation, modelled(name))
        for client in (alice, bob):
            await client.wait_for(status="complete")
        shown = await agree(alice, bob)
        assert [entry["message"]["role"] for entry in shown["messages"]] == ["user", "assistant"]
        assert shown["messages"][1]["message"]["items"]
        async with stage.other("carol") as carol:
            await carol.load_all()
            await agree(alice, carol)


async def test_a_function_that_a_client_carries_out(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send(message=dict(user_message("how is the weather?")))
        program: list[Json] = [{"do": "load"}, {"do": "start"}, {"do": "pipe", "script": list(CALLING)}]
        asked = await (await agent.start_serving(run.invocation, [*program, {"do": "suspend"}])).result()
        for client in (alice, bob):
            await client.wait_for(status="suspended")
        messages: list[OpenAIMessage] = [e["message"] for e in (await agree(alice, bob))["messages"]]
        assert [call["arguments"] for call in unanswered_calls(messages)] == ['{"city":"Lisboa"}']

        message_id = (await bob.messages())[-1]["codecMessageId"]
        payload: Json = {"call_id": "c1", "output": "21 degrees"}
        answer = await bob.resume_with(asked["runId"], message_id, payload)
        answered = await agent.serve(answer.invocation, answering("21 degrees"))
        for client in (alice, bob):
            await client.wait_for(status="complete")
        assert answered["runId"] == asked["runId"]
        messages = [entry["message"] for entry in (await agree(alice, bob))["messages"]]
        assert resolved_call_ids(messages) == {"c1"}
        assert unanswered_calls(messages) == []
