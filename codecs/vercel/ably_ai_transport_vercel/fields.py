"""The codec headers of UI messages."""

from ably_ai_transport.codec import BoolField, EnumField, JsonField, StrField

ID = StrField("id")
META = JsonField("providerMetadata")
MESSAGE_ID = StrField("messageId")
"""The message's own id; not its ``codec-message-id``."""
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
