"""Tests of tool calls: open calls, answers to them, and the outcome of their run."""

import asyncio
from typing import Any, cast

import pytest
from ably_ai_transport_vercel import (
    FinishReason,
    PendingToolCall,
    ToolPart,
    UIMessage,
    VercelRunOutcome,
    approved_pending_tool_calls,
    create_tool_result_fork,
    pending_tool_calls,
    strip_tool_executes,
    vercel_run_outcome,
)

from ably_ai_transport import AITransportError, CodecMessage, ErrorCode, InvalidArgumentError, StreamResult
from ably_ai_transport.codec import ToolResult, ToolResultError


def reply(*parts: ToolPart) -> UIMessage:
    return cast("UIMessage", {"id": "a1", "role": "assistant", "parts": [{"type": "step-start"}, *parts]})


def call(tool: str, call_id: str, state: str, **more: object) -> ToolPart:
    return cast("ToolPart", {"type": tool, "toolCallId": call_id, "state": state, **more})


WEATHER = call("tool-weather", "c1", "input-available", input={"city": "Lisboa"})
DYNAMIC = call("dynamic-tool", "c2", "input-available", toolName="search", input=None)
STREAMING = call("tool-weather", "c3", "input-streaming", input={"ci": ""})
WITHOUT_INPUT = call("tool-weather", "c4", "input-available")
ANSWERED = call("tool-weather", "c5", "output-available", input={}, output=1)
ASKED = call("tool-pay", "c6", "approval-requested", input={}, approval={"id": "p1"})
APPROVED = call(
    "tool-pay", "c7", "approval-responded", input={"eur": 1}, approval={"id": "p2", "approved": True}
)
DENIED = call("tool-pay", "c8", "approval-responded", input={}, approval={"id": "p3", "approved": False})

ALL = reply(WEATHER, DYNAMIC, STREAMING, WITHOUT_INPUT, ANSWERED, ASKED, APPROVED, DENIED)


def test_calls_without_a_result() -> None:
    assert pending_tool_calls([reply(WEATHER), ALL]) == [
        PendingToolCall("c1", "weather", {"city": "Lisboa"}),
        PendingToolCall("c2", "search", None),
    ]
    assert approved_pending_tool_calls([ALL]) == [PendingToolCall("c7", "pay", {"eur": 1})]


def test_only_the_newest_reply_counts() -> None:
    asked: UIMessage = {"id": "u1", "role": "user", "parts": []}
    assert pending_tool_calls([ALL, reply(ANSWERED), asked]) == []
    assert pending_tool_calls([asked]) == []


def test_tools_that_are_only_asked_for() -> None:
    tools = {"pay": {"description": "Pays", "execute": print}}
    assert strip_tool_executes(tools) == {"pay": {"description": "Pays"}}
    assert "execute" in tools["pay"]


def messages(*parts: ToolPart) -> list[CodecMessage[UIMessage]]:
    return [
        CodecMessage("m1", {"id": "a0", "role": "assistant", "parts": []}),
        CodecMessage("m2", reply(*parts)),
    ]


def test_a_fork_starts_from_what_was_said() -> None:
    fork = create_tool_result_fork(
        messages(WEATHER), parent="m0", tool_call_id="c1", supersedes="run-1", output={"degrees": 21}
    )
    assert fork.options == {"parent": "m0", "role": "assistant", "supersedes": "run-1"}
    assert isinstance(fork.input, ToolResult)
    payload = fork.input.payload
    assert payload.get("output") == {"degrees": 21}
    seed = payload.get("forkSeed", {"messages": []})["messages"]
    assert [entry["message"] for entry in seed] == [entry.message for entry in messages(WEATHER)]
    assert fork.input.codec_message_id == seed[1]["codecMessageId"]
    assert not {entry["codecMessageId"] for entry in seed} & {"m1", "m2"}


def test_a_fork_that_reports_a_failure() -> None:
    fork = create_tool_result_fork(
        messages(WEATHER), parent=None, tool_call_id="c1", supersedes="run-1", error_message="no network"
    )
    assert isinstance(fork.input, ToolResultError)
    assert fork.input.payload["message"] == "no network"


def test_a_call_that_nobody_made() -> None:
    with pytest.raises(AITransportError, match="c9") as caught:
        create_tool_result_fork(
            messages(WEATHER), parent=None, tool_call_id="c9", supersedes="run-1", output=None
        )
    assert caught.value.code == ErrorCode.INVALID_ARGUMENT


def test_a_fork_without_an_answer_is_refused() -> None:
    fork = cast("Any", create_tool_result_fork)
    with pytest.raises(InvalidArgumentError, match="give an output or an error_message"):
        fork(messages(WEATHER), parent=None, tool_call_id="c1", supersedes="run-1")


@pytest.mark.parametrize(
    ("result", "finish_reason", "outcome"),
    [
        (StreamResult("complete"), "stop", "complete"),
        (StreamResult("complete"), "tool-calls", "suspend"),
        (StreamResult("complete"), None, "complete"),
        (StreamResult("cancelled"), "tool-calls", "cancelled"),
    ],
)
async def test_what_becomes_of_a_run(
    result: StreamResult, finish_reason: FinishReason | None, outcome: str
) -> None:
    assert (await vercel_run_outcome(result, finish_reason)).reason == outcome

    async def later() -> FinishReason | None:
        return finish_reason

    assert (await vercel_run_outcome(result, later())).reason == outcome


async def test_a_run_that_failed() -> None:
    own = AITransportError("the model is gone", 104008, 500)
    assert await vercel_run_outcome(StreamResult("error", own), None) == VercelRunOutcome("error", own)
    other = await vercel_run_outcome(StreamResult("error", ValueError("x")), None)
    assert other.error is not None
    assert (other.error.code, other.error.message) == (104008, "unable to complete run; ValueError")
    assert str(other.error).endswith(": x")

    async def failing() -> FinishReason:
        raise ValueError("no reason")

    assert (await vercel_run_outcome(StreamResult("complete"), failing())).reason == "error"


async def test_a_cancelled_task_is_not_an_outcome() -> None:
    never: asyncio.Future[FinishReason] = asyncio.get_running_loop().create_future()
    never.cancel()
    with pytest.raises(asyncio.CancelledError):
        await vercel_run_outcome(StreamResult("complete"), never)


@pytest.mark.parametrize("text", ['{"city": "Lis', ' ["a", ', "{", '{"a":NaN}'])
def test_an_input_that_breaks_off_is_not_ready(text: str) -> None:
    cut = call("tool-weather", "c1", "input-available", input=text)
    approved = call(
        "tool-pay", "c2", "approval-responded", input=text, approval={"id": "p", "approved": True}
    )
    assert pending_tool_calls([reply(cut)]) == approved_pending_tool_calls([reply(approved)]) == []


@pytest.mark.parametrize("text", ["select 1", '{"city": "Lisboa"}', "", '"'])
def test_a_tool_may_take_a_text(text: str) -> None:
    whole = call("tool-sql", "c1", "input-available", input=text)
    assert pending_tool_calls([reply(whole)]) == [PendingToolCall("c1", "sql", text)]
