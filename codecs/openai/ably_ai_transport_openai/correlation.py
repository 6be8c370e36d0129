"""Open and answered function calls."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, cast

from ably_ai_transport_openai.events import FunctionCall, OpenAIMessage, OpenAIToolCallState

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
        item["call_id"]
        for message in messages
        for item in message["items"]
        if item["type"] == "function_call_output"
    }


def unanswered_calls(messages: Sequence[OpenAIMessage]) -> list[FunctionCall]:
    """List the calls that have neither an output nor an approval.

    A run can go on when there are none. The agent executes approved calls first.

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


def to_responses_input(messages: Iterable[OpenAIMessage]) -> "list[ResponseInputItemParam]":
    """Turn a conversation into the ``input`` of a Responses call.

    Args:
        messages: The conversation, oldest first.

    Returns:
        All items, in order: each is valid input as it is.

    Example:
        >>> from ably_ai_transport_openai import user_message
        >>> [item["type"] for item in to_responses_input([user_message("hi")])]
        ['message']
    """
    items = [item for message in messages for item in message["items"]]
    return cast("list[ResponseInputItemParam]", items)


def _open_calls(messages: Sequence[OpenAIMessage]) -> Iterator[tuple[FunctionCall, OpenAIToolCallState]]:
    resolved = resolved_call_ids(messages)
    for message in messages:
        states = message.get("toolCallStates", {})
        for item in message["items"]:
            if item["type"] == "function_call" and item["call_id"] not in resolved:
                yield item, states.get(item["call_id"], {})
