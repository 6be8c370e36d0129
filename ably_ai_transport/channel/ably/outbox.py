"""The lanes of all sessions on one client, which take turns.

A plain data structure, without a clock and without tasks.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ably_ai_transport.channel.ably.publication import Lane, Publication


class Outbox:
    """The lanes of one client."""

    def __init__(self) -> None:
        self._lanes: deque[Lane] = deque()
        self._count = 0
        self._urgent = 0
        self._firsts = 0

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def __iter__(self) -> Iterator[Publication]:
        for lane in self._lanes:
            yield from lane.urgent
            yield from lane.data

    def put(self, publication: Publication, limit: int) -> None:
        """Add a publish to its lane.

        Args:
            publication: The publish.
            limit: Bytes that a merged one may have.
        """
        lane = publication.lane
        self._count += 1
        publication.order = self._count
        if not lane:
            self._lanes.append(lane)
        lane.put(publication, limit)
        self._urgent += publication.is_urgent
        self._firsts += publication.is_first

    def put_back(self, publications: Iterable[Publication]) -> None:
        """Add publishes that have left before, each at its old place."""
        for publication in publications:
            lane = publication.lane
            if not lane:
                self._lanes.append(lane)
            lane.put_back(publication)
            self._urgent += publication.is_urgent
            self._firsts += publication.is_first

    def take(self, may_leave: Callable[[Publication], bool]) -> Publication | None:
        """Remove the publish that leaves next; None when none may.

        Lifecycle messages and inputs come first. Then come lanes with a new message, or with the first text
        of one, and then all others in turn.

        Args:
            may_leave: Tells whether a publish may leave now. One that may not holds up its lane.
        """
        if self._urgent and (taken := self._take_turn("urgent", may_leave)) is not None:
            self._urgent -= 1
            return taken
        if self._firsts and (taken := self._take_turn("first", may_leave)) is not None:
            self._firsts -= 1
            return taken
        taken = self._take_turn("any", may_leave)
        if taken is not None and taken.is_first:
            self._firsts -= 1
        return taken

    def _take_turn(
        self, kind: Literal["urgent", "first", "any"], may_leave: Callable[[Publication], bool]
    ) -> Publication | None:
        """Take from the first lane that has such a publish; it stands at the end of the line then."""
        lanes = self._lanes
        for _ in range(len(lanes)):
            lane = lanes[0]
            queue = lane.urgent if kind == "urgent" else lane.data
            if queue and (kind != "first" or queue[0].is_first) and may_leave(queue[0]):
                publication = lane.take(queue)
                lanes.popleft()
                if lane:
                    lanes.append(lane)
                return publication
            lanes.rotate(-1)
        return None

    def remove_appends(self, target: str) -> list[Publication]:
        """Remove the waiting text of one message from all lanes and return it."""
        removed = [one for lane in self._lanes for one in lane.remove_appends(target)]
        self._firsts -= sum(one.is_first for one in removed)
        self._lanes = deque(lane for lane in self._lanes if lane)
        return removed

    def clear(self) -> list[Publication]:
        """Remove everything and return it."""
        waiting = list(self)
        for lane in self._lanes:
            lane.clear()
        self._lanes.clear()
        self._urgent = self._firsts = 0
        return waiting
