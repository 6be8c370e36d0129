"""Folds events into messages."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, cast

from ably_ai_transport.codec import (
    CodecMessage,
    FoldMeta,
    InputEvent,
    OutputEvent,
    Reducer,
    Regenerate,
    ToolApprovalResponse,
    ToolResult,
    ToolResultError,
    UserMessage,
    as_text,
    pick,
)
from ably_ai_transport_vercel.events import (
    ForkSeed,
    MadeUpChunk,
    ToolApprovalResponsePayload,
    ToolResultErrorPayload,
    ToolResultPayload,
    UIMessageChunk,
    VercelInput,
)
from ably_ai_transport_vercel.messages import UIMessage
from ably_ai_transport_vercel.projection import (
    Entry,
    Part,
    PendingAnswer,
    Resolve,
    TextBuffer,
    ToolBuffer,
    VercelProjection,
)

Chunk: TypeAlias = Mapping[str, object]
FoldChunk: TypeAlias = Callable[[VercelProjection, Chunk, str], None]


# Replies: their frame, text, files, sources and data


def _set_metadata(entry: Entry, chunk: Chunk) -> None:
    if "messageMetadata" in chunk:
        entry.envelope["metadata"] = chunk["messageMetadata"]
        entry.snapshot = None


def _fold_start(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A reply begins."""
    entry = projection.ensure(message_id)
    if "messageId" in chunk:
        entry.envelope["id"] = chunk["messageId"]
        entry.snapshot = None
    _set_metadata(entry, chunk)


def _fold_metadata(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """New metadata of a message. Without the message it is dropped."""
    entry = projection.index.get(message_id)
    if entry is not None:
        _set_metadata(entry, chunk)


def _fold_start_step(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A step begins.

    A late joiner may get the real start and one that its decoder made up. In canonical order the real one
    comes first, and the other adds nothing to the open step.
    """
    entry = projection.ensure(message_id)
    if entry.in_step and isinstance(chunk, MadeUpChunk):
        return
    entry.in_step = True
    _append(entry, {"type": "step-start"})


def _fold_finish_step(projection: VercelProjection, _chunk: Chunk, message_id: str) -> None:
    """A step ends. The next step may use its stream ids again."""
    entry = projection.index.get(message_id)
    if entry is not None:
        entry.in_step = False
        for streams in entry.open.values():
            streams.clear()


def _fold_end(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """The reply ends: ``finish``, ``abort`` or ``error``. The run knows how it ended."""
    entry = projection.index.get(message_id)
    if entry is not None:
        entry.in_step = False
        if chunk["type"] == "finish":
            _set_metadata(entry, chunk)


def _append(entry: Entry, part: Part | TextBuffer) -> None:
    entry.parts.append(part)
    entry.snapshot = None


_PART_OF: Final = {
    "text-start": "text",
    "text-delta": "text",
    "text-end": "text",
    "reasoning-start": "reasoning",
    "reasoning-delta": "reasoning",
    "reasoning-end": "reasoning",
}


def _stream_id(chunk: Chunk) -> str | None:
    stream_id = chunk.get("id")
    return stream_id if isinstance(stream_id, str) else None


def _fold_text_start(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A text or reasoning part begins."""
    entry = projection.ensure(message_id)
    kind = _PART_OF[cast("str", chunk["type"])]
    buffer = entry.open[kind][_stream_id(chunk)] = TextBuffer(kind)
    _append(entry, buffer)


def _fold_text_delta(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A piece of text or reasoning. Without its part it is dropped."""
    entry = projection.ensure(message_id)
    buffer = entry.open[_PART_OF[cast("str", chunk["type"])]].get(_stream_id(chunk))
    if buffer is not None:
        buffer.chunks.append(as_text(chunk.get("delta")))
        entry.snapshot = None


def _fold_text_end(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A text or reasoning part is complete."""
    entry = projection.ensure(message_id)
    entry.open[_PART_OF[cast("str", chunk["type"])]].pop(_stream_id(chunk), None)


def _fold_file(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A file."""
    _append(projection.ensure(message_id), pick(chunk, "type", "mediaType", "url"))


def _fold_source_url(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A page."""
    _append(projection.ensure(message_id), pick(chunk, "type", "sourceId", "url", "title"))


def _fold_source_document(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A document."""
    part = pick(chunk, "type", "sourceId", "mediaType", "title", "filename")
    _append(projection.ensure(message_id), part)


def _fold_data(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """Data of the application: a new part, or the new content of the part with its type and id."""
    if chunk.get("transient"):
        return
    entry = projection.ensure(message_id)
    part = pick(chunk, "type", "id", "data")
    if isinstance(part.get("id"), str):
        for index, other in enumerate(entry.parts):
            if isinstance(other, dict) and pick(other, "type", "id") == pick(part, "type", "id"):
                entry.parts[index] = part
                entry.snapshot = None
                return
    _append(entry, part)


# Tool calls of the agent


def _new_identity(chunk: Chunk) -> Part:
    """Return the keys that a tool part has in all states. The type holds a static tool's name."""
    if chunk.get("dynamic"):
        return {"type": "dynamic-tool", **pick(chunk, "toolCallId", "toolName", "title", "providerExecuted")}
    return {
        "type": f"tool-{as_text(chunk.get('toolName'))}",
        **pick(chunk, "toolCallId", "title", "providerExecuted"),
    }


def _identity_of(part: Mapping[str, object]) -> Part:
    """Return the keys of a tool part that it keeps in all states. Static parts never become dynamic."""
    keys = ("type", "toolCallId", "title", "providerExecuted")
    return pick(part, *keys, "toolName") if part["type"] == "dynamic-tool" else pick(part, *keys)


def _call_id(chunk: Chunk) -> str:
    return as_text(chunk.get("toolCallId"))


def _fold_tool_input_start(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call begins, in a part of its own."""
    entry = projection.ensure(message_id)
    entry.tools.pop(_call_id(chunk), None)
    entry.set_tool_part(_call_id(chunk), ToolBuffer(_new_identity(chunk), []))


def _fold_tool_input_delta(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A piece of a call's input."""
    entry = projection.ensure(message_id)
    call = entry.tools.get(_call_id(chunk))
    if call is None:
        return
    call.chunks.append(as_text(chunk.get("inputTextDelta")))
    part = entry.parts[call.index]
    if isinstance(part, ToolBuffer):
        part.chunks = call.chunks
        entry.snapshot = None
    elif isinstance(part, dict):
        entry.set_tool_part(_call_id(chunk), ToolBuffer(_identity_of(part), call.chunks))


def _fold_tool_input_available(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call's input is complete."""
    entry = projection.ensure(message_id)
    part = entry.tool_part(_call_id(chunk))
    if part is not None:
        part = {**_identity_of(part), "state": "input-available", **pick(chunk, "input")}
        entry.set_tool_part(_call_id(chunk), part)


def _fold_tool_input_error(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call's input does not fit its tool."""
    entry = projection.ensure(message_id)
    part = entry.tool_part(_call_id(chunk))
    identity = _new_identity(chunk) if part is None else _identity_of(part)
    failure = pick(chunk, "input", "errorText")
    entry.set_tool_part(_call_id(chunk), {**identity, "state": "output-error", **failure})


def _available(part: Part, result: Mapping[str, object]) -> Part:
    """Return a tool part that has its output."""
    shown = pick(result, "output", "preliminary")
    return {**_identity_of(part), "state": "output-available", **pick(part, "input"), **shown}


def _failed(part: Part, error_text: object) -> Part:
    """Return a tool part whose tool failed."""
    return {**_identity_of(part), "state": "output-error", **pick(part, "input"), "errorText": error_text}


def _denied(part: Part) -> Part:
    """Return a tool part that must not run."""
    approval = {"id": "", "approved": False}
    return {**_identity_of(part), "state": "output-denied", **pick(part, "input"), "approval": approval}


def _fold_tool_output(projection: VercelProjection, chunk: Chunk, _message_id: str) -> None:
    """A tool's output, or its failure.

    After an approval it comes under the id of another reply than the one with the call. So the call is looked
    up in all messages. An output without a call is dropped.
    """
    call_id = _call_id(chunk)
    entry = projection.owner_of(call_id)
    part = None if entry is None else entry.tool_part(call_id)
    if entry is None or part is None:
        return
    if chunk["type"] == "tool-output-error":
        entry.set_tool_part(call_id, _failed(part, chunk.get("errorText")))
    else:
        entry.set_tool_part(call_id, _available(part, chunk))


def _fold_tool_output_denied(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call was denied."""
    entry = projection.ensure(message_id)
    part = entry.tool_part(_call_id(chunk))
    if part is not None:
        entry.set_tool_part(_call_id(chunk), _denied(part))


def _fold_tool_approval_request(projection: VercelProjection, chunk: Chunk, message_id: str) -> None:
    """A call waits for approval."""
    entry = projection.ensure(message_id)
    part = entry.tool_part(_call_id(chunk))
    if part is not None:
        approval = {"id": as_text(chunk.get("approvalId"))}
        state = {"state": "approval-requested", **pick(part, "input"), "approval": approval}
        entry.set_tool_part(_call_id(chunk), {**_identity_of(part), **state})


# Inputs of clients


def _fold_user_message(projection: VercelProjection, message: UIMessage, message_id: str | None) -> None:
    """Fold a message or one part of it. The parts of a message come one by one."""
    entry = None if message_id is None else projection.index.get(message_id)
    if entry is None:
        projection.add(message["id"] if message_id is None else message_id, message)
        return
    entry.parts.extend(cast("list[Part]", message["parts"]))
    entry.snapshot = None


def _fold_tool_result(projection: VercelProjection, event: ToolResult[ToolResultPayload]) -> None:
    """Fold a tool's output, sent by a client."""
    payload = event.payload
    _plant(projection, event.codec_message_id, payload.get("forkSeed"))
    result = pick(payload, "output")
    _answer(projection, event.codec_message_id, payload["toolCallId"], lambda part: _available(part, result))


def _fold_tool_result_error(
    projection: VercelProjection, event: ToolResultError[ToolResultErrorPayload]
) -> None:
    """Fold a tool's failure, sent by a client."""
    payload = event.payload
    _plant(projection, event.codec_message_id, payload.get("forkSeed"))
    text = payload["message"]
    _answer(projection, event.codec_message_id, payload["toolCallId"], lambda part: _failed(part, text))


def _fold_tool_approval_response(
    projection: VercelProjection, event: ToolApprovalResponse[ToolApprovalResponsePayload]
) -> None:
    """Fold the decision whether a tool may run."""
    payload = event.payload

    def resolve(part: Part) -> Part:
        if not payload["approved"]:
            return _denied(part)
        asked = part.get("approval")
        request = cast("Part", asked).get("id", "") if isinstance(asked, dict) else ""
        approval = {"id": request, "approved": True, **pick(payload, "reason")}
        state = {"state": "approval-responded", **pick(part, "input"), "approval": approval}
        return {**_identity_of(part), **state}

    _answer(projection, event.codec_message_id, payload["toolCallId"], resolve)


def _plant(projection: VercelProjection, target: str, seed: ForkSeed | None) -> None:
    """Add the messages of the run that a fork continues, unless they are there."""
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


def _retry_pending(projection: VercelProjection) -> None:
    """Apply the answers whose tool call has arrived since."""
    projection.pending = [answer for answer in projection.pending if not _apply(projection, answer)]


# The table


_FOLDS: Final[dict[str, FoldChunk]] = {
    "start": _fold_start,
    "start-step": _fold_start_step,
    "finish-step": _fold_finish_step,
    "finish": _fold_end,
    "abort": _fold_end,
    "error": _fold_end,
    "message-metadata": _fold_metadata,
    "text-start": _fold_text_start,
    "text-delta": _fold_text_delta,
    "text-end": _fold_text_end,
    "reasoning-start": _fold_text_start,
    "reasoning-delta": _fold_text_delta,
    "reasoning-end": _fold_text_end,
    "file": _fold_file,
    "source-url": _fold_source_url,
    "source-document": _fold_source_document,
    "tool-input-start": _fold_tool_input_start,
    "tool-input-delta": _fold_tool_input_delta,
    "tool-input-available": _fold_tool_input_available,
    "tool-input-error": _fold_tool_input_error,
    "tool-output-available": _fold_tool_output,
    "tool-output-error": _fold_tool_output,
    "tool-output-denied": _fold_tool_output_denied,
    "tool-approval-request": _fold_tool_approval_request,
}
"""The fold of each kind of chunk, except ``data-*``."""


def fold(
    projection: VercelProjection,
    event: InputEvent[VercelInput] | OutputEvent[UIMessageChunk],
    meta: FoldMeta,
) -> VercelProjection:
    """Fold one event into a projection, in place.

    A chunk without a message, or of an unknown kind, is dropped.
    """
    if isinstance(event, OutputEvent):
        message_id = meta.message_id
        if message_id is not None:
            chunk = cast("Chunk", event.event)
            kind = as_text(chunk.get("type"))
            fold_chunk = _FOLDS.get(kind)
            if fold_chunk is not None:
                fold_chunk(projection, chunk, message_id)
            elif kind.startswith("data-"):
                _fold_data(projection, chunk, message_id)
    else:
        _fold_input(projection, event.event, meta)
    if projection.pending:
        _retry_pending(projection)
    return projection


def _fold_input(projection: VercelProjection, event: VercelInput, meta: FoldMeta) -> None:
    match event:
        case UserMessage():
            _fold_user_message(projection, event.message, meta.message_id)
        case ToolResult():
            _fold_tool_result(projection, event)
        case ToolResultError():
            _fold_tool_result_error(projection, event)
        case ToolApprovalResponse():
            _fold_tool_approval_response(projection, event)
        case Regenerate():
            pass  # it asks for a run and shows nothing


def get_messages(projection: VercelProjection) -> Sequence[CodecMessage[UIMessage]]:
    """Return the messages of a projection, in the order in which they began."""
    return [entry.show() for entry in projection.entries]


REDUCER: Final = Reducer(VercelProjection, fold, get_messages)
