"""Open tool calls: pending ones, approved ones, and answers by a fork."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypedDict, overload
from uuid import uuid4

from ably_ai_transport import CodecMessage
from ably_ai_transport.codec import (
    FoldMeta,
    InputEvent,
    OutputEvent,
    ToolApprovalResponse,
    ToolResult,
    ToolResultError,
    parse_json,
)
from ably_ai_transport.wire import InvalidArgumentError
from ably_ai_transport_vercel.codec import UIMessageCodec
from ably_ai_transport_vercel.events import (
    ForkSeed,
    ToolApprovalResponsePayload,
    ToolResultErrorPayload,
    ToolResultPayload,
    UIMessageChunk,
    VercelInput,
)
from ably_ai_transport_vercel.messages import ToolPart, UIMessage, tool_name
from ably_ai_transport_vercel.narrowing import is_tool_part
from ably_ai_transport_vercel.projection import VercelProjection

_NOTHING: Final = object()
"""Stands for an output that was not given; None is one."""


@dataclass(frozen=True, slots=True)
class PendingToolCall:
    """A tool call without a result.

    Attributes:
        tool_call_id: The call.
        tool_name: The tool.
        input: The input.
    """

    tool_call_id: str
    tool_name: str
    input: object


def pending_tool_calls(messages: Sequence[UIMessage]) -> list[PendingToolCall]:
    """List the calls of the newest reply that have their whole input and no result.

    Args:
        messages: The conversation, oldest first.

    Returns:
        The calls, in the order of the reply, without those that wait for an approval, and without those whose
        input breaks off in the middle of an object or a list.

    Example:
        >>> pending_tool_calls([])
        []
    """
    return _calls_in(messages, "input-available")


def approved_pending_tool_calls(messages: Sequence[UIMessage]) -> list[PendingToolCall]:
    """List the calls of the newest reply that are approved and have no result.

    Args:
        messages: The conversation, oldest first.

    Returns:
        The calls, in the order of the reply.
    """
    return _calls_in(messages, "approval-responded")


@dataclass(frozen=True, slots=True)
class ApprovedToolCall(PendingToolCall):
    """A tool call that may run: the agent asked for approval, and this is the first answer.

    Attributes:
        approved_by: The client that approved it, as Ably verified it; None for an anonymous one.
    """

    approved_by: str | None


def verified_approvals(
    events: Iterable[tuple[InputEvent[VercelInput] | OutputEvent[UIMessageChunk], FoldMeta]],
) -> list[ApprovedToolCall]:
    """List the calls of a run that are approved and have no result, as the agent published them.

    An approval counts for one call: one that the agent has asked about, and that has no answer yet. Nothing
    else that clients publish changes a call: no approval before the request, no second answer, no message
    that is copied into a fork. The policy of the session says who may answer, and its trusted agents say
    whose outputs count.

    Args:
        events: The events of the run: ``run.events()``, after its history has been loaded.

    Returns:
        The calls, in the order of the replies.

    Example:
        >>> await run.view.load_all()  # doctest: +SKIP
        >>> for call in verified_approvals(run.events()):  # doctest: +SKIP
        ...     result = await TOOLS[call.tool_name](call.input)
    """
    codec = UIMessageCodec()
    projection = codec.init()
    approved_by: dict[str, str | None] = {}
    for event, meta in events:
        if isinstance(event, OutputEvent):
            codec.fold(projection, event, meta)
            continue
        said = event.event
        match said:
            case ToolApprovalResponse() if _state_of(projection, said) == "approval-requested":
                approved_by[said.payload["toolCallId"]] = meta.client_id
            case ToolResult() | ToolResultError() if _state_of(projection, said) == "input-available":
                pass
            case _:
                continue
        codec.fold(projection, event, meta)
    replies = [entry.message for entry in codec.get_messages(projection)]
    return [
        ApprovedToolCall(call.tool_call_id, call.tool_name, call.input, approved_by[call.tool_call_id])
        for reply in replies
        for call in approved_pending_tool_calls([reply])
        if call.tool_call_id in approved_by
    ]


def _state_of(
    projection: VercelProjection,
    answer: ToolApprovalResponse[ToolApprovalResponsePayload]
    | ToolResult[ToolResultPayload]
    | ToolResultError[ToolResultErrorPayload],
) -> object:
    """Return the state of the call that an input answers; None if the agent has not published the call."""
    entry = projection.index.get(answer.codec_message_id)
    part = None if entry is None else entry.tool_part(answer.payload["toolCallId"])
    return None if part is None else part["state"]


def strip_tool_executes(tools: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """Remove the ``execute`` of tools, so that the model only asks for them.

    Args:
        tools: Tools by name, each a mapping that may have an ``execute``.

    Returns:
        A copy without any ``execute``.

    Example:
        >>> strip_tool_executes({"now": {"description": "The time", "execute": print}})
        {'now': {'description': 'The time'}}
    """
    return {name: {k: v for k, v in tool.items() if k != "execute"} for name, tool in tools.items()}


class ForkOptions(TypedDict):
    """The options of a fork: keywords of :meth:`~ably_ai_transport.ClientView.send`."""

    parent: str | None
    role: str
    supersedes: str


@dataclass(frozen=True, slots=True)
class ToolResultFork:
    """An answer to a tool call that starts a run of its own.

    Attributes:
        input: The input to send.
        options: The options to send it with.
    """

    input: VercelInput
    options: ForkOptions


@overload
def create_tool_result_fork(
    run_messages: Iterable[CodecMessage[UIMessage]],
    *,
    parent: str | None,
    tool_call_id: str,
    supersedes: str,
    output: object,
    error_message: str | None = None,
) -> ToolResultFork: ...


@overload
def create_tool_result_fork(
    run_messages: Iterable[CodecMessage[UIMessage]],
    *,
    parent: str | None,
    tool_call_id: str,
    supersedes: str,
    error_message: str,
) -> ToolResultFork: ...


def create_tool_result_fork(
    run_messages: Iterable[CodecMessage[UIMessage]],
    *,
    parent: str | None,
    tool_call_id: str,
    supersedes: str,
    output: object = _NOTHING,
    error_message: str | None = None,
) -> ToolResultFork:
    """Answer a suspended run's tool call by a fork: a new run that continues the suspended one.

    Several clients may answer one call so. Each answer is a branch, and the suspended run is hidden.

    Args:
        run_messages: The messages of the suspended run.
        parent: The message that the suspended run follows.
        tool_call_id: The call to answer.
        supersedes: The suspended run's id.
        output: The tool's output; any JSON value, also None.
        error_message: The tool's failure. It counts even if there is an output.

    Returns:
        The input and the options to send it: ``view.send(fork.input, **fork.options)``.

    Raises:
        InvalidArgumentError: There is neither an output nor an error message, or no message of the run has
            this call (40003).

    Example:
        >>> fork = create_tool_result_fork(  # doctest: +SKIP
        ...     run_messages, parent=parent, tool_call_id="call-1", supersedes=run_id, output={"degrees": 21}
        ... )
        >>> run = await session.view.send(fork.input, **fork.options)  # doctest: +SKIP
    """
    if output is _NOTHING and error_message is None:
        raise InvalidArgumentError("unable to fork tool result; give an output or an error_message")
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
        raise InvalidArgumentError(
            f"unable to fork tool result; no run message carries tool call '{tool_call_id}'"
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
    return [part for part in message["parts"] if is_tool_part(part)]


def _calls_in(
    messages: Sequence[UIMessage], state: Literal["input-available", "approval-responded"]
) -> list[PendingToolCall]:
    last = next((message for message in reversed(messages) if message["role"] == "assistant"), None)
    return [
        PendingToolCall(part["toolCallId"], tool_name(part), part["input"])
        for part in (() if last is None else _tool_parts(last))
        if part["state"] == state
        and "input" in part
        and not _breaks_off(part["input"])
        and (state == "input-available" or part.get("approval", {}).get("approved") is True)
    ]


def _breaks_off(value: object) -> bool:
    """Whether an input is the beginning of an object or a list: a token limit cut it off."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return False
    try:
        parse_json(value)
    except ValueError:
        return True
    return False
