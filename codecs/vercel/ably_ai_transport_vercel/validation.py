"""What is asked of messages and payloads before they become inputs.

As little as the codec itself relies on: what it does not know passes and survives.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Literal, NotRequired, TypeVar, cast

from pydantic import (
    ConfigDict,
    Discriminator,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

from ably_ai_transport.wire import AITransportError, ErrorCode
from ably_ai_transport_vercel.messages import Role

T = TypeVar("T")
_OPEN = ConfigDict(extra="allow")
_Named = Annotated[str, StringConstraints(min_length=1)]


@with_config(_OPEN)
class _Text(TypedDict):
    type: Literal["text"]
    text: str


@with_config(_OPEN)
class _File(TypedDict):
    type: Literal["file"]
    mediaType: str
    url: str


@with_config(_OPEN)
class _Data(TypedDict):
    type: _Named
    data: object
    id: NotRequired[str]


@with_config(_OPEN)
class _Other(TypedDict):
    type: _Named


def _part_tag(part: object) -> str:
    kind = cast("Mapping[str, object]", part).get("type") if isinstance(part, Mapping) else None
    if kind in ("text", "file"):
        return str(kind)
    return "data" if isinstance(kind, str) and kind.startswith("data-") else "other"


_Part = Annotated[
    Annotated[_Text, Tag("text")]
    | Annotated[_File, Tag("file")]
    | Annotated[_Data, Tag("data")]
    | Annotated[_Other, Tag("other")],
    Discriminator(_part_tag),
]


@with_config(_OPEN)
class _Message(TypedDict):
    id: _Named
    role: Role
    parts: list[_Part]


@with_config(_OPEN)
class _ToolResult(TypedDict):
    toolCallId: _Named


@with_config(_OPEN)
class _ToolResultError(TypedDict):
    toolCallId: _Named
    message: str


@with_config(_OPEN)
class _ToolApprovalResponse(TypedDict):
    toolCallId: _Named
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


def _path(location: tuple[int | str, ...]) -> list[str]:
    """Return where an error is, without the tags that pydantic puts behind the number of a part."""
    before = (None, *location)
    return [str(step) for step, last in zip(location, before, strict=False) if not isinstance(last, int)]


def check(what: str, value: T) -> T:
    """Check what an input is to be built from.

    Args:
        what: What it is, in words: ``user message``, ``tool result``, …
        value: A dict, as the AI SDK's JSON.

    Returns:
        A copy of it; unknown fields are kept.

    Raises:
        AITransportError: A field is missing or of the wrong type (40003); the message names it.
    """
    try:
        return cast("T", _adapters()[what].validate_python(value, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(_path(first["loc"])) or what
        raise AITransportError(
            f"unable to build {what}; {where}: {first['msg']}", ErrorCode.INVALID_ARGUMENT, 400, error
        ) from error
