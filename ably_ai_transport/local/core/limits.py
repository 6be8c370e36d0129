"""Limits: the size and the rate of publishes, and the bytes that an app holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.protocol.frames import MessageAction
from ably_ai_transport.local.protocol.refusals import RefusedError, full, too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.clock import Clock
    from ably_ai_transport.local.options import Limits
    from ably_ai_transport.local.protocol.messages import Submission

_OVERHEAD: Final = 500


class Quota:
    """Counts the bytes that an app holds.

    The count only grows: messages are never deleted, and data that an update replaces stays as a version.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.used = 0

    def take(self, submissions: Sequence[Submission], held: int) -> None:
        """Count a publish.

        Args:
            submissions: Its messages.
            held: How many messages the channel holds; only creates add to them.

        Raises:
            RefusedError: 40112, the app would hold too much.
        """
        limits = self._limits
        if held + len(submissions) > limits.max_history:
            raise full("messages of a channel", limits.max_history)
        size = 0
        for submission in submissions:
            data = submission.data
            size += len(data) if data is not None else 0
            if submission.action != MessageAction.APPEND:
                size += _OVERHEAD
        if self.used + size > limits.max_memory:
            raise full("bytes held in memory", limits.max_memory)
        self.used += size

    def check_size(self, submissions: Sequence[Submission]) -> None:
        """Check the size of one publish.

        Raises:
            RefusedError: 40009, it is too large.
        """
        limit = self._limits.max_message_size
        size = sum(submission.size for submission in submissions)
        if size > limit:
            raise too_large(size, limit)


class RateLimit:
    """A token bucket: it holds one second's worth and fills steadily."""

    __slots__ = ("_clock", "_error", "_left", "_rate", "_when")

    def __init__(self, rate: int, clock: Clock, error: RefusedError) -> None:
        self._rate = rate
        self._clock = clock
        self._error = error
        self._left = float(rate)
        self._when = clock.now()

    def take(self, count: int) -> None:
        """Take `count` messages from the bucket.

        Raises:
            RefusedError: The bucket holds fewer; nothing is taken.
        """
        now = self._clock.now()
        # The wall clock may step back.
        passed = max(0, now - self._when)
        self._when = now
        self._left = min(float(self._rate), self._left + passed * self._rate / 1000)
        if count > self._left:
            raise self._error
        self._left -= count


def rate_limit(rate: int | None, clock: Clock, code: int, metric: str) -> RateLimit | None:
    """Return the limit for `rate` messages a second, or None for no limit.

    Args:
        rate: Messages a second.
        clock: The clock that fills the bucket.
        code: Ably's code of the refusal.
        metric: Ably's name of the rate, for the refusal.
    """
    if rate is None:
        return None
    text = f"Rate limit exceeded; request rejected (nonfatal); metric = {metric}; permitted = {rate}/s"
    return RateLimit(rate, clock, RefusedError(code, 429, text))
