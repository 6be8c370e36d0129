"""Time, so that tests can hold it still."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A callback that has been put off."""

    def cancel(self) -> None:
        """Forget the callback."""
        ...


class Clock(Protocol):
    """Where the server takes time from: all of it, timestamps and timers alike."""

    def now(self) -> int:
        """Return the wall clock in milliseconds since 1970."""
        ...

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        """Call back once, `delay_ms` from now, unless the timer is cancelled first."""
        ...


class SystemClock:
    """The machine's clock and the running event loop's timers."""

    def now(self) -> int:
        """Return the wall clock in milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        """Call back once, `delay_ms` from now, unless the timer is cancelled first."""
        return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)
