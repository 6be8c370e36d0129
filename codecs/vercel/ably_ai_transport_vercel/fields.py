"""The codec headers of UI messages, and what is read from payloads that may be anything."""

from collections.abc import Mapping
from typing import cast

from ably_ai_transport.codec import BoolField, EnumField, JsonField, StrField

ID = StrField("id")
META = JsonField("providerMetadata")
MESSAGE_ID = StrField("messageId")
"""The message's own id, which is not its ``codec-message-id``."""
MESSAGE_METADATA = JsonField("messageMetadata")
FINISH_REASON = EnumField(
    "finishReason", ("stop", "length", "content-filter", "tool-calls", "error", "other"), "stop"
)
TOOL_CALL_ID = StrField("toolCallId", "")
TOOL_NAME = StrField("toolName", "")
DYNAMIC = BoolField("dynamic")
TITLE = StrField("title")
PROVIDER_EXECUTED = BoolField("providerExecuted")
PRELIMINARY = BoolField("preliminary")
APPROVAL_ID = StrField("approvalId", "")
APPROVED = BoolField("approved", default=False)
REASON = StrField("reason")
MEDIA_TYPE = StrField("mediaType", "")
SOURCE_ID = StrField("sourceId", "")
FILENAME = StrField("filename")
TRANSIENT = BoolField("transient")


def as_text(data: object) -> str:
    """Return a payload that is text; nothing for any other."""
    return data if isinstance(data, str) else ""


def as_mapping(data: object) -> Mapping[str, object]:
    """Return a payload that is a JSON object; an empty one for any other."""
    return cast("Mapping[str, object]", data) if isinstance(data, Mapping) else {}


def text_at(data: object, key: str) -> str | None:
    """Return a text in a payload: empty where there is none, None where something else stands."""
    value = as_mapping(data).get(key, "")
    return value if isinstance(value, str) else None
