"""Open and answered function calls."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from ably_ai_transport.codec import (
    FoldMeta,
    InputEvent,
    OutputEvent,
    ToolApprovalResponse,
    ToolResult,
    ToolResultError,
    as_text,
    parse_json,
)
from ably_ai_transport_openai.events import (
    FunctionCall,
    OpenAIInput,
    OpenAIMessage,
    OpenAIOutput,
    OpenAIToolCallState,
)
from ably_ai_transport_openai.projection import OpenAIProjection
from ably_ai_transport_openai.reducer import fold, get_messages

if TYPE_CHECKING:
    from openai.types.responses import ResponseInputItemParam


def resolved_call_ids(messages: Iterable[OpenAIMessage]) -> set[str]:
    """Collect the answered calls.

    Args:
        messages: The conversation.

    Returns:
        Their ``call_id``s.

    Example:
        >>> resolved_call_ids([])
        set()
    """
    return {
        as_text(item.get("call_id"))
        for message in messages
        for item in message["items"]
        if item["type"] == "function_call_output"
    }


def unanswered_calls(messages: Sequence[OpenAIMessage]) -> list[FunctionCall]:
    """List the calls that have neither an output nor an approval.

    A run can go on when there are none. The agent executes approved calls first. A call that the model did
    not finish is no call: nothing executes it.

    Args:
        messages: The messages of the run.

    Returns:
        The calls, in order.
    """
    return [call for call, state in _open_calls(messages) if state.get("approval") != "approved"]


def approved_unexecuted_calls(messages: Sequence[OpenAIMessage]) -> list[FunctionCall]:
    """List the calls that are approved and have no output.

    Args:
        messages: The messages of the run.

    Returns:
        The calls, in order.
    """
    return [call for call, state in _open_calls(messages) if state.get("approval") == "approved"]


@dataclass(frozen=True, slots=True)
class ApprovedCall:
    """A call that may run: the agent asked for approval, and this is the first answer.

    Attributes:
        call: The call, as the agent published it.
        approved_by: The client that approved it, as Ably verified it; None for an anonymous one.
    """

    call: FunctionCall
    approved_by: str | None


def verified_approvals(
    events: Iterable[tuple[InputEvent[OpenAIInput] | OutputEvent[OpenAIOutput], FoldMeta]],
) -> list[ApprovedCall]:
    """List the calls of a run that are approved and have no output, as the agent published them.

    An approval counts for one call: one that the agent has asked about, with the name and the arguments of
    the call, and that has no answer yet. Nothing else that clients publish changes a call. The policy of the
    session says who may answer, and its trusted agents say whose outputs count.

    Args:
        events: The events of the run: ``run.events()``, after its history has been loaded.

    Returns:
        The calls, in order.

    Example:
        >>> verified_approvals([])
        []
    """
    projection = OpenAIProjection()
    approved_by: dict[str, str | None] = {}
    for event, meta in events:
        if isinstance(event, OutputEvent):
            fold(projection, event, meta)
            continue
        said = event.event
        match said:
            case ToolApprovalResponse() if (
                _approval_of(projection, said.payload["call_id"], meta) == "pending"
            ):
                approved_by[said.payload["call_id"]] = meta.client_id
            case ToolResult() | ToolResultError() if (
                _approval_of(projection, said.payload["call_id"], meta) is None
            ):
                pass
            case _:
                continue
        fold(projection, event, meta)
    messages = [entry.message for entry in get_messages(projection)]
    asked = {
        call_id: (state.get("name"), state.get("arguments"))
        for message in messages
        for call_id, state in message.get("toolCallStates", {}).items()
    }
    return [
        ApprovedCall(call, approved_by[call["call_id"]])
        for call in approved_unexecuted_calls(messages)
        if asked[call["call_id"]] == (call["name"], call["arguments"]) and call["call_id"] in approved_by
    ]


def _approval_of(projection: OpenAIProjection, call_id: str, meta: FoldMeta) -> str | None:
    """Return where the approval of a call stands; None where the agent has not asked for it."""
    entry = projection.index.get(meta.message_id or "")
    return None if entry is None else entry.tool_states.get(call_id, {}).get("approval")


def to_responses_input(messages: Iterable[OpenAIMessage]) -> "list[ResponseInputItemParam]":
    """Turn a conversation into the ``input`` of a Responses call.

    Args:
        messages: The conversation, oldest first.

    Returns:
        The items, in order: each is valid input as it is. Calls that the model did not finish are left out.

    Example:
        >>> from ably_ai_transport_openai import user_message
        >>> [item["type"] for item in to_responses_input([user_message("hi")])]
        ['message']
    """
    listed = list(messages)
    resolved = resolved_call_ids(listed)
    items = [
        item
        for message in listed
        for item in message["items"]
        if item["type"] != "function_call" or item.get("call_id") in resolved or _is_finished(item)
    ]
    return cast("list[ResponseInputItemParam]", items)


def _open_calls(messages: Sequence[OpenAIMessage]) -> Iterator[tuple[FunctionCall, OpenAIToolCallState]]:
    resolved = resolved_call_ids(messages)
    for message in messages:
        states = message.get("toolCallStates", {})
        for item in message["items"]:
            if item["type"] != "function_call":
                continue
            # A peer's call may lack its id; nothing can answer it.
            call_id = as_text(item.get("call_id"))
            if call_id and call_id not in resolved and _is_finished(item):
                yield item, states.get(call_id, {})


def _is_finished(call: FunctionCall) -> bool:
    """Whether the model finished a call. A token limit, or the end of its run, may have cut it off."""
    arguments, status = as_text(call.get("arguments")), call.get("status")
    if status == "incomplete" or (not arguments and status == "in_progress"):
        return False
    try:
        parse_json(arguments or "{}")
    except ValueError:
        return False
    return True
