"""``TypeGuard`` helpers: tell the parts of messages and the chunks of replies apart.

``part["type"] == "text"`` does not narrow a type, since the ``type`` of tool parts and data parts may be any
string. These functions do, one branch each. ``TypeIs`` would also narrow the ``else`` branch, but pyright
does not support it for ``TypedDict``.

Example:
    >>> for part in message["parts"]:  # doctest: +SKIP
    ...     if is_text_part(part):
    ...         print(part["text"])
    ...     elif is_tool_part(part):
    ...         print(tool_name(part), part["state"])
"""

from collections.abc import Mapping
from typing import TypeGuard, cast

from ably_ai_transport_vercel.events import (
    AbortChunk,
    DataChunk,
    ErrorChunk,
    FileChunk,
    FinishChunk,
    FinishStepChunk,
    MessageMetadataChunk,
    ReasoningDeltaChunk,
    ReasoningEndChunk,
    ReasoningStartChunk,
    SourceDocumentChunk,
    SourceUrlChunk,
    StartChunk,
    StartStepChunk,
    TextDeltaChunk,
    TextEndChunk,
    TextStartChunk,
    ToolApprovalRequestChunk,
    ToolInputAvailableChunk,
    ToolInputDeltaChunk,
    ToolInputErrorChunk,
    ToolInputStartChunk,
    ToolOutputAvailableChunk,
    ToolOutputDeniedChunk,
    ToolOutputErrorChunk,
    UIMessageChunk,
)
from ably_ai_transport_vercel.messages import (
    DataPart,
    FilePart,
    ReasoningPart,
    SourceDocumentPart,
    SourceUrlPart,
    StepStartPart,
    TextPart,
    ToolPart,
    UIMessagePart,
)

# Parts


def is_text_part(part: UIMessagePart) -> TypeGuard[TextPart]:
    """Whether a part is a ``text`` part."""
    return part["type"] == "text"


def is_reasoning_part(part: UIMessagePart) -> TypeGuard[ReasoningPart]:
    """Whether a part is a ``reasoning`` part."""
    return part["type"] == "reasoning"


def is_step_start_part(part: UIMessagePart) -> TypeGuard[StepStartPart]:
    """Whether a part is a ``step-start`` part."""
    return part["type"] == "step-start"


def is_file_part(part: UIMessagePart) -> TypeGuard[FilePart]:
    """Whether a part is a ``file`` part."""
    return part["type"] == "file"


def is_source_url_part(part: UIMessagePart) -> TypeGuard[SourceUrlPart]:
    """Whether a part is a ``source-url`` part."""
    return part["type"] == "source-url"


def is_source_document_part(part: UIMessagePart) -> TypeGuard[SourceDocumentPart]:
    """Whether a part is a ``source-document`` part."""
    return part["type"] == "source-document"


def is_data_part(part: UIMessagePart) -> TypeGuard[DataPart]:
    """Whether a part is a ``data-…`` part of the application."""
    return part["type"].startswith("data-")


def is_tool_part(part: object) -> TypeGuard[ToolPart]:
    """Whether a part is a tool call, static (``tool-…``) or dynamic (``dynamic-tool``)."""
    if not isinstance(part, Mapping):
        return False
    values = cast("Mapping[str, object]", part)
    kind = values.get("type")
    named = isinstance(kind, str) and (kind == "dynamic-tool" or kind.startswith("tool-"))
    return named and "toolCallId" in values and "state" in values


# Chunks


def is_start_chunk(chunk: UIMessageChunk) -> TypeGuard[StartChunk]:
    """Whether a chunk is ``start``."""
    return chunk["type"] == "start"


def is_start_step_chunk(chunk: UIMessageChunk) -> TypeGuard[StartStepChunk]:
    """Whether a chunk is ``start-step``."""
    return chunk["type"] == "start-step"


def is_finish_step_chunk(chunk: UIMessageChunk) -> TypeGuard[FinishStepChunk]:
    """Whether a chunk is ``finish-step``."""
    return chunk["type"] == "finish-step"


def is_finish_chunk(chunk: UIMessageChunk) -> TypeGuard[FinishChunk]:
    """Whether a chunk is ``finish``."""
    return chunk["type"] == "finish"


def is_abort_chunk(chunk: UIMessageChunk) -> TypeGuard[AbortChunk]:
    """Whether a chunk is ``abort``."""
    return chunk["type"] == "abort"


def is_error_chunk(chunk: UIMessageChunk) -> TypeGuard[ErrorChunk]:
    """Whether a chunk is ``error``."""
    return chunk["type"] == "error"


def is_message_metadata_chunk(chunk: UIMessageChunk) -> TypeGuard[MessageMetadataChunk]:
    """Whether a chunk is ``message-metadata``."""
    return chunk["type"] == "message-metadata"


def is_text_start_chunk(chunk: UIMessageChunk) -> TypeGuard[TextStartChunk]:
    """Whether a chunk is ``text-start``."""
    return chunk["type"] == "text-start"


def is_text_delta_chunk(chunk: UIMessageChunk) -> TypeGuard[TextDeltaChunk]:
    """Whether a chunk is ``text-delta``."""
    return chunk["type"] == "text-delta"


def is_text_end_chunk(chunk: UIMessageChunk) -> TypeGuard[TextEndChunk]:
    """Whether a chunk is ``text-end``."""
    return chunk["type"] == "text-end"


def is_reasoning_start_chunk(chunk: UIMessageChunk) -> TypeGuard[ReasoningStartChunk]:
    """Whether a chunk is ``reasoning-start``."""
    return chunk["type"] == "reasoning-start"


def is_reasoning_delta_chunk(chunk: UIMessageChunk) -> TypeGuard[ReasoningDeltaChunk]:
    """Whether a chunk is ``reasoning-delta``."""
    return chunk["type"] == "reasoning-delta"


def is_reasoning_end_chunk(chunk: UIMessageChunk) -> TypeGuard[ReasoningEndChunk]:
    """Whether a chunk is ``reasoning-end``."""
    return chunk["type"] == "reasoning-end"


def is_tool_input_start_chunk(chunk: UIMessageChunk) -> TypeGuard[ToolInputStartChunk]:
    """Whether a chunk is ``tool-input-start``."""
    return chunk["type"] == "tool-input-start"


def is_tool_input_delta_chunk(chunk: UIMessageChunk) -> TypeGuard[ToolInputDeltaChunk]:
    """Whether a chunk is ``tool-input-delta``."""
    return chunk["type"] == "tool-input-delta"


def is_tool_input_available_chunk(chunk: UIMessageChunk) -> TypeGuard[ToolInputAvailableChunk]:
    """Whether a chunk is ``tool-input-available``."""
    return chunk["type"] == "tool-input-available"


def is_tool_input_error_chunk(chunk: UIMessageChunk) -> TypeGuard[ToolInputErrorChunk]:
    """Whether a chunk is ``tool-input-error``."""
    return chunk["type"] == "tool-input-error"


def is_tool_approval_request_chunk(chunk: UIMessageChunk) -> TypeGuard[ToolApprovalRequestChunk]:
    """Whether a chunk is ``tool-approval-request``."""
    return chunk["type"] == "tool-approval-request"


def is_tool_output_available_chunk(chunk: UIMessageChunk) -> TypeGuard[ToolOutputAvailableChunk]:
    """Whether a chunk is ``tool-output-available``."""
    return chunk["type"] == "tool-output-available"


def is_tool_output_error_chunk(chunk: UIMessageChunk) -> TypeGuard[ToolOutputErrorChunk]:
    """Whether a chunk is ``tool-output-error``."""
    return chunk["type"] == "tool-output-error"


def is_tool_output_denied_chunk(chunk: UIMessageChunk) -> TypeGuard[ToolOutputDeniedChunk]:
    """Whether a chunk is ``tool-output-denied``."""
    return chunk["type"] == "tool-output-denied"


def is_file_chunk(chunk: UIMessageChunk) -> TypeGuard[FileChunk]:
    """Whether a chunk is ``file``."""
    return chunk["type"] == "file"


def is_source_url_chunk(chunk: UIMessageChunk) -> TypeGuard[SourceUrlChunk]:
    """Whether a chunk is ``source-url``."""
    return chunk["type"] == "source-url"


def is_source_document_chunk(chunk: UIMessageChunk) -> TypeGuard[SourceDocumentChunk]:
    """Whether a chunk is ``source-document``."""
    return chunk["type"] == "source-document"


def is_data_chunk(chunk: UIMessageChunk) -> TypeGuard[DataChunk]:
    """Whether a chunk is ``data-…``, data of the application."""
    return chunk["type"].startswith("data-")
