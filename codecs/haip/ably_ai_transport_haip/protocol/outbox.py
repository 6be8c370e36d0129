"""Outbox: numbers and writes messages, keeps them for replays, and queues those without credits."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ably_ai_transport_haip.protocol.credits import CreditAccount, FlowControlConfig
from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipFlowControlError, HaipProtocolError
from ably_ai_transport_haip.protocol.events import Frame
from ably_ai_transport_haip.protocol.messages import HaipMessage, check_message, new_id, write_text
from ably_ai_transport_haip.protocol.names import Dialect, HaipChannel, HaipEventType
from ably_ai_transport_haip.protocol.payloads import check_payload
from ably_ai_transport_haip.protocol.sequence import ReceiveOrder, SendLog, SentFrame


@dataclass(frozen=True, slots=True)
class _Prepared:
    message: HaipMessage
    frame: SentFrame

    @property
    def size(self) -> int:
        return len(self.frame.text.encode()) + len(self.frame.binary or b"")


class Outbox:
    """The sending half of a peer.

    Args:
        session_id: The session, a UUID.
        config: The configuration of flow control.
        clock: Returns the current time: seconds since 1970.
        order: The received messages; the source of acks.

    Attributes:
        credits: The credits of this side.
        dialect: The dialect of the other side.
        accepted: The events that the other side accepts; None before its handshake.
        marks: Whether messages carry their own number as ack. The reference client counts in its own way, so
            acks of its messages mean nothing to it, and it returns the last one as its ``last_rx_seq``.
    """

    def __init__(
        self,
        session_id: str,
        config: FlowControlConfig,
        clock: Callable[[], float],
        order: ReceiveOrder,
    ) -> None:
        self.credits = CreditAccount(config)
        self.dialect: Dialect = "text"
        self.accepted: frozenset[HaipEventType] | None = None
        self.marks = False
        self._session_id = session_id
        self._config = config
        self._clock = clock
        self._order = order
        self._log = SendLog()
        self._frames: deque[Frame] = deque()
        self._waiting: dict[str, deque[HaipMessage]] = {}

    @property
    def last(self) -> int:
        """The sequence number of the newest message."""
        return self._log.last

    @property
    def backlog(self) -> int:
        """The number of frames to send now."""
        return len(self._frames)

    def next_frame(self) -> Frame | None:
        """Return and remove the next frame to send; None if there is none."""
        return self._frames.popleft() if self._frames else None

    def clear(self) -> None:
        """Remove the frames to send now. They stay available for replays."""
        self._frames.clear()

    def accepts(self, event: HaipEventType) -> bool:
        """Tell whether the other side accepts an event."""
        return self.accepted is None or event in self.accepted

    def send_all(self, messages: Sequence[HaipMessage], *, queue: bool) -> list[HaipMessage]:
        """Send messages of one channel, all or none; see :meth:`HaipPeer.send_all`."""
        self.check(messages)
        channel = channel_of(messages[0])
        prepared = [self._prepare(message, ahead) for ahead, message in enumerate(messages)]
        cost = self._cost(messages)
        size = sum(frame.size for frame in prepared) if cost else 0
        waiting = self._waiting.get(channel)
        if cost and waiting and not queue:
            raise HaipFlowControlError(
                f"unable to send on {channel}; {len(waiting)} messages wait there for credits"
            )
        if queue and cost and (waiting or not self.credits.covers(channel, cost, size)):
            self._waiting.setdefault(channel, deque()).extend(messages)
            self.send_waiting(channel)
            return []
        self.credits.take(channel, cost, size)
        return [self._commit(frame) for frame in prepared]

    def can_send(self, messages: Sequence[HaipMessage]) -> bool:
        """Tell whether :meth:`send_all` would send messages of one channel now."""
        channel, cost = channel_of(messages[0]), self._cost(messages)
        if cost and self._waiting.get(channel):
            return False
        return self.credits.covers(channel, cost, self._size(messages))

    def check(self, messages: Sequence[HaipMessage]) -> None:
        """Refuse messages that can never be sent; see :meth:`HaipPeer.check`."""
        for message in messages:
            self.check_one(message)
        channel, cost = channel_of(messages[0]), self._cost(messages)
        # Measured in any case: a payload that is no JSON is found when it is written.
        size = self._size(messages)
        most_messages, most_bytes = self.credits.most(channel)
        if cost and (cost > most_messages or size > most_bytes):
            raise HaipFlowControlError(
                f"unable to send on {channel}; {cost} messages of {size} bytes are more than credits can"
                " ever cover (raise max_credits or max_credit_bytes, or send less at once)"
            )

    def check_one(self, message: HaipMessage) -> None:
        """Refuse a message that the schema refuses or the other side does not accept."""
        if not isinstance(message.type, HaipEventType):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise HaipProtocolError(
                f"unable to send message; type '{message.type}' is no HaipEventType",
                HaipErrorCode.INVALID_MESSAGE,
            )
        check_message(message)
        check_payload(message.type, message.payload)
        if not self.accepts(message.type) and message.type not in (HaipEventType.HAI, HaipEventType.ERROR):
            raise HaipProtocolError(
                f"unable to send {message.type}; the other side does not accept it",
                HaipErrorCode.UNSUPPORTED_TYPE,
            )

    def write(self, message: HaipMessage) -> None:
        """Send a message unchecked and without credits."""
        self._commit(self._prepare(message))

    def write_binary(self, data: bytes) -> None:
        """Send a binary frame without a message."""
        self._frames.append(Frame(None, data))

    def waiting(self, channel: str) -> int:
        """Return the number of messages that wait for credits on a channel."""
        return len(self._waiting.get(channel, ()))

    def send_waiting(self, channel: str) -> None:
        """Send the messages that wait on a channel, in order, until the credits are spent."""
        waiting = self._waiting.get(channel)
        while waiting:
            message = waiting[0]
            cost = self._config.message_cost(message)
            frame = self._prepare(message)
            if not self.credits.covers(channel, cost, frame.size):
                return
            waiting.popleft()
            self.credits.take(channel, cost, frame.size)
            self._commit(frame)

    def replay(self, first: int, last: int | None) -> None:
        """Send a range of frames again, with their numbers and without credits.

        Raises:
            HaipProtocolError: The first frame is no longer kept (REPLAY_TOO_OLD).
        """
        frames = self._log.between(first, last)
        self._frames.extend(Frame(frame.text, frame.binary) for frame in frames)

    def _cost(self, messages: Sequence[HaipMessage]) -> int:
        return sum(map(self._config.message_cost, messages))

    def _size(self, messages: Sequence[HaipMessage]) -> int:
        return sum(self._prepare(message, ahead).size for ahead, message in enumerate(messages))

    def _prepare(self, message: HaipMessage, ahead: int = 0) -> _Prepared:
        """Build the frame of a message that follows ``ahead`` others."""
        number = self._log.last + 1 + ahead
        now = self._clock()
        envelope = replace(
            message.envelope,
            session_id=self._session_id,
            channel=channel_of(message),
            timestamp=str(int(now * 1000)),
            sequence=str(number),
            ack=self._ack(message, number),
        )
        finished = replace(message, id=message.id or new_id(), envelope=envelope)
        if message.binary is not None:
            finished = replace(finished, bin_len=len(message.binary))
        text = write_text(finished, self.dialect)
        return _Prepared(finished, SentFrame(number, text, message.binary, now))

    def _ack(self, message: HaipMessage, number: int) -> str | None:
        if not self.marks:
            return self._order.ack
        # A handshake precedes the messages that it resumes.
        return message.envelope.ack if message.type is HaipEventType.HAI else str(number)

    def _commit(self, prepared: _Prepared) -> HaipMessage:
        self._log.next_number()
        self._log.keep(prepared.frame)
        self._frames.append(Frame(prepared.frame.text, prepared.frame.binary))
        return prepared.message


def channel_of(message: HaipMessage) -> str:
    """Return the channel of a message; ``SYSTEM`` by default."""
    return message.envelope.channel or HaipChannel.SYSTEM
