"""The types that messages and payloads are checked against before they become inputs.

They hold only the fields that the codec relies on. Unknown fields pass.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, NotRequired, cast

from pydantic import ConfigDict, Discriminator, StringConstraints, Tag, with_config
from typing_extensions import TypedDict

from ably_ai_transport.codec import TAG, InputTypes
from ably_ai_transport_vercel.messages import Role

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
        return f"{TAG}{kind}"
    return TAG + ("data" if isinstance(kind, str) and kind.startswith("data-") else "other")


_Part = Annotated[
    Annotated[_Text, Tag(TAG + "text")]
    | Annotated[_File, Tag(TAG + "file")]
    | Annotated[_Data, Tag(TAG + "data")]
    | Annotated[_Other, Tag(TAG + "other")],
    Discriminator(_part_tag),
]


@with_config(_OPEN)
class _Message(TypedDict):
    id: _Named
    role: Role
    parts: list[_Part]


@with_config(_OPEN)
class _SeededMessage(TypedDict):
    role: Role
    parts: list[_Part]


@with_config(_OPEN)
class _SeedEntry(TypedDict):
    codecMessageId: _Named
    message: _SeededMessage


@with_config(_OPEN)
class _Seed(TypedDict):
    messages: list[_SeedEntry]


@with_config(_OPEN)
class _ToolResult(TypedDict):
    toolCallId: _Named
    forkSeed: NotRequired[_Seed]


@with_config(_OPEN)
class _ToolResultError(TypedDict):
    toolCallId: _Named
    message: str
    forkSeed: NotRequired[_Seed]


@with_config(_OPEN)
class _ToolApprovalResponse(TypedDict):
    toolCallId: _Named
    approved: bool


CHECKS: Final[InputTypes] = {
    "user-message": _Message,
    "tool-result": _ToolResult,
    "tool-result-error": _ToolResultError,
    "tool-approval-response": _ToolApprovalResponse,
}
