"""The life of a run, as a table.

Events of one run may arrive in any order: history is read newest first, and two publishers may
overtake each other. The events are therefore kept in channel order, and the table says where they lead.
"""

from bisect import insort
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from ably_ai_transport.codec.contract import ProjT
from ably_ai_transport.conversation.nodes import RunNode, RunStatus
from ably_ai_transport.wire import RunEnd, RunLifecycleEvent, RunResume, RunStart, RunSuspend

Trigger: TypeAlias = Literal["start", "suspend", "resume", "complete", "cancelled", "error"]

TRANSITIONS: Final[Mapping[tuple[RunStatus, Trigger], RunStatus]] = MappingProxyType(
    {
        ("active", "suspend"): "suspended",
        ("active", "complete"): "complete",
        ("active", "cancelled"): "cancelled",
        ("active", "error"): "error",
        ("suspended", "start"): "active",
        ("suspended", "resume"): "active",
        ("suspended", "complete"): "complete",
        ("suspended", "cancelled"): "cancelled",
        ("suspended", "error"): "error",
    }
)
"""What an event does to a run; a pair that is not listed changes nothing: a run ends once."""


def trigger_of(event: RunLifecycleEvent) -> Trigger:
    """Name the column of the table that an event belongs to."""
    match event:
        case RunEnd(reason="cancelled" | "error" as reason):
            return reason
        case RunEnd():
            return "complete"
        case RunStart() | RunSuspend() | RunResume():
            return event.type


class RunLife:
    """The lifecycle events of one run, in channel order whatever the order in which they arrived."""

    __slots__ = ("_events",)

    def __init__(self) -> None:
        self._events: list[RunLifecycleEvent] = []

    def add(self, event: RunLifecycleEvent) -> bool:
        """Take in an event.

        Returns:
            Whether it is new. An event without a serial is a preview of one that the channel will bring.
        """
        serial = event.serial
        for i, known in enumerate(self._events):
            if known.serial == serial or (known.serial is None and known.type == event.type):
                if known.serial is not None or serial is None:
                    return False
                del self._events[i]
                break
        insort(self._events, event, key=_place)
        return True

    def settle(self, node: RunNode[ProjT]) -> None:
        """Bring a run to where its events lead."""
        status: RunStatus = "active"
        decisive: RunLifecycleEvent | None = None
        resumed_by: str | None = None
        for event in self._events:
            # A later invocation has gone on with the run: the earlier one's suspend is history.
            retired = (
                isinstance(event, RunSuspend)
                and resumed_by is not None
                and event.invocation_id not in ("", resumed_by)
            )
            if isinstance(event, RunResume) and event.invocation_id:
                resumed_by = event.invocation_id
            reached = None if retired else TRANSITIONS.get((status, trigger_of(event)))
            if reached is not None:
                status = reached
                if not isinstance(event, RunStart | RunResume):
                    decisive = event
        node.status = status
        node.last_resume_invocation_id = resumed_by
        node.end_serial = None if decisive is None else decisive.serial
        node.error = decisive.error if isinstance(decisive, RunEnd) and status == "error" else None


def _place(event: RunLifecycleEvent) -> str:
    return event.serial or ""
