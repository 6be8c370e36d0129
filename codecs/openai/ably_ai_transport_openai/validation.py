"""The types that messages and payloads are checked against before they become inputs.

Unknown fields pass.
"""

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, with_config
from typing_extensions import TypedDict

from ably_ai_transport.codec import InputTypes
from ably_ai_transport_openai.events import Role

_OPEN = ConfigDict(extra="allow")
_Named = Annotated[str, StringConstraints(min_length=1)]


@with_config(_OPEN)
class _Text(TypedDict):
    type: Literal["input_text"]
    text: str


@with_config(_OPEN)
class _Item(TypedDict):
    type: Literal["message"]
    role: str
    content: list[_Text]


@with_config(_OPEN)
class _Message(TypedDict):
    role: Role
    items: Annotated[list[_Item], Field(min_length=1, max_length=1)]


@with_config(_OPEN)
class _ToolResult(TypedDict):
    call_id: _Named
    output: str | list[dict[str, object]]


@with_config(_OPEN)
class _ToolResultError(TypedDict):
    call_id: _Named
    message: str


@with_config(_OPEN)
class _ToolApprovalResponse(TypedDict):
    call_id: _Named
    approved: bool


CHECKS: Final[InputTypes] = {
    "user-message": _Message,
    "tool-result": _ToolResult,
    "tool-result-error": _ToolResultError,
    "tool-approval-response": _ToolApprovalResponse,
}
