"""What is asked of messages and payloads before they become inputs. What is not known passes."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal, TypeVar, cast

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ably_ai_transport.wire import AITransportError, ErrorCode
from ably_ai_transport_openai.events import Role

T = TypeVar("T")
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


@cache
def _adapters() -> Mapping[str, TypeAdapter[object]]:
    # Built on first use: reading a channel never needs them.
    return {
        "user message": cast("TypeAdapter[object]", TypeAdapter(_Message)),
        "tool result": cast("TypeAdapter[object]", TypeAdapter(_ToolResult)),
        "tool result error": cast("TypeAdapter[object]", TypeAdapter(_ToolResultError)),
        "tool approval response": cast("TypeAdapter[object]", TypeAdapter(_ToolApprovalResponse)),
    }


def check(what: str, value: T) -> T:
    """Check what an input is to be built from.

    Args:
        what: What it is, in words: ``user message``, ``tool result``, …
        value: A dict.

    Returns:
        A copy of it; unknown fields are kept.

    Raises:
        AITransportError: A field is missing or of the wrong type (40003); the message names it.
    """
    try:
        return cast("T", _adapters()[what].validate_python(value, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or what
        raise AITransportError(
            f"unable to build {what}; {where}: {first['msg']}", ErrorCode.INVALID_ARGUMENT, 400, error
        ) from error
