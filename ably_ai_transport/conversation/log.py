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
    """The effect of a delivery on the projection."""

    DROPPED = auto()
    """It was there already."""
    CONTINUES = auto()
    """Its events follow on those that are folded."""
    OUT_OF_ORDER = auto()
    """The projection must be rebuilt from the log."""


@dataclass(slots=True, eq=False)
class LogEntry(Generic[InT, OutT]):
    """The events of one message.

    Attributes:
        serial: Serial of the message.
        decoded_through: Serial of the newest version that was taken in.
        meta: The origin that its events are folded with.
        events: The events, in order; empty once the log has been swept.
    """

    serial: str
    decoded_through: str
    meta: FoldMeta
    events: list[InputEvent[InT] | OutputEvent[OutT]] = field(
        default_factory=list[InputEvent[InT] | OutputEvent[OutT]]
    )


_by_serial = attrgetter("serial")


class EventLog(Generic[InT, OutT]):
    """Entries by message serial, in ascending order."""

    __slots__ = ("_by_serial", "_entries", "expected", "swept")

    def __init__(self) -> None:
        self._entries: list[LogEntry[InT, OutT]] = []
        self._by_serial: dict[str, LogEntry[InT, OutT]] = {}
        self.swept = False
        """Whether the events have been dropped, after which nothing can be rebuilt."""
        self.expected: set[str] = set()
        """Serials of messages whose events are going to be replaced; the log is not swept before."""

    def __iter__(self) -> Iterator[LogEntry[InT, OutT]]:
        """Walk through the entries in channel order."""
        return iter(self._entries)

    def find(self, serial: str) -> LogEntry[InT, OutT] | None:
        """Find the entry of a message."""
        return self._by_serial.get(serial)

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
            meta: The origin of its events.
            events: The events, in order.
            version: Serial of the delivered version, where it has one.
            streamed: Whether the message grows by appends; a discrete one is taken in once.
            replaces: Whether the events replace those that the message brought before.

        Returns:
            The effect on the projection.
        """
        known = self._by_serial.get(serial)
        if known is not None:
            if version is not None and not streamed:
                return Recorded.DROPPED
            return self.extend(known, events, version=version, replaces=replaces)
        entry = LogEntry[InT, OutT](serial, version if version is not None else serial, meta)
        self._by_serial[serial] = entry
        insort(self._entries, entry, key=_by_serial)
        if self.swept:
            return Recorded.CONTINUES
        entry.events.extend(events)
        return Recorded.CONTINUES if entry is self._entries[-1] else Recorded.OUT_OF_ORDER

    def extend(
        self,
        entry: LogEntry[InT, OutT],
        events: Sequence[InputEvent[InT] | OutputEvent[OutT]],
        *,
        version: str | None,
        replaces: bool,
    ) -> Recorded:
        """Take in a further version of a message that grows by appends.

        Args:
            entry: The message's entry in this log.
            events: The events that the version adds.
            version: Serial of the version, where it has one.
            replaces: Whether the events replace those of the entry.

        Returns:
            The effect on the projection.
        """
        if version is not None:
            if version <= entry.decoded_through:
                return Recorded.DROPPED
            entry.decoded_through = version
        if self.swept:
            # The events to replace are gone, and are in the projection for good.
            return Recorded.DROPPED if replaces else Recorded.CONTINUES
        if replaces:
            entry.events[:] = events
            return Recorded.OUT_OF_ORDER
        entry.events.extend(events)
        return Recorded.CONTINUES if entry is self._entries[-1] else Recorded.OUT_OF_ORDER

    def absorb(self, other: "EventLog[InT, OutT]") -> None:
        """Take in all entries of another log, which holds other messages."""
        for entry in other._entries:  # noqa: SLF001 - another of its kind
            if entry.serial not in self._by_serial:
                self._by_serial[entry.serial] = entry
                insort(self._entries, entry, key=_by_serial)
        self.expected |= other.expected

    def sweep(self) -> None:
        """Drop the events, and keep what tells a repeated delivery from a new one."""
        self.swept = True
        for entry in self._entries:
            entry.events.clear()
