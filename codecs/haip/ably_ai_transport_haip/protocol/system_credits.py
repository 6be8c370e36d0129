"""Credits of the other side on the channel ``SYSTEM``.

Messages on ``SYSTEM`` cost nothing here. Some peers count them all the same and stop to answer pings and to
shake hands when their credits are spent.
"""

from typing import Final

FIRST_MESSAGES: Final = 1000
FIRST_BYTES: Final = 1024 * 1024


class SystemCredits:
    """Counts the messages of the other side on ``SYSTEM``, and grants as many again.

    Args:
        messages: The message credits that the other side starts with.
        bytes_: The byte credits that the other side starts with.
    """

    def __init__(self, messages: int, bytes_: int) -> None:
        self._most_messages = max(1, min(messages, FIRST_MESSAGES) // 2)
        self._most_bytes = max(1, min(bytes_, FIRST_BYTES) // 2)
        self._messages = 0
        self._bytes = 0

    def spend(self, size: int) -> tuple[int, int]:
        """Count a message.

        Args:
            size: Its size in bytes.

        Returns:
            The message and byte credits to grant: those that were spent since the last grant once they are
            many, else none.
        """
        self._messages += 1
        self._bytes += size
        if self._messages < self._most_messages and self._bytes < self._most_bytes:
            return 0, 0
        spent = self._messages, self._bytes
        self._messages = self._bytes = 0
        return spent
