"""Tool calls that an agent or a client still has to deal with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, cast
from uuid import uuid4

from ably_ai_transport import AITransportError, CodecMessage, ErrorCode
from ably_ai_transport_vercel.codec import UIMessageCodec
from ably_ai_transport_vercel.messages import (
    ForkSeed,
    ToolPart,
    ToolResultErrorPayload,
    ToolResultPayload,
    UIMessage,
    VercelInput,
    is_tool_part,
)


@dataclass(frozen=True, slots=True)
class PendingToolCall:
    """A tool call without a result.

    Attributes:
        tool_call_id: The call.
        tool_name: The tool.
        input: What the model wants it to be called with.
    """

    tool_call_id: str
    tool_name: str
    input: object


def pending_tool_calls(messages: Sequence[UIMessage]) -> list[PendingToolCall]:
    """List the calls of the newest reply that have all of their input and no result.

    Args:
        messages: The conversation, oldest first.

    Returns:
        The calls, in the order in which the model made them; those that wait for an approval are not among
        them.

    Example:
        >>> pending_tool_calls([])
        []
    """
    return _calls_in(messages, "input-available")


def approved_pending_tool_calls(messages: Sequence[UIMessage]) -> list[PendingToolCall]:
    """List the calls of the newest reply that somebody has approved, and that have no result.

    Args:
        messages: The conversation, oldest first.

    Returns:
        The calls, in the order in which the model made them.
    """
    return _calls_in(messages, "approval-responded")


def strip_tool_executes(tools: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Leave out how tools are carried out, so that the model only asks for them.

    Args:
        tools: Tools by name, each a mapping that may have an ``execute``.

    Returns:
        The same without any ``execute``; what was given is not changed.

    Example:
        >>> strip_tool_executes({"now": {"description": "The time", "execute": print}})
        {'now': {'description': 'The time'}}
    """
    return {name: {k: v for k, v in tool.items() if k != "execute"} for name, tool in tools.items()}


class ForkOptions(TypedDict):
    """How a fork is sent: keywords of :meth:`~ably_ai_transport.ClientView.send`."""

    parent: str | None
    role: str
    supersedes: str


@dataclass(frozen=True, slots=True)
class ToolResultFork:
    """An answer to a tool call that a run of its own goes on from.

    Attributes:
        input: What to send.
        options: How to send it.
    """

    input: VercelInput
    options: ForkOptions


def create_tool_result_fork(
    run_messages: Iterable[CodecMessage[UIMessage]],
    *,
    parent: str | None,
    tool_call_id: str,
    supersedes: str,
    output: object = None,
    error_message: str | None = None,
) -> ToolResultFork:
    """Answer a suspended run's tool call by a fork: a run of its own, which starts from what was said so far.

    Several clients may answer one call so; each answer is a branch, and the suspended run is shown no more.

    Args:
        run_messages: The messages of the suspended run.
        parent: The message that the suspended run follows.
        tool_call_id: The call to answer.
        supersedes: The suspended run's id.
        output: What the tool returned.
        error_message: How the tool failed; then there is no output.

    Returns:
        What to send, and how: ``view.send(fork.input, **fork.options)``.

    Raises:
        AITransportError: No message of the run has this call (40003).

    Example:
        >>> fork = create_tool_result_fork(  # doctest: +SKIP
        ...     run_messages, parent=parent, tool_call_id="call-1", supersedes=run_id, output={"degrees": 21}
        ... )
        >>> run = await session.view.send(fork.input, **fork.options)  # doctest: +SKIP
    """
    seed: ForkSeed = {
        "messages": [{"codecMessageId": str(uuid4()), "message": entry.message} for entry in run_messages]
    }
    target = next(
        (
            entry["codecMessageId"]
            for entry in seed["messages"]
            if any(part["toolCallId"] == tool_call_id for part in _tool_parts(entry["message"]))
        ),
        None,
    )
    if target is None:
        raise AITransportError(
            f"unable to fork tool result; no run message carries tool call '{tool_call_id}'",
            ErrorCode.INVALID_ARGUMENT,
            400,
        )
    codec = UIMessageCodec()
    if error_message is None:
        result: ToolResultPayload = {"toolCallId": tool_call_id, "output": output, "forkSeed": seed}
        event = codec.create_tool_result(target, result)
    else:
        failure: ToolResultErrorPayload = {
            "toolCallId": tool_call_id,
            "message": error_message,
            "forkSeed": seed,
        }
        event = codec.create_tool_result_error(target, failure)
    return ToolResultFork(event, {"parent": parent, "role": "assistant", "supersedes": supersedes})


def _tool_parts(message: UIMessage) -> list[ToolPart]:
    return [cast("ToolPart", part) for part in message["parts"] if is_tool_part(part)]


def _calls_in(
    messages: Sequence[UIMessage], state: Literal["input-available", "approval-responded"]
) -> list[PendingToolCall]:
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    return [
        PendingToolCall(part["toolCallId"], _name_of(part), part["input"])
        for part in (() if last is None else _tool_parts(last))
        if part["state"] == state
        and "input" in part
        and (state == "input-available" or part.get("approval", {}).get("approved") is True)
    ]


def _name_of(part: ToolPart) -> str:
    return part.get("toolName", "") if part["type"] == "dynamic-tool" else part["type"].removeprefix("tool-")
