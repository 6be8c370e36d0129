"""Rates: how many messages connections and channels take in a second, counted as Ably counts them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from ably_ai_transport.local.protocol.refusals import too_fast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.clock import Clock

PERIOD_MS: Final = 1000
"""A rate is a number of messages in any period of this length."""

_AppendKey: TypeAlias = "tuple[str, str]"
"""A channel, and the serial of a message on it."""


class RollingRate:
    """A limit on the messages of any second.

    What is over the limit is refused, and what is refused does not count. Ably documents this for the rates
    of a connection and of a channel; it refuses at random only for rates of a whole account (Ably docs:
    limits). A batch larger than the limit passes after a second without messages: otherwise no retry of it
    could succeed.
    """

    __slots__ = ("_code", "_count", "_metric", "_permitted", "_taken", "_time")

    def __init__(self, permitted: int, clock: Clock, code: int, metric: str) -> None:
        """Create a limit.

        Args:
            permitted: Messages in any second.
            clock: The clock.
            code: Ably's code of the refusal.
            metric: Ably's name of the rate, for the refusal.
        """
        self._permitted = permitted
        self._time = SteadyTime(clock)
        self._code = code
        self._metric = metric
        self._taken: deque[tuple[int, int]] = deque()
        self._count = 0

    def check(self, count: int) -> None:
        """Check that `count` more messages fit now.

        Raises:
            RefusedError: The code of this limit; they do not fit.
        """
        self._forget()
        if self._count and self._count + count > self._permitted:
            raise too_fast(self._code, self._metric, self._permitted)

    @property
    def is_idle(self) -> bool:
        """Whether no message of the last second counts."""
        self._forget()
        return not self._taken

    def add(self, count: int) -> None:
        """Count messages that `check` let pass."""
        taken, now = self._taken, self._time.now()
        earlier = taken.pop()[1] if taken and taken[-1][0] == now else 0
        taken.append((now, earlier + count))
        self._count += count

    def _forget(self) -> None:
        taken = self._taken
        start = self._time.now() - PERIOD_MS
        while taken and taken[0][0] <= start:
            self._count -= taken.popleft()[1]


class AppendWindows:
    """The roll-up windows of a connection: they tell which of its appends count.

    On Ably, the first append after a quiet window is a message of its own, and the appends within each
    window after it are one message together (Ably docs: token rate limits). This class counts so, whether or
    not the server rolls up what it delivers. It opens the same windows as `Rollup`, but other frames of the
    connection do not end them.
    """

    __slots__ = ("_time", "_windows")

    def __init__(self, clock: Clock) -> None:
        self._time = SteadyTime(clock)
        # The end of each window, and whether an append within it was counted. The oldest window comes first.
        self._windows: dict[_AppendKey, tuple[int, bool]] = {}

    def is_counted(self, key: _AppendKey, width_ms: int) -> bool:
        """Tell whether an append is part of a message that was counted already."""
        window = self._current(key, width_ms)
        return window is not None and window[1]

    def add(self, key: _AppendKey, width_ms: int) -> None:
        """Note an append that was counted.

        Args:
            key: The channel and the serial of the message.
            width_ms: The roll-up window; 0 for none.
        """
        if not width_ms:
            return
        now = self._time.now()
        window = self._current(key, width_ms)
        self._windows.pop(key, None)
        while self._windows:
            oldest = next(iter(self._windows))
            if self._windows[oldest][0] + width_ms > now:
                break
            del self._windows[oldest]
        self._windows[key] = (now + width_ms, False) if window is None else (window[0], True)

    def _current(self, key: _AppendKey, width_ms: int) -> tuple[int, bool] | None:
        """Return the window that is open for a message now."""
        window = self._windows.get(key)
        if window is None:
            return None
        end, is_counted = window
        now = self._time.now()
        if now < end:
            return window
        # The appends of a window are published at its end, which opens the next one.
        return (end + width_ms, False) if is_counted and now < end + width_ms else None


class SteadyTime:
    """Milliseconds that pass on a clock; a clock that steps back loses none."""

    __slots__ = ("_clock", "_passed", "_seen")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen = clock.now()
        self._passed = 0

    def now(self) -> int:
        """Return the milliseconds since this object was made."""
        seen = self._clock.now()
        self._passed += max(0, seen - self._seen)
        self._seen = seen
        return self._passed


def take(rates: Sequence[RollingRate], count: int) -> None:
    """Count messages against all of these limits, or against none if one of them refuses.

    Raises:
        RefusedError: One of the limits is reached.
    """
    for rate in rates:
        rate.check(count)
    for rate in rates:
        rate.add(count)


def connection_rate(permitted: int | None, clock: Clock) -> RollingRate | None:
    """Return the limit of a connection, or None for no limit."""
    return None if permitted is None else RollingRate(permitted, clock, 42911, "connection.inboundRate")


def channel_rate(permitted: int | None, clock: Clock) -> RollingRate | None:
    """Return the limit of a channel, or None for no limit."""
    return None if permitted is None else RollingRate(permitted, clock, 42913, "channel.maxRate")
