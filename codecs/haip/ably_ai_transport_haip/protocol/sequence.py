"""Sequence numbers: a log of sent frames for replays, and the order of received messages."""

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.messages import HaipMessage, size_of

KEEP_MESSAGES: Final = 1000
_DIGITS: Final = re.compile(r"[0-9]{1,20}")
MAX_NUMBER: Final = 2**64 - 1
"""The largest sequence number. The one after it still has 20 digits."""
KEEP_SECONDS: Final = 300.0
GAP_SECONDS: Final = 0.5
KEEP_BYTES: Final = 16 * 1024 * 1024
MAX_HELD: Final = 10_000
MAX_HELD_BYTES: Final = 16 * 1024 * 1024
EPOCH_LIKE: Final = 10**11
"""Larger numbers are timestamps, as the reference client sends them, and not counts."""


@dataclass(slots=True)
class SentFrame:
    """A frame that was sent.

    Attributes:
        number: The sequence number.
        text: The text frame.
        binary: The binary frame that follows it.
        at: The time of sending, in seconds.
        size: The bytes of both frames.
        is_handshake: Whether it is a handshake.
    """

    number: int
    text: str
    binary: bytes | None
    at: float
    size: int
    is_handshake: bool

    @classmethod
    def of(
        cls, number: int, text: str, binary: bytes | None, at: float, *, is_handshake: bool = False
    ) -> "SentFrame":
        """Build a frame and measure it."""
        size = size_of(text) + (0 if binary is None else len(binary))
        return cls(number, text, binary, at, size, is_handshake)


class SendLog:
    """The sent frames, in order, for replays.

    It keeps the last 1,000 messages, and up to 10,000 of the last five minutes, within a limit in bytes.
    The newest message is always kept.

    Args:
        most_bytes: The largest number of bytes to keep.
    """

    def __init__(self, most_bytes: int = KEEP_BYTES) -> None:
        self._frames: deque[SentFrame] = deque()
        self._most_bytes = most_bytes
        self.size = 0
        self.last = 0

    def keep(self, frame: SentFrame) -> None:
        """Add the newest sent frame."""
        self.last = frame.number
        frames = self._frames
        frames.append(frame)
        self.size += frame.size
        while len(frames) > 1 and (
            self.size > self._most_bytes
            or len(frames) > 10 * KEEP_MESSAGES
            or (len(frames) > KEEP_MESSAGES and frames[0].at < frame.at - KEEP_SECONDS)
        ):
            self.size -= frames.popleft().size

    def is_full(self, since: int) -> bool:
        """Tell whether another frame might push out one that was sent after a sequence number.

        Args:
            since: The sequence number.
        """
        frames = self._frames
        if not frames or frames[0].number <= since:
            return False
        return frames[0].number > since + 1 or (
            len(frames) >= 10 * KEEP_MESSAGES or self.size >= self._most_bytes
        )

    def clear(self) -> None:
        """Drop all frames. For sessions that have ended."""
        self._frames.clear()
        self.size = 0

    def between(self, first: int, last: int | None) -> list[SentFrame]:
        """Return the frames of a range, both ends included.

        Args:
            first: The first sequence number.
            last: The last sequence number; None for the newest.

        Returns:
            The frames, in order.

        Raises:
            HaipProtocolError: The first frame is no longer kept (REPLAY_TOO_OLD).
        """
        if first <= self.last and (not self._frames or first < self._frames[0].number):
            oldest = self._frames[0].number if self._frames else self.last + 1
            raise HaipProtocolError(
                f"unable to replay from {first}; the oldest message still kept is {oldest}",
                HaipErrorCode.REPLAY_TOO_OLD,
                {"from_seq": str(first)},
            )
        return [f for f in self._frames if f.number >= first and (last is None or f.number <= last)]


class OrderLostError(HaipProtocolError):
    """The messages of a connection can no longer be put in order."""


class ReceiveOrder:
    """Sorts received messages, drops duplicates and finds gaps.

    A peer whose first number is not 1 does not count as the specification says. It is lenient: its messages
    are delivered as they arrive.

    Args:
        most_bytes: The largest number of bytes in messages that wait for a missing one.

    Attributes:
        delivered: The newest sequence number up to which every message was delivered.
        lenient: Whether the peer does not count as the specification says.
        last_text: The newest sequence number as the peer wrote it.
    """

    def __init__(self, most_bytes: int = MAX_HELD_BYTES) -> None:
        self.delivered = 0
        self.lenient = False
        self.last_text: str | None = None
        self._most_bytes = most_bytes
        self._held: dict[int, HaipMessage] = {}
        self._held_bytes = 0
        self._seen: set[int] = set()
        self._missing_since: float | None = None
        self._asked = False

    @property
    def ack(self) -> str | None:
        """The ack to send; None to a lenient peer, and before the first message."""
        return None if self.lenient or not self.delivered else str(self.delivered)

    def take(self, message: HaipMessage, now: float) -> list[HaipMessage]:
        """Add a received message.

        Args:
            message: The message.
            now: The current time in seconds.

        Returns:
            The messages to deliver now, in order. Empty for a duplicate, and while an earlier message is
            missing.

        Raises:
            HaipProtocolError: The sequence number is missing or invalid, or too many messages wait for a
                missing one (SEQ_VIOLATION).
        """
        number = self._number(message)
        if number is None:
            return [message]
        if number <= self.delivered or number in self._held or number in self._seen:
            return []
        if number == self.delivered + 1 and not self._held and not self._seen:
            self.delivered = number
            return [message]
        self._held[number] = message
        self._held_bytes += message.size
        if len(self._held) > MAX_HELD or (
            number > self.delivered + 1 and self._held_bytes > self._most_bytes
        ):
            raise OrderLostError(
                f"unable to order messages; {len(self._held)} messages of {self._held_bytes} bytes wait for"
                f" number {self.delivered + 1}",
                HaipErrorCode.SEQ_VIOLATION,
            )
        return self._release(now)

    def note(self, message: HaipMessage, now: float) -> list[HaipMessage] | None:
        """Mark the number of a message that is handled out of order, such as a handshake.

        Args:
            message: The message.
            now: The current time in seconds.

        Returns:
            The messages to deliver now, in order; None for a duplicate.

        Raises:
            HaipProtocolError: The sequence number is missing or invalid (SEQ_VIOLATION).
        """
        number = self._number(message)
        if number is None:
            return []
        if number <= self.delivered or number in self._seen:
            return None
        self._seen.add(number)
        return self._release(now)

    def check(self, message: HaipMessage) -> None:
        """Refuse a message whose number does not fit, without marking it.

        Args:
            message: The message.

        Raises:
            HaipProtocolError: The sequence number is missing or invalid (SEQ_VIOLATION).
        """
        if self.lenient:
            return
        text = message.envelope.sequence
        if text is None:
            raise HaipProtocolError("unable to read message; seq is missing", HaipErrorCode.SEQ_VIOLATION)
        if self.last_text is not None and number_of(message) is None:
            raise HaipProtocolError(
                f"unable to read message; seq '{text[:40]}' is no number of up to 20 digits",
                HaipErrorCode.SEQ_VIOLATION,
            )

    def drop_held(self) -> None:
        """Drop the messages that wait for a missing one. For lost connections: they are replayed."""
        self._held.clear()
        self._held_bytes = 0
        self._missing_since, self._asked = None, False

    def begin_at(self, message: HaipMessage) -> None:
        """Start over with the first message of a new session, whatever its number.

        Args:
            message: The first message.
        """
        number = number_of(message)
        self.lenient = number is None or number >= EPOCH_LIKE
        self.delivered = 0 if number is None else number - 1
        self.last_text = ""
        self.drop_held()
        self._seen.clear()

    def missing(self, now: float) -> tuple[int, int] | None:
        """Return a gap that is half a second old, once.

        Args:
            now: The current time in seconds.

        Returns:
            The first and the last missing number; None if there is no such gap.
        """
        if self._missing_since is None or self._asked or now < self._missing_since + GAP_SECONDS:
            return None
        self._asked = True
        return self.delivered + 1, min((*self._held, *self._seen)) - 1

    @property
    def due(self) -> float | None:
        """The time when :meth:`missing` will return a gap; None if there is no gap."""
        if self._missing_since is None or self._asked:
            return None
        return self._missing_since + GAP_SECONDS

    def give_up(self, now: float) -> tuple[tuple[int, int] | None, list[HaipMessage]]:
        """Skip the oldest gap: its messages cannot be replayed.

        Args:
            now: The current time in seconds.

        Returns:
            The first and the last lost number (None without a gap), and the messages to deliver now.
        """
        waiting = (*self._held, *self._seen)
        if not waiting:
            return None, []
        lost = self.delivered + 1, min(waiting) - 1
        self.delivered = lost[1]
        return lost, self._release(now)

    def _number(self, message: HaipMessage) -> int | None:
        self.check(message)
        number = number_of(message)
        if self.last_text is None and number != 1:
            self.lenient = True
        self.last_text = message.envelope.sequence
        return None if self.lenient else number

    def _release(self, now: float) -> list[HaipMessage]:
        ready: list[HaipMessage] = []
        while True:
            following = self.delivered + 1
            if following in self._seen:
                self._seen.discard(following)
            elif following in self._held:
                message = self._held.pop(following)
                self._held_bytes -= message.size
                ready.append(message)
            else:
                break
            self.delivered = following
            self._missing_since, self._asked = None, False
        if not self._held and not self._seen:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now
        return ready


def number_of(message: HaipMessage) -> int | None:
    """Return the sequence number of a message; None if it is missing or invalid."""
    return digits(message.envelope.sequence)


def digits(text: str | None) -> int | None:
    """Return the value of a number of 64 bits in decimal digits; None for any other text."""
    if text is None or _DIGITS.fullmatch(text) is None:
        return None
    number = int(text)
    return number if number <= MAX_NUMBER else None
