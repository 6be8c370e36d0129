"""Limits: the size of publishes, and the bytes that an app holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.protocol.frames import MessageAction
from ably_ai_transport.local.protocol.refusals import full, too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

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
