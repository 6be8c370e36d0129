"""Presence: the members of a channel.

Enter, update, leave, and the members for a SYNC. The storage keeps past events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ably_ai_transport.local.protocol.frames import PresenceAction, WirePresence
from ably_ai_transport.local.protocol.presence import held_by_event
from ably_ai_transport.local.protocol.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ably_ai_transport.local.core.steps import Publisher
    from ably_ai_transport.local.protocol.presence import PresenceSubmission


class PresenceSet:
    """The members of one channel by connection and clientId.

    All events reach this server in order, so the latest event of a member wins.

    Attributes:
        held: Bytes of memory that the members take.
    """

    __slots__ = ("_limit", "_members", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._members: dict[tuple[str, str], WirePresence] = {}
        self.held = 0

    def __len__(self) -> int:
        return len(self._members)

    def members(self) -> list[WirePresence]:
        """Return the members for a SYNC."""
        return [{**member, "action": int(PresenceAction.PRESENT)} for member in self._members.values()]

    def events(
        self, publisher: Publisher, submissions: Sequence[PresenceSubmission], timestamp: int
    ) -> tuple[WirePresence, ...]:
        """Return the events of a PRESENCE frame in the form for subscribers; `apply` makes them happen.

        Raises:
            RefusedError: 91000, no clientId; 40012, the clientId of another client; 91003, too many members.
        """
        connection_id = publisher.connection_id or ""
        announced: list[WirePresence] = []
        for index, submission in enumerate(submissions):
            client_id = publisher.identity.author(submission.client_id)
            if not client_id:
                raise RefusedError(91000, 400, "unable to enter presence channel (no clientId)")
            data, encoding = submission.data, submission.encoding
            wire: WirePresence = {
                "id": f"{publisher.frame_id}:{index}",
                "action": submission.action,
                "clientId": client_id,
                "connectionId": connection_id,
            }
            before = self._members.get((connection_id, client_id))
            if data is None and submission.action == PresenceAction.LEAVE and before is not None:
                data, encoding = before.get("data"), before.get("encoding")
            if data is not None:
                wire["data"] = data
            if encoding is not None:
                wire["encoding"] = encoding
            if submission.extras is not None:
                wire["extras"] = submission.extras
            wire["timestamp"] = timestamp
            announced.append(wire)
        self._check_limit(announced)
        return tuple(announced)

    def apply(self, events: Iterable[WirePresence]) -> None:
        """Change the members by events."""
        for event in events:
            key = (event.get("connectionId", ""), event.get("clientId", ""))
            before = self._members.get(key)
            if before is not None:
                self.held -= held_by_event(before)
            if event.get("action") == PresenceAction.LEAVE:
                self._members.pop(key, None)
            else:
                self._members[key] = event
                self.held += held_by_event(event)

    def snapshot(self) -> dict[tuple[str, str], WirePresence]:
        """Return the members, for `restore`."""
        return dict(self._members)

    def restore(self, before: dict[tuple[str, str], WirePresence]) -> None:
        """Return to earlier members."""
        self._members = before
        self.held = sum(map(held_by_event, before.values()))

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
            member = self._members[key]
            events.append(
                {
                    **member,
                    "id": f"{frame_id}:{index}",
                    "action": int(PresenceAction.LEAVE),
                    "timestamp": timestamp,
                }
            )
        self.apply(events)
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
