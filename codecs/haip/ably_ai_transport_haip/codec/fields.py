"""Fields that several rows of the HAIP tables share."""

from collections.abc import Mapping
from typing import Any, Final, cast

from ably_ai_transport.codec import Data, StrField

MESSAGE_ID: Final = StrField("message_id")
CALL_ID: Final = StrField("call_id")


def all_but(*names: str) -> Data:
    """Return the data of a row: the payload without the fields that travel as headers."""
    return Data(lambda values: {name: value for name, value in values.items() if name not in names}, _mapping)


def _mapping(data: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", data) if isinstance(data, dict) else {}
