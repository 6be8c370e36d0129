"""The event log of one node: every message that was folded into it, in channel order.

It answers three questions about a delivery: is it new, does it continue the projection, or must the
projection be rebuilt because something earlier came late?
"""

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from operator import attrgetter
from typing import Generic

from ably_ai_transport.codec.contract import FoldMeta, InputEvent, InT, OutputEvent, OutT


class Recorded(Enum):
    """What a delivery means for the projection."""

    DROPPED = auto()
    """It was there already."""
    CONTINUES = auto()
    """Its events follow on what is folded."""
    OUT_OF_ORDER = auto()
    """The projection must be rebuilt from the log."""


@dataclass(slots=True, eq=False)
class _Entry(Generic[InT, OutT]):
    serial: str
    decoded_through: str
    meta: FoldMeta
    events: list[InputEvent[InT] | OutputEvent[OutT]] = field(
        default_factory=list[InputEvent[InT] | OutputEvent[OutT]]
    )


_by_serial = attrgetter("serial")


class EventLog(Generic[InT, OutT]):
    """Entries by message serial, in ascending order."""

    __slots__ = ("_by_serial", "_entries", "swept")

    def __init__(self) -> None:
        self._entries: list[_Entry[InT, OutT]] = []
        self._by_serial: dict[str, _Entry[InT, OutT]] = {}
        self.swept = False
        """Whether the events have been let go of, so that nothing can be rebuilt any more."""

    def record(
        self,
        serial: str,
        meta: FoldMeta,
        events: Sequence[InputEvent[InT] | OutputEvent[OutT]],
        *,
        version: str | None,
        streamed: bool,
        replaces: bool = False,
    ) -> Recorded:
        """Take in a delivery.

        Args:
            serial: Serial of the message.
            meta: What its events are folded with.
            events: The events, in order.
            version: Serial of the delivered version, where it has one.
            streamed: Whether the message grows by appends; a discrete one is taken in once.
            replaces: Whether the events stand in place of those that the message brought before.

        Returns:
            What it means for the projection.
        """
        entry = self._by_serial.get(serial)
        if entry is not None:
            if version is not None and (version <= entry.decoded_through or not streamed):
                return Recorded.DROPPED
            if version is not None:
                entry.decoded_through = version
            if self.swept:
                # What it would replace has been let go of, and is in the projection for good.
                return Recorded.DROPPED if replaces else Recorded.CONTINUES
            if replaces:
                entry.events[:] = events
                return Recorded.OUT_OF_ORDER
            entry.events.extend(events)
            return Recorded.CONTINUES if entry is self._entries[-1] else Recorded.OUT_OF_ORDER
        entry = _Entry[InT, OutT](serial, version if version is not None else serial, meta)
        self._by_serial[serial] = entry
        insort(self._entries, entry, key=_by_serial)
        if self.swept:
            return Recorded.CONTINUES
        entry.events.extend(events)
        return Recorded.CONTINUES if entry is self._entries[-1] else Recorded.OUT_OF_ORDER

    def absorb(self, other: "EventLog[InT, OutT]") -> None:
        """Take in all entries of another log, which holds other messages."""
        for entry in other._entries:  # noqa: SLF001 - another of its kind
            if entry.serial not in self._by_serial:
                self._by_serial[entry.serial] = entry
                insort(self._entries, entry, key=_by_serial)

    def replay(self) -> Iterator[tuple[FoldMeta, Sequence[InputEvent[InT] | OutputEvent[OutT]]]]:
        """Walk through everything in channel order."""
        for entry in self._entries:
            yield entry.meta, entry.events

    def sweep(self) -> None:
        """Let go of the events, and keep what tells a repeated delivery from a new one."""
        self.swept = True
        for entry in self._entries:
            entry.events.clear()
