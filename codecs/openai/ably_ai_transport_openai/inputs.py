"""The inputs on the wire."""

from collections.abc import Iterable
from typing import Final, cast

from ably_ai_transport.codec import (
    WHOLE_PAYLOAD,
    BatchHeaders,
    BatchRow,
    Data,
    InputRow,
    InputTableRow,
    PartRow,
    Payload,
    SignalRow,
    UserMessage,
    Values,
    as_mapping,
    as_text,
    pick,
)
from ably_ai_transport.wire import InvalidArgumentError
from ably_ai_transport_openai.events import InputText, OpenAIMessage, Role
from ably_ai_transport_openai.fields import APPROVED, CALL_ID, REASON

_ROLE: Final = "role"
"""The transport header that every part of a message repeats."""
_EMPTY: Final[Values] = {"type": "input_text", "text": ""}
"""The part of a message without parts: its role still arrives."""


def _explode(event: UserMessage[OpenAIMessage]) -> Iterable[Values]:
    items = event.message["items"]
    item = items[0] if len(items) == 1 else None
    if item is None or item["type"] != "message":
        raise InvalidArgumentError(
            f"unable to publish; a user message must be exactly one message item, got {len(items)} item(s)"
        )
    parts = [as_mapping(part) for part in item["content"]]
    for part in parts:
        if part.get("type") != "input_text":
            raise InvalidArgumentError(
                f"unable to publish; unsupported input content part type '{as_text(part.get('type'))[:100]}'"
            )
    return parts or [_EMPTY]


def _headers(event: UserMessage[OpenAIMessage]) -> BatchHeaders:
    return BatchHeaders(transport={_ROLE: event.message["role"]})


def _assemble(part: dict[str, object], payload: Payload) -> UserMessage[OpenAIMessage]:
    role = cast("Role", payload.transport_headers.get(_ROLE, "user"))
    content = [cast("InputText", part)]
    return UserMessage({"role": role, "items": [{"type": "message", "role": "user", "content": content}]})


INPUTS: Final[tuple[InputTableRow, ...]] = (
    InputRow(
        "tool-result",
        fields=(CALL_ID,),
        data=Data(
            encode=lambda payload: pick(payload, "output"),
            decode=lambda data: pick(as_mapping(data), "output") if data != "" else {"output": ""},
            storable=("output",),
        ),
    ),
    InputRow(
        "tool-result-error",
        fields=(CALL_ID,),
        data=Data(
            encode=lambda payload: pick(payload, "message"),
            decode=lambda data: {"message": as_text(as_mapping(data).get("message"))},
            storable=("message",),
        ),
    ),
    InputRow("tool-approval-response", fields=(CALL_ID, APPROVED, REASON)),
    SignalRow("regenerate"),
    BatchRow(
        "user-message",
        explode=_explode,
        headers=_headers,
        assemble=_assemble,
        parts=(
            PartRow(
                "input_text",
                data=Data(
                    lambda part: part.get("text"), lambda data: {"text": as_text(data)}, (WHOLE_PAYLOAD,)
                ),
            ),
        ),
    ),
)
