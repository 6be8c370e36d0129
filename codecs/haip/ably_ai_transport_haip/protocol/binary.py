"""Binary bodies: a message announces its bytes, which follow in one binary frame or more."""

from collections import deque
from dataclasses import replace
from typing import Final

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.messages import HaipMessage

MAX_BINARY: Final = 100 * 1024 * 1024
MAX_AWAITED: Final = 64


class BinaryBodies:
    """The messages whose binary bodies have not arrived yet, oldest first.

    Args:
        most_bytes: The largest body to accept, in bytes.
    """

    def __init__(self, most_bytes: int = MAX_BINARY) -> None:
        self._most_bytes = most_bytes
        self._waiting: deque[HaipMessage] = deque()
        self._body = bytearray()

    @property
    def is_awaited(self) -> bool:
        """Whether a message waits for its body."""
        return bool(self._waiting)

    @property
    def oldest(self) -> HaipMessage:
        """The message that waits for its body longest."""
        return self._waiting[0]

    def clear(self) -> None:
        """Forget all messages. For lost connections."""
        self._waiting.clear()
        self._body.clear()

    def expect(self, message: HaipMessage) -> None:
        """Wait for the body of a message.

        Args:
            message: The message; ``bin_len`` is the size of its body in bytes.

        Raises:
            HaipProtocolError: The body is too large, or too many messages wait (BINARY_FRAME_ERROR).
        """
        announced = message.bin_len or 0
        if announced > self._most_bytes or len(self._waiting) >= MAX_AWAITED:
            raise HaipProtocolError(
                f"unable to read message; its binary body of {announced} bytes is too large,"
                f" or {MAX_AWAITED} messages already wait for theirs",
                HaipErrorCode.BINARY_FRAME_ERROR,
            )
        self._waiting.append(message)

    def take(self, data: bytes) -> HaipMessage | None:
        """Add a binary frame to the oldest message that waits.

        Args:
            data: The frame.

        Returns:
            The message with its body if the body is complete, else None.

        Raises:
            HaipProtocolError: The body is longer than announced (BINARY_FRAME_ERROR); the message is dropped.
        """
        message = self._waiting[0]
        announced = message.bin_len or 0
        self._body += data
        if len(self._body) < announced:
            return None
        self._waiting.popleft()
        body, self._body = bytes(self._body), bytearray()
        if len(body) > announced:
            raise HaipProtocolError(
                f"unable to read binary frame; it has {len(body)} bytes, {announced} were announced",
                HaipErrorCode.BINARY_FRAME_ERROR,
            )
        return replace(message, binary=body, size=message.size + len(body))
