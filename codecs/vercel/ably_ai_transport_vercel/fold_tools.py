"""Folds an agent's tool calls: their input as it arrives, their outputs, approvals and failures."""

from collections.abc import Mapping
from typing import cast

from ably_ai_transport_vercel.fold_reply import Chunk, pick
from ably_ai_transport_vercel.projection import Part, ToolBuffer, VercelProjection


def _new_identity(chunk: Chunk) -> Part:
    """Return what stays of a tool part in all its states; a static tool's name is in its type."""
    if chunk.get("dynamic"):
        return {"type": "dynamic-tool", **pick(chunk, "toolCallId", "toolName", "title", "providerExecuted")}
    return {"type": f"tool-{chunk['toolName']}", **pick(chunk, "toolCallId", "title", "providerExecuted")}


def identity_of(part: Mapping[str, object]) -> Part:
    """Return what stays of an existing tool part: a static one never becomes a dynamic one."""
    keys = ("type", "toolCallId", "title", "providerExecuted")
    return pick(part, *keys, "toolName") if part["type"] == "dynamic-tool" else pick(part, *keys)


def _call_id(chunk: Chunk) -> str:
    return cast("str", chunk["toolCallId"])


def fold_tool_input_start(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call begins, in a part of its own."""
    entry = projection.ensure(message_id)
    entry.tools.pop(_call_id(chunk), None)
    entry.set_tool_part(_call_id(chunk), ToolBuffer(_new_identity(chunk), []))


def fold_tool_input_delta(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A piece of a call's input."""
    entry = projection.ensure(message_id)
    call = entry.tools.get(_call_id(chunk))
    if call is None:
        return
    call.chunks.append(cast("str", chunk["inputTextDelta"]))
    part = entry.parts[call.index]
    if isinstance(part, ToolBuffer):
        part.chunks = call.chunks
        entry.snapshot = None
    elif isinstance(part, dict):
        entry.set_tool_part(_call_id(chunk), ToolBuffer(identity_of(part), call.chunks))


def fold_tool_input_available(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call's input is complete."""
    entry = projection.ensure(message_id)
    part = entry.tool_part(_call_id(chunk))
    if part is not None:
        part = {**identity_of(part), "state": "input-available", **pick(chunk, "input")}
        entry.set_tool_part(_call_id(chunk), part)


def fold_tool_input_error(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call's input does not fit its tool."""
    entry = projection.ensure(message_id)
    part = entry.tool_part(_call_id(chunk))
    identity = _new_identity(chunk) if part is None else identity_of(part)
    failure = pick(chunk, "input", "errorText")
    entry.set_tool_part(_call_id(chunk), {**identity, "state": "output-error", **failure})


def available(part: Part, result: Mapping[str, object]) -> Part:
    """Return a tool part that has its output."""
    shown = pick(result, "output", "preliminary")
    return {**identity_of(part), "state": "output-available", **pick(part, "input"), **shown}


def failed(part: Part, error_text: object) -> Part:
    """Return a tool part whose tool failed."""
    return {**identity_of(part), "state": "output-error", **pick(part, "input"), "errorText": error_text}


def denied(part: Part) -> Part:
    """Return a tool part that must not run."""
    approval = {"id": "", "approved": False}
    return {**identity_of(part), "state": "output-denied", **pick(part, "input"), "approval": approval}


def fold_tool_output(projection: VercelProjection, chunk: Chunk, _message_id: str) -> None:
    """A tool's output, or its failure.

    After an approval it comes under the id of the reply that ran the tool, which is not the message with
    the call: the call is looked for everywhere, and no message is made for an output that belongs nowhere.
    """
    call_id = _call_id(chunk)
    entry = projection.owner_of(call_id)
    part = None if entry is None else entry.tool_part(call_id)
    if entry is None or part is None:
        return
    is_error = chunk["type"] == "tool-output-error"
    entry.set_tool_part(call_id, failed(part, chunk.get("errorText")) if is_error else available(part, chunk))


def fold_tool_output_denied(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call was denied."""
    entry = projection.ensure(message_id)
    part = entry.tool_part(_call_id(chunk))
    if part is not None:
        entry.set_tool_part(_call_id(chunk), denied(part))


def fold_tool_approval_request(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call waits for approval."""
    entry = projection.ensure(message_id)
    part = entry.tool_part(_call_id(chunk))
    if part is not None:
        approval = {"id": chunk["approvalId"]}
        state = {"state": "approval-requested", **pick(part, "input"), "approval": approval}
        entry.set_tool_part(_call_id(chunk), {**identity_of(part), **state})
