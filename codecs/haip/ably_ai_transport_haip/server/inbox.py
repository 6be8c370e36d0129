"""Inbox: the messages of a session that wait for the application."""

import asyncio
from collections import deque

from ably_ai_transport_haip.protocol import HaipMessage


class Inbox:
    """The messages and binary frames that wait for the application, in order.

    Args:
        most: The largest number of them.
        most_bytes: The largest number of bytes in them, as they arrived.

    Attributes:
        size: The bytes that wait.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._waiting: deque[HaipMessage | bytes] = deque()
        self._news = asyncio.Event()
        self._is_closed = False
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is added any more."""
        return self._is_closed

    def add(self, frame: HaipMessage | bytes) -> bool:
        """Add a message or a binary frame.

        Args:
            frame: The message or the frame.

        Returns:
            Whether there was room for it.
        """
        size = _size_of(frame)
        # A single message of any size fits into an empty inbox: its transport has a limit of its own.
        if self._waiting and self.size + size > self._most_bytes:
            return False
        if len(self._waiting) >= self._most:
            return False
        self._waiting.append(frame)
        self.size += size
        self._news.set()
        return True

    async def take(self) -> HaipMessage | bytes | None:
        """Wait for the next message or binary frame; None once the inbox is closed and empty."""
        while not self._waiting:
            if self._is_closed:
                return None
            self._news.clear()
            await self._news.wait()
        frame = self._waiting.popleft()
        self.size -= _size_of(frame)
        return frame

    def close(self) -> None:
        """Add nothing any more. What waits can still be taken."""
        self._is_closed = True
        self._news.set()

    def drop(self) -> None:
        """Close the inbox and drop what waits."""
        self._waiting.clear()
        self.size = 0
        self.close()


def _size_of(frame: HaipMessage | bytes) -> int:
    return frame.size if isinstance(frame, HaipMessage) else len(frame)
