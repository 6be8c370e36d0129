"""Messages for people, as the AI SDK's JSON, and the payloads of what clients say about tool calls."""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypeAlias, cast
from uuid import uuid4

from typing_extensions import TypedDict

from ably_ai_transport.codec import Regenerate, ToolApprovalResponse, ToolResult, ToolResultError, UserMessage
from ably_ai_transport_vercel.chunks import ProviderMetadata

Role: TypeAlias = Literal["system", "user", "assistant"]
ToolState: TypeAlias = Literal[
    "input-streaming",
    "input-available",
    "approval-requested",
    "approval-responded",
    "output-available",
    "output-error",
    "output-denied",
]


class TextPart(TypedDict):
    """Text."""

    type: Literal["text"]
    text: str
    state: NotRequired[Literal["streaming", "done"]]
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningPart(TypedDict):
    """What the model thought."""

    type: Literal["reasoning"]
    text: str
    state: NotRequired[Literal["streaming", "done"]]
    providerMetadata: NotRequired[ProviderMetadata]


class StepStartPart(TypedDict):
    """Where a step of the model begins."""

    type: Literal["step-start"]


class FilePart(TypedDict):
    """A file, by URL; a ``data:`` URL holds it itself."""

    type: Literal["file"]
    mediaType: str
    url: str
    filename: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class SourceUrlPart(TypedDict):
    """A page that the reply draws on."""

    type: Literal["source-url"]
    sourceId: str
    url: str
    title: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class SourceDocumentPart(TypedDict):
    """A document that the reply draws on."""

    type: Literal["source-document"]
    sourceId: str
    mediaType: str
    title: NotRequired[str]
    filename: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class ToolApproval(TypedDict):
    """What was asked about a tool call, and what was said."""

    id: str
    approved: NotRequired[bool]
    reason: NotRequired[str]


class ToolPart(TypedDict):
    """A tool call: ``tool-`` and the tool's name, or ``dynamic-tool`` with the name in ``toolName``."""

    type: str
    toolCallId: str
    state: ToolState
    toolName: NotRequired[str]
    title: NotRequired[str]
    providerExecuted: NotRequired[bool]
    input: NotRequired[object]
    output: NotRequired[object]
    preliminary: NotRequired[bool]
    errorText: NotRequired[str]
    approval: NotRequired[ToolApproval]


class DataPart(TypedDict):
    """Data of the application; ``data-`` and a name."""

    type: str
    data: object
    id: NotRequired[str]


UIMessagePart: TypeAlias = (
    TextPart
    | ReasoningPart
    | StepStartPart
    | FilePart
    | SourceUrlPart
    | SourceDocumentPart
    | ToolPart
    | DataPart
)
"""Anything that a message is made of."""


class UIMessage(TypedDict):
    """A message for people."""

    id: str
    role: Role
    parts: list[UIMessagePart]
    metadata: NotRequired[object]


class SeedMessage(TypedDict):
    """A message of a run that a fork continues, under the id that it has in the fork."""

    codecMessageId: str
    message: UIMessage


class ForkSeed(TypedDict):
    """All messages of a suspended run, so that the run that forks from it stands alone."""

    messages: list[SeedMessage]


class ToolResultPayload(TypedDict):
    """A tool's output, found by a client."""

    toolCallId: str
    output: NotRequired[object]
    forkSeed: NotRequired[ForkSeed]


class ToolResultErrorPayload(TypedDict):
    """A tool's failure, met by a client."""

    toolCallId: str
    message: str
    forkSeed: NotRequired[ForkSeed]


class ToolApprovalResponsePayload(TypedDict):
    """Somebody's answer to whether a tool may run."""

    toolCallId: str
    approved: bool
    reason: NotRequired[str]


VercelInput: TypeAlias = (
    UserMessage[UIMessage]
    | Regenerate
    | ToolResult[ToolResultPayload]
    | ToolResultError[ToolResultErrorPayload]
    | ToolApprovalResponse[ToolApprovalResponsePayload]
)
"""Anything that a client says."""


def user_message(text: str, *parts: UIMessagePart, message_id: str | None = None) -> UIMessage:
    """Build a user's message.

    Args:
        text: What the user says.
        parts: Further parts, such as files.
        message_id: The message's own id; a fresh one when None.

    Returns:
        The message, for ``codec.create_user_message``.

    Example:
        >>> user_message("hi", message_id="u1")
        {'id': 'u1', 'role': 'user', 'parts': [{'type': 'text', 'text': 'hi'}]}
    """
    first: TextPart = {"type": "text", "text": text}
    return {"id": message_id or str(uuid4()), "role": "user", "parts": [first, *parts]}


def text_message(text: str, role: Role = "user", message_id: str | None = None) -> UIMessage:
    """Build a message of one text part, whoever says it.

    Args:
        text: The text.
        role: Who says it.
        message_id: The message's own id; a fresh one when None.

    Returns:
        The message.
    """
    message = user_message(text, message_id=message_id)
    message["role"] = role
    return message


def text_of(message: UIMessage) -> str:
    """Return the text of a message: its text parts, one after the other."""
    return "".join(str(part.get("text", "")) for part in message["parts"] if part["type"] == "text")


def is_tool_part(part: object) -> bool:
    """Tell whether a part is a tool call, in either representation."""
    if not isinstance(part, Mapping):
        return False
    values = cast("Mapping[str, object]", part)
    kind = values.get("type")
    named = isinstance(kind, str) and (kind == "dynamic-tool" or kind.startswith("tool-"))
    return named and "toolCallId" in values and "state" in values
