"""Rate limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.refusals import RefusedError


class RateLimit:
    """Lets through so many a second: a bucket that holds one second's worth and fills steadily."""

    __slots__ = ("_clock", "_error", "_left", "_rate", "_when")

    def __init__(self, rate: int, clock: Clock, error: RefusedError) -> None:
        self._rate = rate
        self._clock = clock
        self._error = error
        self._left = float(rate)
        self._when = clock.now()

    def take(self, count: int) -> None:
        """Let some through.

        Raises:
            RefusedError: The one given, when these are too many; none of them is counted then.
        """
        now = self._clock.now()
        # The wall clock may step back.
        passed = max(0, now - self._when)
        self._when = now
        self._left = min(float(self._rate), self._left + passed * self._rate / 1000)
        if count > self._left:
            raise self._error
        self._left -= count
