"""The codec headers of Responses events."""

from ably_ai_transport.codec import BoolField, JsonField, StrField

ITEM_ID = StrField("item_id")
OUTPUT_INDEX = JsonField("output_index")
CONTENT_INDEX = JsonField("content_index")
SUMMARY_INDEX = JsonField("summary_index")
PART = JsonField("part")
ITEM = JsonField("item")
CALL_ID = StrField("call_id", "")
NAME = StrField("name", "")
APPROVED = BoolField("approved", default=False)
REASON = StrField("reason")
