"""The rate at which one connection, or one channel, may be published to."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RATE_LIMITED: Final = frozenset({42911, 42913})
"""Codes of a refusal for rate: of the connection, of the channel. What was refused may be sent again."""
CHANNEL_RATE_LIMITED: Final = 42913
DEFAULT_LIMIT: Final = 50.0
"""Messages a second that Ably takes from a connection, and on a channel, unless the account has more."""

STEADY_SHARE: Final = 0.8
"""The part of a limit that is used steadily; the rest is room for a burst."""
_CUT: Final = 0.5
_LEAST: Final = 1.0
_CLIMB: Final = 2.0
"""Messages a second by which the rate rises in each second without a refusal."""
_TRIAL: Final = 1.25
"""Growth of a guessed rate in a second in which messages wait."""
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


class Pacer:
    """A token bucket. Refusals halve its rate, and each second without one raises it again.

    A burst of a fifth of the limit and four fifths of it a second never exceed the limit in any second. A
    limit that is a guess is tried out: the rate grows by a quarter in each second in which messages wait,
    until the server refuses one.

    Args:
        limit: Messages a second that the server takes; infinite for no limit, None for Ably's default as a
            guess.
        clock: The time, in seconds.
        chance: Returns a number from 0 to 1, for the jitter of pauses.
    """

    __slots__ = (
        "_chance",
        "_clock",
        "_credit",
        "_ignore_until",
        "_is_guess",
        "_limit",
        "_pause",
        "_paused_until",
        "_rate",
        "_wanted",
        "_when",
    )

    def __init__(
        self,
        limit: float | None,
        clock: Callable[[], float],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._is_guess = limit is None
        self._wanted = False
        self._limit: float = DEFAULT_LIMIT if limit is None else limit
        self._rate: float = self._limit * STEADY_SHARE
        self._credit: float = self._most
        self._when = clock()
        self._pause = 0.0
        self._paused_until = -math.inf
        self._ignore_until = -math.inf

    @property
    def rate(self) -> float:
        """Messages a second at present."""
        return self._rate

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing ever has to wait."""
        return self._limit == math.inf

    @property
    def is_recovered(self) -> bool:
        """Whether the last refusal is so long ago that the rate is what it was."""
        self._fill()
        return self._rate >= self._limit * STEADY_SHARE

    def set_limit(self, limit: float) -> None:
        """Change the limit to one that is known; the rate starts from it."""
        if limit != self._limit or self._is_guess:
            self._is_guess = False
            self._limit = limit
            self._rate = limit * STEADY_SHARE
            self._credit = self._most

    def delay(self) -> float:
        """Return the seconds until the next message may leave; 0 where it may leave now."""
        if self._limit == math.inf:
            return 0.0
        now = self._fill()
        paused = self._paused_until - now
        self._wanted = True
        if self._credit >= 1.0:
            return max(0.0, paused)
        return max(paused, (1.0 - self._credit) / self._rate)

    def spend(self, count: int) -> None:
        """Count messages that leave. A batch may take more than there is; the next one then waits longer."""
        if self._limit != math.inf:
            self._credit -= count

    def refused(self, sent_at: float) -> None:
        """Lower the rate after a refusal, and pause.

        Args:
            sent_at: When the refused message left. What left before the last cut lowers nothing again.
        """
        now = self._fill()
        if self._limit == math.inf:
            # The server does limit; the account's rate is not known.
            self.set_limit(DEFAULT_LIMIT)
        if self._is_guess:
            self.set_limit(max(_LEAST, self._rate))
        if sent_at <= self._ignore_until:
            return
        self._ignore_until = now
        self._rate = max(_LEAST, self._rate * _CUT)
        self._credit = min(self._credit, 0.0)
        self._pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, self._pause * 2))
        self._paused_until = now + self._pause * (0.5 + self._chance() / 2)

    def accepted(self) -> None:
        """Note that the server took a message."""
        if self._pause and self._clock() > self._paused_until + self._pause:
            self._pause = 0.0

    @property
    def _most(self) -> float:
        if self._limit == math.inf:
            return math.inf
        limit = self._rate / STEADY_SHARE if self._is_guess else self._limit
        return max(1.0, limit * (1 - STEADY_SHARE))

    def _fill(self) -> float:
        now = self._clock()
        passed, self._when = max(0.0, now - self._when), now
        if self._limit != math.inf:
            if not self._is_guess:
                self._rate = min(self._limit * STEADY_SHARE, self._rate + passed * _CLIMB)
            elif self._wanted and self._credit < 1.0:
                self._rate *= _TRIAL ** min(passed, 1.0)
            self._wanted = False
            self._credit = min(self._most, self._credit + passed * self._rate)
        return now
