"""Turns: calls in the order in which they were queued, one per turn of the event loop."""

import asyncio
from collections import deque
from collections.abc import Callable

QUIET_TURNS = 25
"""Turns of the loop without a new call after which everything counts as settled."""


class Turns:
    """A queue of calls; the event loop makes them, never the caller."""

    def __init__(self) -> None:
        self._calls: deque[Callable[[], None]] = deque()
        self._scheduled = False
        self._count = 0

    def add(self, call: Callable[[], None]) -> None:
        """Queue a call for a turn of its own."""
        self._calls.append(call)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    async def settle(self) -> None:
        """Return when the queue is empty and every listener had time to react."""
        quiet, seen = 0, self._count
        while quiet < QUIET_TURNS:
            await asyncio.sleep(0)
            quiet = quiet + 1 if seen == self._count and not self._calls else 0
            seen = self._count

    def _next(self) -> None:
        self._count += 1
        call = self._calls.popleft()
        self._scheduled = bool(self._calls)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._next)
        call()
