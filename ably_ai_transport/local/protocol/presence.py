"""Presence messages as a client submits them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.protocol.formats import canonical_data
from ably_ai_transport.local.protocol.frames import PresenceAction, Value
from ably_ai_transport.local.protocol.parse import integer, text
from ably_ai_transport.local.protocol.refusals import bad_client_id, bad_request
from ably_ai_transport.local.protocol.serials import MAX_BATCH
from ably_ai_transport.local.protocol.values import (
    carried,
    size_of,
    size_of_text,
    weight_of,
    weight_of_text,
)

if TYPE_CHECKING:
    from ably_ai_transport.local.protocol.frames import Data, WirePresence

_ACCEPTED: Final = frozenset({PresenceAction.ENTER, PresenceAction.LEAVE, PresenceAction.UPDATE})


_HELD_BY_EVENT: Final = 1000
"""Bytes of memory of an event without its data, measured with CPython 3.11."""


@dataclass(frozen=True, slots=True)
class PresenceSubmission:
    """One presence message of a frame, checked, with binary data as bytes."""

    action: int
    client_id: str | None
    data: Data
    encoding: str | None
    extras: Value

    @property
    def size(self) -> int:
        """Bytes of clientId, data and extras (Ably specification TP5)."""
        return size_of_text(self.client_id) + size_of_text(self.data) + size_of(self.extras)


def parse_presence(events: Value) -> list[PresenceSubmission]:
    """Parse the presence messages of a frame.

    Raises:
        RefusedError: 40000, an invalid event; 40009, too many events; 40013, invalid data.
    """
    if not isinstance(events, list) or not events:
        raise bad_request("a PRESENCE frame must carry presence messages")
    if len(events) > MAX_BATCH:
        raise bad_request(f"more than {MAX_BATCH} presence messages in one frame", 40009)
    return [_parse(event) for event in events]


def held_by_event(event: WirePresence) -> int:
    """Return the bytes of memory that an event takes."""
    held = _HELD_BY_EVENT + weight_of_text(event.get("data")) + weight_of(event.get("extras"))
    return held + weight_of_text(event.get("clientId"))


def _parse(event: Value) -> PresenceSubmission:
    if not isinstance(event, dict):
        raise bad_request("a presence message must be an object")
    action = integer(event.get("action"), "the action of a presence message", 0)
    if action not in _ACCEPTED:
        raise bad_request(f"a presence message with action {action} cannot be published")
    client_id = event.get("clientId")
    data, encoding = canonical_data(event.get("data"), event.get("encoding"))
    return PresenceSubmission(
        action,
        None if client_id is None else text(client_id, "a clientId", refusal=bad_client_id),
        data,
        encoding,
        carried(event.get("extras"), "extras"),
    )
