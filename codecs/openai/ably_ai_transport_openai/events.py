"""The events of agents and clients, and the messages that they fold into.

All are dicts, as OpenAI's JSON. Agents may also pass objects of the ``openai`` package.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypeAlias

from typing_extensions import TypeAliasType, TypedDict

from ably_ai_transport.codec import Regenerate, ToolApprovalResponse, ToolResult, ToolResultError, UserMessage

if TYPE_CHECKING:
    from openai.types.responses import ResponseStreamEvent

Role: TypeAlias = Literal["user", "assistant"]


class InputText(TypedDict):
    """A text of a person."""

    type: Literal["input_text"]
    text: str


class InputMessage(TypedDict):
    """A message of a person: an item that is input only."""

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
    """A message of the model."""

    type: Literal["message"]
    id: str
    role: Literal["assistant"]
    status: NotRequired[str]
    content: list[OutputText | Refusal]


class SummaryText(TypedDict):
    """A part of a reasoning summary."""

    type: Literal["summary_text"]
    text: str


class ReasoningText(TypedDict):
    """A part of a reasoning text."""

    type: Literal["reasoning_text"]
    text: str


class ReasoningItem(TypedDict):
    """The reasoning of the model."""

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
    """The output of a function call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[dict[str, Any]]


OpenAIItem: TypeAlias = OutputMessage | ReasoningItem | FunctionCall | FunctionCallOutput | InputMessage
"""An item of a message; each is valid input for the model."""


class OpenAIToolCallState(TypedDict, total=False):
    """The state of a function call that OpenAI's items cannot hold.

    Attributes:
        approval: The decision about it.
        result: Whether a client's execution succeeded.
        name: The function, as the request for approval names it.
        arguments: Its arguments, as JSON text.
        reason: The reason of the decision.
    """

    approval: Literal["pending", "approved", "denied"]
    result: Literal["ok", "failed"]
    name: str
    arguments: str
    reason: str


class OpenAIMessage(TypedDict):
    """A message: the items of one reply, or of a person.

    Attributes:
        role: The speaker.
        items: The items, in order.
        toolCallStates: The states of calls, by ``call_id``; absent if there are none.
    """

    role: Role
    items: list[OpenAIItem]
    toolCallStates: NotRequired[dict[str, OpenAIToolCallState]]


class FunctionCallOutputEvent(TypedDict):
    """A function's result from the agent. OpenAI's stream has no event for it."""

    type: Literal["function_call_output"]
    item: FunctionCallOutput


class ToolApprovalRequestEvent(TypedDict):
    """A function call that waits for approval."""

    type: Literal["tool-approval-request"]
    call_id: str
    name: str
    arguments: str


ResponseEvent: TypeAlias = Mapping[str, Any]
"""An event of OpenAI's stream as plain JSON."""

OpenAIOutput: TypeAlias = (
    "ResponseStreamEvent | FunctionCallOutputEvent | ToolApprovalRequestEvent | ResponseEvent"
)
"""An output of an agent: an event of OpenAI's stream, or one of the two events that it lacks."""


class OpenAIToolResultPayload(TypedDict):
    """A function's output, from a client."""

    call_id: str
    output: str | list[dict[str, Any]]


class OpenAIToolResultErrorPayload(TypedDict):
    """A function's failure, from a client."""

    call_id: str
    message: str


class OpenAIToolApprovalResponsePayload(TypedDict):
    """The decision whether a function may be called."""

    call_id: str
    approved: bool
    reason: NotRequired[str]


OpenAIInput = TypeAliasType(
    "OpenAIInput",
    UserMessage[OpenAIMessage]
    | Regenerate
    | ToolResult[OpenAIToolResultPayload]
    | ToolResultError[OpenAIToolResultErrorPayload]
    | ToolApprovalResponse[OpenAIToolApprovalResponsePayload],
)
"""An input of a client."""


def user_message(text: str) -> OpenAIMessage:
    """Build a user's message.

    Args:
        text: The text.

    Returns:
        The message.

    Example:
        >>> user_message("hi")["items"][0]["content"]
        [{'type': 'input_text', 'text': 'hi'}]
    """
    part: InputText = {"type": "input_text", "text": text}
    return {"role": "user", "items": [{"type": "message", "role": "user", "content": [part]}]}
