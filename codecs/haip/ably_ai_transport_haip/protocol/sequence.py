"""Numbers of messages: what was sent is kept for a while, what comes is put in order."""

from collections import deque
from dataclasses import dataclass
from typing import Final

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.messages import HaipMessage

KEEP_MESSAGES: Final = 1000
KEEP_SECONDS: Final = 300.0
GAP_SECONDS: Final = 0.5
MAX_HELD: Final = 10_000
EPOCH_LIKE: Final = 10**11
"""From here on a number is the time of day rather than a count, as in the reference client."""


@dataclass(frozen=True, slots=True)
class SentFrame:
    """A frame that was sent.

    Attributes:
        number: Its number.
        text: The text frame.
        binary: The binary frame after it.
        at: When it was sent, in seconds.
    """

    number: int
    text: str
    binary: bytes | None
    at: float


class SendLog:
    """What was sent, in order, so that it can be sent again.

    At least the last 1,000 messages stay, and up to 10,000 that are younger than five minutes.
    """

    def __init__(self) -> None:
        self._frames: deque[SentFrame] = deque()
        self.last = 0

    def next_number(self) -> int:
        """Return the number of the next message."""
        self.last += 1
        return self.last

    def keep(self, frame: SentFrame) -> None:
        """Keep a frame that was sent."""
        self._frames.append(frame)
        while len(self._frames) > KEEP_MESSAGES and (
            self._frames[0].at < frame.at - KEEP_SECONDS or len(self._frames) > 10 * KEEP_MESSAGES
        ):
            self._frames.popleft()

    def between(self, first: int, last: int | None) -> list[SentFrame]:
        """Return frames to send again.

        Args:
            first: The number of the first.
            last: The number of the last; None for all that follow.

        Returns:
            The frames, both ends included.

        Raises:
            HaipProtocolError: The first is not kept any more (REPLAY_TOO_OLD).
        """
        if first <= self.last and (not self._frames or first < self._frames[0].number):
            oldest = self._frames[0].number if self._frames else self.last + 1
            raise HaipProtocolError(
                f"unable to replay from {first}; the oldest message that is kept is {oldest}",
                HaipErrorCode.REPLAY_TOO_OLD,
                {"from_seq": str(first)},
            )
        return [f for f in self._frames if f.number >= first and (last is None or f.number <= last)]


class ReceiveOrder:
    """Puts what comes in order, drops what came before, and notices what is missing.

    Peers whose first number is not 1 do not count as the specification says; from them everything is taken as
    it comes.

    Attributes:
        delivered: The number of the newest message that was delivered, with all before it.
        lenient: Whether the peer counts in a way of its own.
        last_text: The newest number as the peer has written it.
    """

    def __init__(self) -> None:
        self.delivered = 0
        self.lenient = False
        self.last_text: str | None = None
        self._held: dict[int, HaipMessage] = {}
        self._seen: set[int] = set()
        self._missing_since: float | None = None
        self._asked = False

    def take(self, message: HaipMessage, now: float) -> list[HaipMessage]:
        """Take in a message.

        Args:
            message: What came.
            now: The time in seconds.

        Returns:
            What can be delivered now, in order: nothing where it came before, or where something before it is
            missing.

        Raises:
            HaipProtocolError: It has no number, or too much is missing (SEQ_VIOLATION).
        """
        number = self._number(message)
        if number is None:
            return [message]
        if number <= self.delivered or number in self._held or number in self._seen:
            return []
        self._held[number] = message
        if len(self._held) > MAX_HELD:
            raise HaipProtocolError(
                f"unable to go on; {len(self._held)} messages wait for number {self.delivered + 1}",
                HaipErrorCode.SEQ_VIOLATION,
            )
        return self._release(now)

    def note(self, message: HaipMessage, now: float) -> list[HaipMessage] | None:
        """Take in a message that is dealt with out of order, as a handshake is.

        Args:
            message: What came.
            now: The time in seconds.

        Returns:
            What can be delivered now that its number is accounted for; None where it came before.
        """
        number = self._number(message)
        if number is None:
            return []
        if number <= self.delivered or number in self._seen:
            return None
        self._seen.add(number)
        return self._release(now)

    def begin_at(self, message: HaipMessage) -> None:
        """Forget everything: the peer begins with this message, whatever its number.

        Args:
            message: The first one.
        """
        text = message.envelope.sequence or ""
        number = int(text) if text.isascii() and text.isdigit() else None
        self.lenient = number is None or number >= EPOCH_LIKE
        self.delivered = 0 if number is None else number - 1
        self.last_text, self._missing_since, self._asked = "", None, False
        self._held.clear()
        self._seen.clear()

    def missing(self, now: float) -> tuple[int, int] | None:
        """Return what to ask for again, once it has been missing for half a second.

        Args:
            now: The time in seconds.

        Returns:
            The first and the last number that is missing, once for each gap.
        """
        if self._missing_since is None or self._asked or now < self._missing_since + GAP_SECONDS:
            return None
        self._asked = True
        return self.delivered + 1, min((*self._held, *self._seen)) - 1

    @property
    def asks_at(self) -> float | None:
        """When :meth:`missing` will have something to say."""
        if self._missing_since is None or self._asked:
            return None
        return self._missing_since + GAP_SECONDS

    def give_up(self, now: float) -> tuple[tuple[int, int] | None, list[HaipMessage]]:
        """Go on without what is missing: it is not to be had any more.

        Args:
            now: The time in seconds.

        Returns:
            The first and the last number that is lost, and what can be delivered now.
        """
        waiting = (*self._held, *self._seen)
        if not waiting:
            return None, []
        lost = self.delivered + 1, min(waiting) - 1
        self.delivered = lost[1]
        return lost, self._release(now)

    def _number(self, message: HaipMessage) -> int | None:
        text = message.envelope.sequence
        if text is None and not self.lenient:
            raise HaipProtocolError("unable to read message; seq is missing", HaipErrorCode.SEQ_VIOLATION)
        number = int(text) if text is not None and text.isascii() and text.isdigit() else None
        if self.last_text is None and number != 1:
            self.lenient = True
        self.last_text = text
        if self.lenient:
            return None
        if number is None:
            raise HaipProtocolError(
                f"unable to read message; seq {text!r} is no number", HaipErrorCode.SEQ_VIOLATION
            )
        return number

    def _release(self, now: float) -> list[HaipMessage]:
        ready: list[HaipMessage] = []
        while True:
            following = self.delivered + 1
            if following in self._seen:
                self._seen.discard(following)
            elif following in self._held:
                ready.append(self._held.pop(following))
            else:
                break
            self.delivered = following
            self._missing_since, self._asked = None, False
        if not self._held and not self._seen:
            self._missing_since = None
        elif self._missing_since is None:
            self._missing_since = now
        return ready
