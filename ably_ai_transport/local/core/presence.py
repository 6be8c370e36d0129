"""Presence: the members of a channel.

Enter, update, leave, and the members for a SYNC. The storage keeps past events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ably_ai_transport.local.protocol.formats import canonical_data
from ably_ai_transport.local.protocol.frames import PresenceAction, Value, WirePresence
from ably_ai_transport.local.protocol.parse import integer, text
from ably_ai_transport.local.protocol.refusals import RefusedError, bad_client_id, bad_request

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ably_ai_transport.local.core.steps import Publisher


class PresenceSet:
    """The members of one channel by connection and clientId.

    All events reach this server in order, so the latest event of a member wins.
    """

    __slots__ = ("_limit", "_members")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._members: dict[tuple[str, str], WirePresence] = {}

    def __len__(self) -> int:
        return len(self._members)

    def members(self) -> list[WirePresence]:
        """Return the members for a SYNC."""
        return [{**member, "action": int(PresenceAction.PRESENT)} for member in self._members.values()]

    def apply(self, publisher: Publisher, events: Value, timestamp: int) -> tuple[WirePresence, ...]:
        """Apply the events of a PRESENCE frame and return them in the form for subscribers.

        Raises:
            RefusedError: 91000, no clientId; 40012, the clientId of another client; 91003, too many members;
                40000, an invalid event.
        """
        if not isinstance(events, list) or not events:
            raise bad_request("a PRESENCE frame must carry presence messages")
        connection_id = publisher.connection_id or ""
        announced: list[WirePresence] = []
        for index, event in enumerate(events):
            if not isinstance(event, dict):
                raise bad_request("a presence message must be an object")
            action = integer(event.get("action"), "the action of a presence message", 0)
            if action not in (PresenceAction.ENTER, PresenceAction.LEAVE, PresenceAction.UPDATE):
                raise bad_request(f"a presence message with action {action} cannot be published")
            claimed = event.get("clientId")
            if claimed is not None:
                claimed = text(claimed, "the clientId of a presence message", refusal=bad_client_id)
            client_id = publisher.identity.author(claimed)
            if not client_id:
                raise RefusedError(91000, 400, "unable to enter presence channel (no clientId)")
            data, encoding = canonical_data(event.get("data"), event.get("encoding"))
            wire: WirePresence = {
                "id": f"{publisher.frame_id}:{index}",
                "action": action,
                "clientId": client_id,
                "connectionId": connection_id,
            }
            before = self._members.get((connection_id, client_id))
            if data is None and action == PresenceAction.LEAVE and before is not None:
                data, encoding = before.get("data"), before.get("encoding")
            if data is not None:
                wire["data"] = data
            if encoding is not None:
                wire["encoding"] = encoding
            if event.get("extras") is not None:
                wire["extras"] = event["extras"]
            wire["timestamp"] = timestamp
            announced.append(wire)
        self._check_limit(announced)
        for wire in announced:
            key = (connection_id, wire.get("clientId", ""))
            if wire.get("action") == PresenceAction.LEAVE:
                self._members.pop(key, None)
            else:
                self._members[key] = wire
        return tuple(announced)

    def recall(self, events: Iterable[WirePresence]) -> None:
        """Restore the members from past events."""
        for event in events:
            key = (event.get("connectionId", ""), event.get("clientId", ""))
            if event.get("action") == PresenceAction.LEAVE:
                self._members.pop(key, None)
            else:
                self._members[key] = event

    def holds(self, connection_id: str) -> bool:
        """Tell whether a connection has members here."""
        return any(holder == connection_id for holder, _ in self._members)

    def connections(self) -> set[str]:
        """Return the connectionIds of the members."""
        return {connection_id for connection_id, _ in self._members}

    def leave(self, connection_id: str, frame_id: str, timestamp: int) -> tuple[WirePresence, ...]:
        """Remove all members of a connection and return their leave events.

        Their ids do not begin with the connectionId, so clients compare them by time (specification RTP2b1).
        """
        gone = [key for key in self._members if key[0] == connection_id]
        events: list[WirePresence] = []
        for index, key in enumerate(gone):
            member = self._members.pop(key)
            events.append(
                {
                    **member,
                    "id": f"{frame_id}:{index}",
                    "action": int(PresenceAction.LEAVE),
                    "timestamp": timestamp,
                }
            )
        return tuple(events)

    def _check_limit(self, events: list[WirePresence]) -> None:
        entering = {
            (event.get("connectionId", ""), event.get("clientId", ""))
            for event in events
            if event.get("action") != PresenceAction.LEAVE
        }
        if len(self._members.keys() | entering) > self._limit and not entering <= self._members.keys():
            reason = f"maximum number of {self._limit} members exceeded"
            raise RefusedError(91003, 400, f"Unable to enter member to presence channel; {reason}")
