"""Messages for people and their parts, as the AI SDK's JSON."""

from collections.abc import Iterable
from typing import Literal, NotRequired, TypeAlias
from uuid import uuid4

from typing_extensions import TypeAliasType, TypedDict

ProviderMetadata: TypeAlias = dict[str, dict[str, object]]
"""Extra data of model providers, by provider."""
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
    """A thought of the model."""

    type: Literal["reasoning"]
    text: str
    state: NotRequired[Literal["streaming", "done"]]
    providerMetadata: NotRequired[ProviderMetadata]


class StepStartPart(TypedDict):
    """The start of a step of the model."""

    type: Literal["step-start"]


class FilePart(TypedDict):
    """A file, by URL. A ``data:`` URL holds its content."""

    type: Literal["file"]
    mediaType: str
    url: str
    filename: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class SourceUrlPart(TypedDict):
    """A web page that the reply cites."""

    type: Literal["source-url"]
    sourceId: str
    url: str
    title: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class SourceDocumentPart(TypedDict):
    """A document that the reply cites."""

    type: Literal["source-document"]
    sourceId: str
    mediaType: str
    title: NotRequired[str]
    filename: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class ToolApproval(TypedDict):
    """The request for approval of a tool call, and the decision."""

    id: str
    approved: NotRequired[bool]
    reason: NotRequired[str]


class ToolPart(TypedDict):
    """A tool call. Its type is ``tool-`` and the tool's name, or ``dynamic-tool`` with ``toolName``."""

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
    """Data of the application. Its type is ``data-`` and a name."""

    type: str
    data: object
    id: NotRequired[str]


UIMessagePart = TypeAliasType(
    "UIMessagePart",
    TextPart
    | ReasoningPart
    | StepStartPart
    | FilePart
    | SourceUrlPart
    | SourceDocumentPart
    | ToolPart
    | DataPart,
)
"""A part of a message. The ``is_…_part`` functions tell them apart."""


class UIMessage(TypedDict):
    """A message for people."""

    id: str
    role: Role
    parts: list[UIMessagePart]
    metadata: NotRequired[object]


def text_message(
    text: str, role: Role = "user", message_id: str | None = None, *, parts: Iterable[UIMessagePart] = ()
) -> UIMessage:
    """Build a message with a text.

    Args:
        text: The text.
        role: The speaker.
        message_id: The message's own id; a fresh one if None.
        parts: Further parts after the text, such as files.

    Returns:
        The message, for ``codec.create_user_message``.

    Example:
        >>> text_message("hi", message_id="u1")
        {'id': 'u1', 'role': 'user', 'parts': [{'type': 'text', 'text': 'hi'}]}
    """
    first: TextPart = {"type": "text", "text": text}
    return {"id": message_id or str(uuid4()), "role": role, "parts": [first, *parts]}


def text_of(message: UIMessage) -> str:
    """Return the text of a message: its text parts, joined."""
    return "".join(str(part.get("text", "")) for part in message["parts"] if part["type"] == "text")


def tool_name(part: ToolPart) -> str:
    """Return the name of a tool part's tool.

    Example:
        >>> tool_name({"type": "tool-weather", "toolCallId": "c1", "state": "input-streaming"})
        'weather'
    """
    return part.get("toolName", "") if part["type"] == "dynamic-tool" else part["type"].removeprefix("tool-")
