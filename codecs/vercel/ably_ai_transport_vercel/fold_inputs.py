"""Folds what clients say: their messages, and their answers to tool calls."""

from typing import cast

from ably_ai_transport.codec import ToolApprovalResponse, ToolResult, ToolResultError
from ably_ai_transport_vercel.fold_reply import pick
from ably_ai_transport_vercel.fold_tools import available, denied, failed, identity_of
from ably_ai_transport_vercel.messages import (
    ForkSeed,
    ToolApprovalResponsePayload,
    ToolResultErrorPayload,
    ToolResultPayload,
    UIMessage,
)
from ably_ai_transport_vercel.projection import Part, PendingAnswer, Resolve, VercelProjection


def fold_user_message(projection: VercelProjection, message: UIMessage, message_id: str | None) -> None:
    """Fold a message, or one part of it: the parts of one message come one by one."""
    entry = None if message_id is None else projection.index.get(message_id)
    if entry is None:
        projection.add(message["id"] if message_id is None else message_id, message)
        return
    entry.parts.extend(cast("list[Part]", message["parts"]))
    entry.snapshot = None


def fold_tool_result(projection: VercelProjection, event: ToolResult[ToolResultPayload]) -> None:
    """Fold a tool's output that a client found."""
    payload = event.payload
    _plant(projection, event.codec_message_id, payload.get("forkSeed"))
    result = pick(payload, "output")
    _answer(projection, event.codec_message_id, payload["toolCallId"], lambda part: available(part, result))


def fold_tool_result_error(
    projection: VercelProjection, event: ToolResultError[ToolResultErrorPayload]
) -> None:
    """Fold a tool's failure that a client met."""
    payload = event.payload
    _plant(projection, event.codec_message_id, payload.get("forkSeed"))
    text = payload["message"]
    _answer(projection, event.codec_message_id, payload["toolCallId"], lambda part: failed(part, text))


def fold_tool_approval_response(
    projection: VercelProjection, event: ToolApprovalResponse[ToolApprovalResponsePayload]
) -> None:
    """Fold somebody's answer to whether a tool may run."""
    payload = event.payload

    def resolve(part: Part) -> Part:
        if not payload["approved"]:
            return denied(part)
        asked = part.get("approval")
        request = cast("Part", asked).get("id", "") if isinstance(asked, dict) else ""
        approval = {"id": request, "approved": True, **pick(payload, "reason")}
        state = {"state": "approval-responded", **pick(part, "input"), "approval": approval}
        return {**identity_of(part), **state}

    _answer(projection, event.codec_message_id, payload["toolCallId"], resolve)


def _plant(projection: VercelProjection, target: str, seed: ForkSeed | None) -> None:
    """Set up the messages of the run that a fork continues, unless they are there."""
    if seed is None or target in projection.index:
        return
    for item in seed["messages"]:
        if item["codecMessageId"] not in projection.index:
            entry = projection.add(item["codecMessageId"], item["message"])
            projection.adopt_tools(entry)


def _answer(projection: VercelProjection, target: str, call_id: str, resolve: Resolve) -> None:
    answer = PendingAnswer(target, call_id, resolve)
    if not _apply(projection, answer):
        projection.pending.append(answer)


def _apply(projection: VercelProjection, answer: PendingAnswer) -> bool:
    entry = projection.index.get(answer.codec_message_id)
    part = None if entry is None else entry.tool_part(answer.tool_call_id)
    if entry is None or part is None:
        return False
    entry.set_tool_part(answer.tool_call_id, answer.resolve(part))
    return True


def retry_pending(projection: VercelProjection) -> None:
    """Give the answers that came before their tool call another chance."""
    projection.pending = [answer for answer in projection.pending if not _apply(projection, answer)]
