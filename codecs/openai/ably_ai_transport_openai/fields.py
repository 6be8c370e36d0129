"""The codec headers of Responses events, and what is read from payloads that may be anything."""

from collections.abc import Mapping
from typing import cast

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


def as_text(data: object) -> str:
    """Return a payload that is text; nothing for any other."""
    return data if isinstance(data, str) else ""


def as_mapping(data: object) -> Mapping[str, object]:
    """Return a payload that is a JSON object; an empty one for any other."""
    return cast("Mapping[str, object]", data) if isinstance(data, Mapping) else {}


def pick(values: Mapping[str, object], *keys: str) -> dict[str, object]:
    """Return the fields that are there."""
    return {key: values[key] for key in keys if key in values}
