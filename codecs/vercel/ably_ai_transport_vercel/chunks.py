"""The chunks of a reply: what an agent streams, as the AI SDK's JSON.

Absent and ``None`` are different things here, as in JSON: leave out what there is not.
"""

from typing import Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict

ProviderMetadata: TypeAlias = dict[str, dict[str, object]]
"""Extra data of model providers, by provider."""
FinishReason: TypeAlias = Literal["stop", "length", "content-filter", "tool-calls", "error", "other"]


class StartChunk(TypedDict):
    """A reply begins; ``messageId`` becomes the message's own id."""

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
    """The whole input of a tool call, after its deltas or without any."""

    type: Literal["tool-input-available"]
    toolCallId: str
    toolName: str
    input: NotRequired[object]
    dynamic: NotRequired[bool]
    title: NotRequired[str]
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]


class ToolInputErrorChunk(TypedDict):
    """The model's input does not fit the tool."""

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
    """A tool call waits for somebody's approval."""

    type: Literal["tool-approval-request"]
    toolCallId: str
    approvalId: str


class ToolOutputAvailableChunk(TypedDict):
    """A tool's output; a ``preliminary`` one is replaced by the next."""

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
    """A file that the model made."""

    type: Literal["file"]
    url: str
    mediaType: str
    providerMetadata: NotRequired[ProviderMetadata]


class SourceUrlChunk(TypedDict):
    """A page that the reply draws on."""

    type: Literal["source-url"]
    sourceId: str
    url: str
    title: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class SourceDocumentChunk(TypedDict):
    """A document that the reply draws on."""

    type: Literal["source-document"]
    sourceId: str
    mediaType: str
    title: str
    filename: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class DataChunk(TypedDict):
    """Data of the application.

    Its ``type`` is ``data-`` and a name. One with an ``id`` replaces the part of the same type and id;
    a ``transient`` one is delivered to who is there and becomes no part.
    """

    type: str
    data: object
    id: NotRequired[str]
    transient: NotRequired[bool]


UIMessageChunk: TypeAlias = (
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
    | DataChunk
)
"""Anything that an agent streams."""
