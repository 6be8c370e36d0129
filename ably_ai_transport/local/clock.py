"""Clocks: the system's, and the protocol for clocks that tests control."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Cancel the callback."""
        ...


class Clock(Protocol):
    """The source of all timestamps and timers of a server."""

    def now(self) -> int:
        """Return the wall clock in milliseconds since 1970."""
        ...

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, `delay_ms` from now, unless the timer is canceled first."""
        ...


class SystemClock:
    """The system clock and the timers of the running event loop."""

    def now(self) -> int:
        """Return the wall clock in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once, `delay_ms` from now, unless the timer is canceled first."""
        return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)
