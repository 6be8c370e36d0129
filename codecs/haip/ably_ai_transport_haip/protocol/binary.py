"""Binary frames that belong to messages: the message comes first, then its bytes, in one frame or more."""

from collections import deque
from dataclasses import replace
from typing import Final

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.messages import HaipMessage

MAX_BINARY: Final = 100 * 1024 * 1024
MAX_AWAITED: Final = 64


class BinaryBodies:
    """Messages that wait for their bytes, first come, first served."""

    def __init__(self) -> None:
        self._waiting: deque[HaipMessage] = deque()
        self._body = bytearray()

    @property
    def is_awaited(self) -> bool:
        """Whether the next binary frame belongs to a message."""
        return bool(self._waiting)

    def clear(self) -> None:
        """Wait for nothing any more: the connection is gone."""
        self._waiting.clear()
        self._body.clear()

    def expect(self, message: HaipMessage) -> None:
        """Let a message wait for as many bytes as it announces.

        Args:
            message: The message.

        Raises:
            HaipProtocolError: It announces too many, or too many messages wait (BINARY_FRAME_ERROR).
        """
        announced = message.bin_len or 0
        if announced > MAX_BINARY or len(self._waiting) >= MAX_AWAITED:
            raise HaipProtocolError(
                f"unable to read message; a binary frame of {announced} bytes is too large,"
                f" or more than {MAX_AWAITED} are awaited",
                HaipErrorCode.BINARY_FRAME_ERROR,
            )
        self._waiting.append(message)

    def take(self, data: bytes) -> HaipMessage | None:
        """Take in a binary frame.

        Args:
            data: The frame.

        Returns:
            The message that is complete with it, if any.

        Raises:
            HaipProtocolError: More came than was announced (BINARY_FRAME_ERROR); the message is given up.
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
                f"unable to read binary frame; {len(body)} bytes came, {announced} were announced",
                HaipErrorCode.BINARY_FRAME_ERROR,
            )
        return replace(message, binary=body)
