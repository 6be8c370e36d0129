"""The events of UI messages, as the AI SDK's JSON: chunks of agents, inputs of clients.

An absent key and a ``None`` differ, as in JSON. Leave out keys without a value.
"""

from typing import Literal, NotRequired, TypeAlias

from typing_extensions import TypeAliasType, TypedDict

from ably_ai_transport.codec import Regenerate, ToolApprovalResponse, ToolResult, ToolResultError, UserMessage
from ably_ai_transport_vercel.messages import ProviderMetadata, UIMessage

FinishReason: TypeAlias = Literal["stop", "length", "content-filter", "tool-calls", "error", "other"]


class StartChunk(TypedDict):
    """A reply begins. ``messageId`` becomes the message's own id."""

    type: Literal["start"]
    messageId: NotRequired[str]
    messageMetadata: NotRequired[object]


class StartStepChunk(TypedDict):
    """A step of the model begins."""

    type: Literal["start-step"]


class FinishStepChunk(TypedDict):
    """A step of the model ends."""

    type: Literal["finish-step"]


class FinishChunk(TypedDict):
    """The reply is complete."""

    type: Literal["finish"]
    finishReason: NotRequired[FinishReason]
    messageMetadata: NotRequired[object]


class AbortChunk(TypedDict):
    """The model was stopped."""

    type: Literal["abort"]
    reason: NotRequired[str]


class ErrorChunk(TypedDict):
    """The model failed."""

    type: Literal["error"]
    errorText: str


class MessageMetadataChunk(TypedDict):
    """Replaces the message's metadata."""

    type: Literal["message-metadata"]
    messageMetadata: object


class TextStartChunk(TypedDict):
    """A text part begins."""

    type: Literal["text-start"]
    id: str
    providerMetadata: NotRequired[ProviderMetadata]


class TextDeltaChunk(TypedDict):
    """A piece of a text part."""

    type: Literal["text-delta"]
    id: str
    delta: str
    providerMetadata: NotRequired[ProviderMetadata]


class TextEndChunk(TypedDict):
    """A text part is complete."""

    type: Literal["text-end"]
    id: str
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningStartChunk(TypedDict):
    """A reasoning part begins."""

    type: Literal["reasoning-start"]
    id: str
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningDeltaChunk(TypedDict):
    """A piece of a reasoning part."""

    type: Literal["reasoning-delta"]
    id: str
    delta: str
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningEndChunk(TypedDict):
    """A reasoning part is complete."""

    type: Literal["reasoning-end"]
    id: str
    providerMetadata: NotRequired[ProviderMetadata]


class ToolInputStartChunk(TypedDict):
    """The model begins a tool call."""

    type: Literal["tool-input-start"]
    toolCallId: str
    toolName: str
    dynamic: NotRequired[bool]
    title: NotRequired[str]
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]


class ToolInputDeltaChunk(TypedDict):
    """A piece of the JSON of a tool call's input."""

    type: Literal["tool-input-delta"]
    toolCallId: str
    inputTextDelta: str


class ToolInputAvailableChunk(TypedDict):
    """The whole input of a tool call, with or without deltas before it."""

    type: Literal["tool-input-available"]
    toolCallId: str
    toolName: str
    input: NotRequired[object]
    dynamic: NotRequired[bool]
    title: NotRequired[str]
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]


class ToolInputErrorChunk(TypedDict):
    """The input does not fit the tool."""

    type: Literal["tool-input-error"]
    toolCallId: str
    toolName: str
    errorText: str
    input: NotRequired[object]
    dynamic: NotRequired[bool]
    title: NotRequired[str]
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]


class ToolApprovalRequestChunk(TypedDict):
    """A tool call waits for approval."""

    type: Literal["tool-approval-request"]
    toolCallId: str
    approvalId: str


class ToolOutputAvailableChunk(TypedDict):
    """A tool's output. The next one replaces a ``preliminary`` one."""

    type: Literal["tool-output-available"]
    toolCallId: str
    output: NotRequired[object]
    dynamic: NotRequired[bool]
    providerExecuted: NotRequired[bool]
    preliminary: NotRequired[bool]


class ToolOutputErrorChunk(TypedDict):
    """A tool failed."""

    type: Literal["tool-output-error"]
    toolCallId: str
    errorText: str
    dynamic: NotRequired[bool]
    providerExecuted: NotRequired[bool]


class ToolOutputDeniedChunk(TypedDict):
    """A tool call was denied."""

    type: Literal["tool-output-denied"]
    toolCallId: str


class FileChunk(TypedDict):
    """A file made by the model."""

    type: Literal["file"]
    url: str
    mediaType: str
    providerMetadata: NotRequired[ProviderMetadata]


class SourceUrlChunk(TypedDict):
    """A web page that the reply cites."""

    type: Literal["source-url"]
    sourceId: str
    url: str
    title: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class SourceDocumentChunk(TypedDict):
    """A document that the reply cites."""

    type: Literal["source-document"]
    sourceId: str
    mediaType: str
    title: str
    filename: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class DataChunk(TypedDict):
    """Data of the application.

    Its ``type`` is ``data-`` and a name. One with an ``id`` replaces the part of the same type and id. A
    ``transient`` one is delivered to attached clients only and becomes no part.
    """

    type: str
    data: object
    id: NotRequired[str]
    transient: NotRequired[bool]


UIMessageChunk = TypeAliasType(
    "UIMessageChunk",
    StartChunk
    | StartStepChunk
    | FinishStepChunk
    | FinishChunk
    | AbortChunk
    | ErrorChunk
    | MessageMetadataChunk
    | TextStartChunk
    | TextDeltaChunk
    | TextEndChunk
    | ReasoningStartChunk
    | ReasoningDeltaChunk
    | ReasoningEndChunk
    | ToolInputStartChunk
    | ToolInputDeltaChunk
    | ToolInputAvailableChunk
    | ToolInputErrorChunk
    | ToolApprovalRequestChunk
    | ToolOutputAvailableChunk
    | ToolOutputErrorChunk
    | ToolOutputDeniedChunk
    | FileChunk
    | SourceUrlChunk
    | SourceDocumentChunk
    | DataChunk,
)
"""A chunk of a reply. The ``is_…_chunk`` functions tell them apart."""


class MadeUpChunk(dict[str, object]):
    """A chunk that a decoder made up for a late joiner. It equals the real one."""


class SeedMessage(TypedDict):
    """A message of a run that a fork continues, with its id in the fork."""

    codecMessageId: str
    message: UIMessage


class ForkSeed(TypedDict):
    """All messages of a suspended run. They make the run that forks from it complete."""

    messages: list[SeedMessage]


class ToolResultPayload(TypedDict):
    """A tool's output, from a client."""

    toolCallId: str
    output: NotRequired[object]
    forkSeed: NotRequired[ForkSeed]


class ToolResultErrorPayload(TypedDict):
    """A tool's failure, from a client."""

    toolCallId: str
    message: str
    forkSeed: NotRequired[ForkSeed]


class ToolApprovalResponsePayload(TypedDict):
    """The decision whether a tool may run."""

    toolCallId: str
    approved: bool
    reason: NotRequired[str]


VercelInput = TypeAliasType(
    "VercelInput",
    UserMessage[UIMessage]
    | Regenerate
    | ToolResult[ToolResultPayload]
    | ToolResultError[ToolResultErrorPayload]
    | ToolApprovalResponse[ToolApprovalResponsePayload],
)
"""An input of a client."""
