"""Limits: the size of publishes, and the bytes of memory that an app holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ably_ai_transport.local.protocol.refusals import full, too_large

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ably_ai_transport.local.options import Limits


class Sized(Protocol):
    """A message or a presence event of a client."""

    @property
    def size(self) -> int:
        """Bytes that limits count."""
        ...


class Quota:
    """The bytes of memory that an app holds: its channels with what they keep, and frames for slow consumers.

    What is held is an estimate of what the process takes. Frames have a budget of their own, so that a server
    that is full of messages can still be read.

    Attributes:
        used: Bytes of channels, messages, presence, logs, acks and nonces.
        queued: Bytes of the frames that wait for slow consumers.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.used = 0
        self.queued = 0

    @property
    def is_full(self) -> bool:
        """Whether the app holds as much as it may."""
        return self.used >= self._limits.max_memory

    @property
    def has_full_queues(self) -> bool:
        """Whether the frames for slow consumers take a quarter of what the app may hold."""
        return self.queued > self._limits.max_memory // 4

    def check(self, size: int) -> None:
        """Check that the app may hold `size` more bytes.

        Raises:
            RefusedError: 40112, it would hold too much.
        """
        if self.used + size > self._limits.max_memory:
            raise full("bytes held in memory", self._limits.max_memory)

    def check_messages(self, messages: int) -> None:
        """Check how many messages a channel holds.

        Raises:
            RefusedError: 40112, they are too many.
        """
        if messages > self._limits.max_history:
            raise full("messages of a channel", self._limits.max_history)

    def check_size(self, items: Iterable[Sized]) -> None:
        """Check the size of one publish.

        Raises:
            RefusedError: 40009, it is too large.
        """
        limit = self._limits.max_message_size
        size = sum(item.size for item in items)
        if size > limit:
            raise too_large(size, limit)
