"""Publishes that have not left yet: in order for each session, in turn between sessions.

A plain data structure, without a clock and without tasks.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

from ably_ai_transport.channel.contract import PublishStats
from ably_ai_transport.channel.payload import APPEND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ably_ai_transport.channel.ably.publication import Publication


_REMEMBERED: Final = 256
"""Messages of one session whose first append is remembered."""


class Lane:
    """The waiting publishes of one session.

    Lifecycle messages and inputs leave first. Everything else leaves in the order of the calls; text that
    waits is merged with later text of the same message.

    Args:
        merges: Whether text that waits is merged.
    """

    __slots__ = ("_begun", "_mergeable", "data", "merges", "stats", "urgent")

    def __init__(self, *, merges: bool) -> None:
        self.merges = merges
        self.stats = PublishStats()
        self.urgent: deque[Publication] = deque()
        self.data: deque[Publication] = deque()
        self._mergeable: dict[str | None, Publication] = {}
        self._begun: dict[str | None, None] = {}

    def __bool__(self) -> bool:
        return bool(self.urgent or self.data)

    def put(self, publication: Publication, limit: int) -> None:
        """Add a publish.

        Args:
            publication: The publish.
            limit: Bytes that a merged one may have.
        """
        if publication.is_urgent:
            self.urgent.append(publication)
            return
        if publication.action == APPEND and self.merges:
            earlier = self._mergeable.get(publication.target)
            if earlier is not None and earlier.merge(publication, limit):
                self.stats.merged += 1
                return
            self._mergeable[publication.target] = publication
        elif self._mergeable:
            # Text that was written after it must not arrive before it.
            self._mergeable.clear()
        publication.is_first = publication.action != APPEND or self._begins(publication.target)
        self.data.append(publication)

    def _begins(self, target: str | None) -> bool:
        """Tell whether an append is the first one to its message."""
        if target in self._begun:
            return False
        self._begun[target] = None
        if len(self._begun) > _REMEMBERED:
            del self._begun[next(iter(self._begun))]
        return True

    def take(self, queue: deque[Publication]) -> Publication:
        """Remove the first publish of one of the two queues and return it."""
        publication = queue.popleft()
        if self._mergeable.get(publication.target) is publication:
            del self._mergeable[publication.target]
        return publication

    def put_back(self, publication: Publication) -> None:
        """Add a publish that has left before, at its old place."""
        insort(self.urgent if publication.is_urgent else self.data, publication, key=_order)

    def remove_appends(self, target: str) -> list[Publication]:
        """Remove the waiting text of one message and return it."""
        removed = [one for one in self.data if one.action == APPEND and one.target == target]
        if removed:
            self.data = deque(one for one in self.data if one not in removed)
            self._mergeable.pop(target, None)
        return removed

    def clear(self) -> None:
        """Remove everything."""
        self.urgent.clear()
        self.data.clear()
        self._mergeable.clear()


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


def _order(publication: Publication) -> int:
    return publication.order
