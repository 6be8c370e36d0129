"""The inputs on the wire."""

from collections.abc import Iterable, Mapping
from typing import cast

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
    text_at,
)
from ably_ai_transport_vercel.fields import (
    APPROVED,
    ID,
    MEDIA_TYPE,
    MESSAGE_ID,
    REASON,
    TOOL_CALL_ID,
)
from ably_ai_transport_vercel.messages import Role, UIMessage, UIMessagePart

_ROLE = "role"
"""The transport header that every part of a message repeats."""
_SEEDED_VALUES = "forkSeed.messages.*.message.parts.*.*"
_EMPTY: Values = {"type": "text", "text": ""}
"""The part of a message that has no part to publish: its id and role still arrive."""


def _explode(event: UserMessage[UIMessage]) -> Iterable[Values]:
    parts = [cast("Values", part) for part in event.message["parts"] if _travels(part["type"])]
    return parts or [_EMPTY]


def _travels(kind: object) -> bool:
    return isinstance(kind, str) and (kind in ("text", "file") or kind.startswith("data-"))


def _headers(event: UserMessage[UIMessage]) -> BatchHeaders:
    codec: dict[str, str] = {}
    MESSAGE_ID.write(codec, event.message.get("id"))
    return BatchHeaders(codec, {_ROLE: event.message["role"]})


def _assemble(part: dict[str, object], payload: Payload) -> UserMessage[UIMessage]:
    role = cast("Role", payload.transport_headers.get(_ROLE, "user"))
    message_id = MESSAGE_ID.read(payload.codec_headers) or ""
    return UserMessage({"id": message_id, "role": role, "parts": [cast("UIMessagePart", part)]})


def _read_seed(data: object) -> dict[str, object]:
    """Read the messages of a fork, without those that could not be folded."""
    listed = as_mapping(as_mapping(data).get("forkSeed")).get("messages")
    if not isinstance(listed, list):
        return {}
    messages: list[object] = []
    for item in cast("list[object]", listed):
        entry = as_mapping(item)
        message = as_mapping(entry.get("message"))
        parts = message.get("parts")
        if not isinstance(entry.get("codecMessageId"), str) or not isinstance(parts, list):
            continue
        sound = [part for part in cast("list[object]", parts) if text_at(part, "type")]
        messages.append({**pick(entry, "codecMessageId"), "message": {**message, "parts": sound}})
    return {"forkSeed": {"messages": messages}}


def _read_result(data: object) -> Mapping[str, object]:
    return {**pick(as_mapping(data), "output"), **_read_seed(data)}


def _read_failure(data: object) -> Mapping[str, object]:
    return {"message": text_at(data, "message") or "", **_read_seed(data)}


INPUTS: tuple[InputTableRow, ...] = (
    InputRow(
        "tool-result",
        fields=(TOOL_CALL_ID,),
        data=Data(
            encode=lambda payload: pick(payload, "output", "forkSeed"),
            decode=_read_result,
            storable=("output", _SEEDED_VALUES),
        ),
    ),
    InputRow(
        "tool-result-error",
        fields=(TOOL_CALL_ID,),
        data=Data(
            encode=lambda payload: pick(payload, "message", "forkSeed"),
            decode=_read_failure,
            storable=("message", _SEEDED_VALUES),
        ),
    ),
    InputRow("tool-approval-response", fields=(TOOL_CALL_ID, APPROVED, REASON)),
    SignalRow("regenerate"),
    BatchRow(
        "user-message",
        explode=_explode,
        headers=_headers,
        assemble=_assemble,
        parts=(
            PartRow(
                "text",
                data=Data(
                    lambda part: part.get("text"), lambda data: {"text": as_text(data)}, (WHOLE_PAYLOAD,)
                ),
            ),
            PartRow(
                "file",
                fields=(MEDIA_TYPE,),
                data=Data(
                    lambda part: part.get("url"), lambda data: {"url": as_text(data)}, (WHOLE_PAYLOAD,)
                ),
            ),
            PartRow(
                "data-*",
                fields=(ID,),
                data=Data(lambda part: part.get("data"), lambda data: {"data": data}, (WHOLE_PAYLOAD,)),
            ),
        ),
    ),
)
