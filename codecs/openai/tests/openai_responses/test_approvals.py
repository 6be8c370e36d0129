"""An approval counts for one call that the agent asked about, once, with the arguments of the call."""

from typing import Any, TypeAlias

from ably_ai_transport_openai import (
    ApprovedCall,
    OpenAIInput,
    OpenAIOutput,
    ResponsesCodec,
    user_message,
    verified_approvals,
)

from ably_ai_transport.codec import FoldMeta, InputEvent, OutputEvent

CODEC = ResponsesCodec()
Event: TypeAlias = tuple[InputEvent[OpenAIInput] | OutputEvent[OpenAIOutput], FoldMeta]


def output(event: dict[str, Any]) -> Event:
    return OutputEvent(event), FoldMeta("s", "reply", "agent")


def call(call_id: str = "c1", arguments: str = "{}") -> Event:
    item = {"type": "function_call", "id": call_id, "call_id": call_id, "name": "pay", "arguments": arguments}
    return output({"type": "response.output_item.added", "output_index": 0, "item": item})


def ask(call_id: str = "c1", arguments: str = "{}") -> Event:
    return output(
        {"type": "tool-approval-request", "call_id": call_id, "name": "pay", "arguments": arguments}
    )


def said(event: OpenAIInput, client_id: str = "alice", message_id: str = "reply") -> Event:
    return InputEvent(event), FoldMeta("s", message_id, client_id)


def approve(call_id: str = "c1", client_id: str = "alice", *, approved: bool = True) -> Event:
    answer = CODEC.create_tool_approval_response("reply", {"call_id": call_id, "approved": approved})
    return said(answer, client_id)


def done(call_id: str = "c1") -> Event:
    item = {"type": "function_call_output", "call_id": call_id, "output": "paid"}
    return output({"type": "function_call_output", "item": item})


def read(*events: Event) -> list[tuple[str, str, str | None]]:
    found: list[ApprovedCall] = verified_approvals(events)
    return [(one.call["call_id"], one.call["arguments"], one.approved_by) for one in found]


PAY = ("c1", "{}", "alice")


def test_a_call_that_was_asked_about_and_approved() -> None:
    assert read(call(), ask(), approve()) == [PAY]
    assert read(call(), ask(), approve(approved=False)) == []


def test_the_first_answer_counts() -> None:
    assert read(call(), ask(), approve(approved=False), approve()) == []
    assert read(call(), ask(), approve(), approve(client_id="bob"), approve(approved=False)) == [PAY]


def test_an_approval_before_the_request_counts_for_nothing() -> None:
    assert read(approve(), call(), ask()) == []
    assert read(call(), approve()) == []


def test_a_call_runs_once() -> None:
    assert read(call(), ask(), approve(), done(), approve()) == []


def test_the_approval_of_one_call_is_none_of_another() -> None:
    assert read(call(), ask(), call("c2"), ask("c2"), approve("c3"), approve()) == [PAY]


def test_what_was_shown_to_the_client_is_what_runs() -> None:
    assert read(call(arguments='{"eur":1000}'), ask(arguments='{"eur":1}'), approve()) == []


def test_what_clients_say_changes_no_call() -> None:
    result = CODEC.create_tool_result("reply", {"call_id": "c1", "output": "paid already"})
    failure = CODEC.create_tool_result_error("reply", {"call_id": "c1", "message": "no"})
    words = CODEC.create_user_message(user_message("go on"))
    said_all = [said(result), said(failure), said(words, message_id="m")]
    assert read(call(), ask(), *said_all, approve(), *said_all) == [PAY]


def test_an_approval_in_another_message_counts_for_nothing() -> None:
    answer = CODEC.create_tool_approval_response("other", {"call_id": "c1", "approved": True})
    assert read(call(), ask(), said(answer, message_id="other")) == []
