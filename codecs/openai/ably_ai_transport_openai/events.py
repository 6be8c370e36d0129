"""What agents put out, what clients say, and the messages that both fold into.

All of it is plain JSON in OpenAI's own words, as dicts. Where an agent has objects of the ``openai`` package,
they are taken as they are.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypeAlias

from typing_extensions import TypedDict

from ably_ai_transport.codec import Regenerate, ToolApprovalResponse, ToolResult, ToolResultError, UserMessage

if TYPE_CHECKING:
    from openai.types.responses import ResponseStreamEvent

Role: TypeAlias = Literal["user", "assistant"]


class InputText(TypedDict):
    """A text of a person."""

    type: Literal["input_text"]
    text: str


class InputMessage(TypedDict):
    """What a person says: an item that is input only."""

    type: Literal["message"]
    role: str
    content: list[InputText]


class OutputText(TypedDict):
    """A text of the model."""

    type: Literal["output_text"]
    text: str
    annotations: NotRequired[list[dict[str, Any]]]
    logprobs: NotRequired[list[dict[str, Any]]]


class Refusal(TypedDict):
    """The model's refusal to answer."""

    type: Literal["refusal"]
    refusal: str


class OutputMessage(TypedDict):
    """What the model says."""

    type: Literal["message"]
    id: str
    role: Literal["assistant"]
    status: NotRequired[str]
    content: list[OutputText | Refusal]


class SummaryText(TypedDict):
    """A part of the summary of what the model thought."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(TypedDict):
    """A part of what the model thought."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(TypedDict):
    """What the model thought."""

    type: Literal["reasoning"]
    id: str
    summary: list[SummaryText]
    content: NotRequired[list[ReasoningText]]
    encrypted_content: NotRequired[str | None]
    status: NotRequired[str]


class FunctionCall(TypedDict):
    """A call of a function that the model asks for."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    id: NotRequired[str]
    status: NotRequired[str]


class FunctionCallOutput(TypedDict):
    """What a function call brought."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[dict[str, Any]]


OpenAIItem: TypeAlias = OutputMessage | ReasoningItem | FunctionCall | FunctionCallOutput | InputMessage
"""An item of a message; each is valid input for the model."""


class OpenAIToolCallState(TypedDict, total=False):
    """What OpenAI's items cannot say of a function call.

    Attributes:
        approval: Whether somebody has approved it.
        result: How a client's execution went.
        name: The function, as the request for approval names it.
        arguments: Its arguments, as JSON text.
        reason: Why it was approved or denied.
    """

    approval: Literal["pending", "approved", "denied"]
    result: Literal["ok", "failed"]
    name: str
    arguments: str
    reason: str


class OpenAIMessage(TypedDict):
    """A message: the items of one reply, or what a person says.

    Attributes:
        role: Who says it.
        items: The items, in order.
        toolCallStates: What items cannot say of calls, by ``call_id``; absent where there is nothing.
    """

    role: Role
    items: list[OpenAIItem]
    toolCallStates: NotRequired[dict[str, OpenAIToolCallState]]


class FunctionCallOutputEvent(TypedDict):
    """A function's result that the agent puts out: OpenAI's stream has no event for it."""

    type: Literal["function_call_output"]
    item: FunctionCallOutput


class ToolApprovalRequestEvent(TypedDict):
    """A function call that the agent wants somebody to approve."""

    type: Literal["tool-approval-request"]
    call_id: str
    name: str
    arguments: str


ResponseEvent: TypeAlias = Mapping[str, Any]
"""An event of OpenAI's stream as plain JSON."""

OpenAIOutput: TypeAlias = (
    "ResponseStreamEvent | FunctionCallOutputEvent | ToolApprovalRequestEvent | ResponseEvent"
)
"""What agents put out: OpenAI's stream, and the two events that it lacks."""


class OpenAIToolResultPayload(TypedDict):
    """A client's answer to a function call."""

    call_id: str
    output: str | list[dict[str, Any]]


class OpenAIToolResultErrorPayload(TypedDict):
    """How a function call failed at a client."""

    call_id: str
    message: str


class OpenAIToolApprovalResponsePayload(TypedDict):
    """Whether a function may be called."""

    call_id: str
    approved: bool
    reason: NotRequired[str]


OpenAIInput: TypeAlias = (
    UserMessage[OpenAIMessage]
    | Regenerate
    | ToolResult[OpenAIToolResultPayload]
    | ToolResultError[OpenAIToolResultErrorPayload]
    | ToolApprovalResponse[OpenAIToolApprovalResponsePayload]
)
"""What clients say."""


def user_message(text: str) -> OpenAIMessage:
    """Build what a person says.

    Args:
        text: The words.

    Returns:
        The message.

    Example:
        >>> user_message("hi")["items"][0]["content"]
        [{'type': 'input_text', 'text': 'hi'}]
    """
    part: InputText = {"type": "input_text", "text": text}
    return {"role": "user", "items": [{"type": "message", "role": "user", "content": [part]}]}
