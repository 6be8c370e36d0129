"""Folds events into messages."""

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

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
)
from ably_ai_transport_vercel import fold_inputs, fold_reply, fold_tools
from ably_ai_transport_vercel.chunks import UIMessageChunk
from ably_ai_transport_vercel.fold_reply import Chunk
from ably_ai_transport_vercel.messages import UIMessage, VercelInput
from ably_ai_transport_vercel.projection import VercelProjection

FoldChunk: TypeAlias = Callable[[VercelProjection, Chunk, str], None]

_FOLDS: dict[object, FoldChunk] = {
    "start": fold_reply.fold_start,
    "start-step": fold_reply.fold_start_step,
    "finish-step": fold_reply.fold_finish_step,
    "finish": fold_reply.fold_end,
    "abort": fold_reply.fold_end,
    "error": fold_reply.fold_end,
    "message-metadata": fold_reply.fold_metadata,
    "text-start": fold_reply.fold_text_start,
    "text-delta": fold_reply.fold_text_delta,
    "text-end": fold_reply.fold_text_end,
    "reasoning-start": fold_reply.fold_text_start,
    "reasoning-delta": fold_reply.fold_text_delta,
    "reasoning-end": fold_reply.fold_text_end,
    "file": fold_reply.fold_file,
    "source-url": fold_reply.fold_source_url,
    "source-document": fold_reply.fold_source_document,
    "tool-input-start": fold_tools.fold_tool_input_start,
    "tool-input-delta": fold_tools.fold_tool_input_delta,
    "tool-input-available": fold_tools.fold_tool_input_available,
    "tool-input-error": fold_tools.fold_tool_input_error,
    "tool-output-available": fold_tools.fold_tool_output,
    "tool-output-error": fold_tools.fold_tool_output,
    "tool-output-denied": fold_tools.fold_tool_output_denied,
    "tool-approval-request": fold_tools.fold_tool_approval_request,
}
"""How each chunk folds; ``data-*`` chunks besides."""


def fold(
    projection: VercelProjection,
    event: InputEvent[VercelInput] | OutputEvent[UIMessageChunk],
    meta: FoldMeta,
) -> VercelProjection:
    """Fold one event into a projection, in place.

    A chunk that belongs to no message is dropped, and so is one of a kind that is not known.
    """
    if isinstance(event, OutputEvent):
        message_id = meta.message_id
        if message_id is not None:
            chunk = cast("Chunk", event.event)
            kind = chunk["type"]
            fold_chunk = _FOLDS.get(kind)
            if fold_chunk is not None:
                fold_chunk(projection, chunk, message_id)
            elif isinstance(kind, str) and kind.startswith("data-"):
                fold_reply.fold_data(projection, chunk, message_id)
    else:
        _fold_input(projection, event.event, meta)
    if projection.pending:
        fold_inputs.retry_pending(projection)
    return projection


def _fold_input(projection: VercelProjection, event: VercelInput, meta: FoldMeta) -> None:
    match event:
        case UserMessage():
            fold_inputs.fold_user_message(projection, event.message, meta.message_id)
        case ToolResult():
            fold_inputs.fold_tool_result(projection, event)
        case ToolResultError():
            fold_inputs.fold_tool_result_error(projection, event)
        case ToolApprovalResponse():
            fold_inputs.fold_tool_approval_response(projection, event)
        case Regenerate():
            pass  # it asks for a run; it says nothing itself


def get_messages(projection: VercelProjection) -> Sequence[CodecMessage[UIMessage]]:
    """Return the messages of a projection, in the order in which they began."""
    return [entry.show() for entry in projection.entries]


REDUCER = Reducer(VercelProjection, fold, get_messages)
