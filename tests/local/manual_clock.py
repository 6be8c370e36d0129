"""A clock that only moves when told to."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

START = 1_790_000_000_000


class ManualTimer:
    def __init__(self, due: float, order: int, callback: Callable[[], None]) -> None:
        self.due = due
        self.order = order
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class ManualClock:
    def __init__(self) -> None:
        self.time: float = START
        self._timers: list[ManualTimer] = []
        self._order = itertools.count()

    def now(self) -> int:
        return int(self.time)

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(self.time + delay_ms, next(self._order), callback)
        self._timers.append(timer)
        return timer

    def advance(self, ms: float) -> None:
        """Move on, running the timers that fall due in their order."""
        end = self.time + ms
        while True:
            self._timers = [timer for timer in self._timers if not timer.is_cancelled]
            due = min(self._timers, key=lambda timer: (timer.due, timer.order), default=None)
            if due is None or due.due > end:
                break
            self._timers.remove(due)
            self.time = due.due
            due.callback()
        self.time = end
