"""Reports: ``ERROR`` messages that every peer can read."""

import json
from collections.abc import Mapping
from typing import Final

from ably_ai_transport_haip.protocol.errors import HaipError
from ably_ai_transport_haip.protocol.messages import UUID_FORM, HaipEnvelope, HaipMessage
from ably_ai_transport_haip.protocol.names import HaipChannel, HaipEventType

_LONGEST: Final = 1000


def error_message(error: HaipError, related_id: str | None = None) -> HaipMessage:
    """Build the message that reports an error to the other side.

    Args:
        error: The error. Long texts are cut: they may repeat what the other side sent.
        related_id: The id of the message that the error is about, as the other side wrote it.

    Returns:
        An ``ERROR``. It names the message if its id is a UUID.
    """
    payload: dict[str, object] = {"code": error.code, "message": error.message[:_LONGEST]}
    if related_id is not None and UUID_FORM.fullmatch(related_id):
        payload["related_id"] = related_id
    if error.details:
        payload["detail"] = _plain(error.details)
    return HaipMessage(HaipEventType.ERROR, payload, HaipEnvelope(channel=HaipChannel.SYSTEM))


def _plain(details: Mapping[str, object]) -> object:
    """Return details as JSON that every peer can read."""
    try:
        return json.loads(json.dumps(dict(details), default=str, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return {key: str(value)[:_LONGEST] for key, value in details.items()}
