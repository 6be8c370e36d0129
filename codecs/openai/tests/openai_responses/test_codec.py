"""The codec of OpenAI's Responses on its own."""

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from ably_ai_transport_openai import (
    OpenAIMessage,
    OpenAIOutput,
    OpenAIProjection,
    OpenAIToolApprovalResponsePayload,
    ResponsesCodec,
    approved_unexecuted_calls,
    resolved_call_ids,
    to_responses_input,
    unanswered_calls,
    user_message,
)
from openai.types.responses import (
    ResponseOutputItemAddedEvent,
    ResponseOutputMessage,
    ResponseTextDeltaEvent,
)

from ably_ai_transport import AITransportError
from ably_ai_transport.codec import FoldMeta, InputEvent, OutputEvent
from tests.codec.fake_channel import FakeChannel

CODEC = ResponsesCodec()
Json = dict[str, Any]

MESSAGE: Json = {"type": "message", "id": "m1", "role": "assistant", "status": "in_progress", "content": []}
CALL: Json = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "weather", "arguments": ""}


def added(item: Json) -> Json:
    return {"type": "response.output_item.added", "output_index": 0, "item": item}


def part(index: int = 0, kind: str = "output_text") -> Json:
    where = {"item_id": "m1", "output_index": 0, "content_index": index}
    return {"type": "response.content_part.added", **where, "part": {"type": kind, "text": ""}}


def delta(text: str, index: int = 0) -> Json:
    return {"type": "response.output_text.delta", "item_id": "m1", "content_index": index, "delta": text}


def fold(events: Sequence[OpenAIOutput], projection: OpenAIProjection | None = None) -> OpenAIProjection:
    projection = CODEC.init() if projection is None else projection
    for event in events:
        CODEC.fold(projection, OutputEvent(event), FoldMeta("s", "reply"))
    return projection


def shown(projection: OpenAIProjection) -> list[OpenAIMessage]:
    return [entry.message for entry in CODEC.get_messages(projection)]


def test_a_text_grows() -> None:
    projection = fold([added(MESSAGE), part(), delta("Hel")])
    before = shown(projection)
    fold([delta("lo")], projection)
    assert before[0]["items"] == [{**MESSAGE, "content": [{"type": "output_text", "text": "Hel"}]}]
    assert shown(projection)[0]["items"] == [
        {**MESSAGE, "content": [{"type": "output_text", "text": "Hello"}]}
    ]


def test_what_has_not_changed_is_the_same_object() -> None:
    projection = fold([added(MESSAGE), part(), delta("a")])
    assert CODEC.get_messages(projection)[0] is CODEC.get_messages(projection)[0]


def test_parts_behind_a_missing_one_wait_for_it() -> None:
    projection = fold([added(MESSAGE), part(1), delta("second", 1)])
    assert shown(projection)[0]["items"] == [MESSAGE]
    fold([part(0), delta("first", 0)], projection)
    [item] = shown(projection)[0]["items"]
    assert item["type"] == "message"
    assert [piece.get("text") for piece in item["content"]] == ["first", "second"]


@pytest.mark.parametrize("index", [-1, 1.5, "0", None, True, 10**12])
def test_places_that_are_none_show_nothing(index: object) -> None:
    event = {**part(), "content_index": index}
    assert shown(fold([added(MESSAGE), event, {**delta("x"), "content_index": index}]))[0]["items"] == [
        MESSAGE
    ]


def test_an_item_of_a_hosted_tool_is_refused_where_it_is_published() -> None:
    encoder = CODEC.create_encoder(FakeChannel())

    async def publish(event: Json) -> None:
        with pytest.raises(AITransportError) as caught:
            await encoder.publish_output(event)
        assert caught.value.code == 40003

    import asyncio

    asyncio.run(publish(added({"type": "web_search_call", "id": "w"})))
    asyncio.run(publish({"type": "response.web_search_call.searching"}))
    assert shown(fold([added({"type": "web_search_call", "id": "w"})])) == []


async def test_objects_of_the_package_are_taken_as_they_are() -> None:
    item = ResponseOutputMessage(id="m1", type="message", role="assistant", status="in_progress", content=[])
    objects = [
        ResponseOutputItemAddedEvent(
            type="response.output_item.added", output_index=0, item=item, sequence_number=1
        ),
        ResponseTextDeltaEvent(
            type="response.output_text.delta",
            item_id="m1",
            output_index=0,
            content_index=0,
            delta="hi",
            logprobs=[],
            sequence_number=2,
        ),
    ]
    channels = FakeChannel(), FakeChannel()
    for channel, (first, last) in zip(channels, (objects, [added(MESSAGE), delta("hi")]), strict=True):
        encoder = CODEC.create_encoder(channel)
        for event in (first, part(), last):
            await encoder.publish_output(event)
        await encoder.close()
    sent = [[(op, m.name, m.data, m.extras) for op, m in channel.sent] for channel in channels]
    assert sent[0] == sent[1]


def test_the_package_is_not_needed() -> None:
    program = (
        "import sys; sys.modules['openai'] = None; import ably_ai_transport_openai as o; o.ResponsesCodec()"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)  # noqa: S603


def conversation() -> list[OpenAIMessage]:
    projection = fold([added(CALL)])
    return [user_message("how is the weather?"), *shown(projection)]


def with_state(**state: str) -> list[OpenAIMessage]:
    said, reply = conversation()
    return [said, {**reply, "toolCallStates": {"c1": state}}]  # pyright: ignore[reportReturnType]


def test_which_calls_are_open() -> None:
    answered = [*conversation(), *shown(fold([{"type": "function_call_output", "item": {
        "type": "function_call_output", "call_id": "c1", "output": "21"}}]))]  # fmt: skip
    assert [call["call_id"] for call in unanswered_calls(conversation())] == ["c1"]
    assert approved_unexecuted_calls(conversation()) == []
    assert resolved_call_ids(answered) == {"c1"}
    assert unanswered_calls(answered) == []
    assert unanswered_calls(with_state(approval="approved")) == []
    assert [c["call_id"] for c in approved_unexecuted_calls(with_state(approval="approved"))] == ["c1"]
    assert [c["call_id"] for c in unanswered_calls(with_state(approval="pending"))] == ["c1"]


def test_a_conversation_is_input_as_it_is() -> None:
    items = to_responses_input(conversation())
    assert [item.get("type") for item in items] == ["message", "function_call"]


@pytest.mark.parametrize(
    ("approved", "reason", "output"),
    [(True, None, None), (False, None, "Tool execution was not approved."), (False, "too cold", "too cold")],
)
def test_approvals(approved: bool, reason: str | None, output: str | None) -> None:
    asked = {"type": "tool-approval-request", "call_id": "c1", "name": "weather", "arguments": "{}"}
    projection = fold([added(CALL), asked])
    assert shown(projection)[0].get("toolCallStates") == {
        "c1": {"approval": "pending", "name": "weather", "arguments": "{}"}
    }
    payload: OpenAIToolApprovalResponsePayload = {"call_id": "c1", "approved": approved}
    if reason is not None:
        payload["reason"] = reason
    answer = CODEC.create_tool_approval_response("reply", payload)
    CODEC.fold(projection, InputEvent(answer), FoldMeta("s", "reply"))
    [message] = shown(projection)
    state = message.get("toolCallStates", {})["c1"]
    assert state.get("approval") == ("approved" if approved else "denied")
    outputs = [item["output"] for item in message["items"] if item["type"] == "function_call_output"]
    assert outputs == ([] if output is None else [output])


def test_the_last_answer_to_a_call_holds() -> None:
    projection = fold([added(CALL)])
    for answer in (
        CODEC.create_tool_result("reply", {"call_id": "c1", "output": "20"}),
        CODEC.create_tool_result_error("reply", {"call_id": "c1", "message": "no network"}),
    ):
        CODEC.fold(projection, InputEvent(answer), FoldMeta("s", "reply"))
    [message] = shown(projection)
    assert [i["output"] for i in message["items"] if i["type"] == "function_call_output"] == ["no network"]
    assert message.get("toolCallStates") == {"c1": {"result": "failed"}}


BAD: list[tuple[str, object, str]] = [
    ("create_user_message", {}, "role"),
    ("create_user_message", {"role": "user", "items": []}, "items"),
    (
        "create_user_message",
        {"role": "user", "items": [{"type": "message", "role": "user"}]},
        "items.0.content",
    ),
]


@pytest.mark.parametrize(("factory", "message", "field"), BAD)
def test_messages_that_are_none(factory: str, message: object, field: str) -> None:
    with pytest.raises(AITransportError, match=f"unable to build user message; {field}"):
        getattr(CODEC, factory)(message)


PAYLOADS: list[tuple[str, Json, str]] = [
    ("create_tool_result", {"output": "x"}, "call_id"),
    ("create_tool_result", {"call_id": "c", "output": 7}, "output"),
    ("create_tool_result_error", {"call_id": "c"}, "message"),
    ("create_tool_approval_response", {"call_id": "c", "approved": "yes"}, "approved"),
]


@pytest.mark.parametrize(("factory", "payload", "field"), PAYLOADS)
def test_answers_that_are_none(factory: str, payload: Json, field: str) -> None:
    with pytest.raises(AITransportError, match=field):
        getattr(CODEC, factory)("m", payload)


@pytest.mark.parametrize(
    "unfinished",
    [
        {"arguments": '{"city": "Lis', "status": "incomplete"},
        {"arguments": '{"city": "Lis', "status": "in_progress"},
        {"arguments": '{"city": "Lis'},
        {"arguments": "", "status": "in_progress"},
        {"arguments": "{}", "status": "incomplete"},
    ],
)
def test_a_call_that_the_model_did_not_finish_is_never_executed(unfinished: Json) -> None:
    message: Any = {"role": "assistant", "items": [{**CALL, **unfinished}]}
    approved: Any = {**message, "toolCallStates": {"c1": {"approval": "approved"}}}
    assert unanswered_calls([message]) == approved_unexecuted_calls([approved]) == []
    assert to_responses_input([message]) == []
    message["items"].append({"type": "function_call_output", "call_id": "c1", "output": "x"})
    assert to_responses_input([message]) == message["items"]
