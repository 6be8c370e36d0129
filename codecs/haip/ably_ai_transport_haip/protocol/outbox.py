"""What one side sends: numbered, written, kept for replay, and held back where credits are lacking."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ably_ai_transport_haip.protocol.credits import CreditAccount, FlowControlConfig
from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipFlowControlError, HaipProtocolError
from ably_ai_transport_haip.protocol.events import Frame
from ably_ai_transport_haip.protocol.messages import HaipMessage, check_envelope, new_id, write_text
from ably_ai_transport_haip.protocol.names import Dialect, HaipChannel, HaipEventType
from ably_ai_transport_haip.protocol.payloads import check_payload
from ably_ai_transport_haip.protocol.sequence import SendLog, SentFrame


@dataclass(frozen=True, slots=True)
class _Prepared:
    message: HaipMessage
    frame: SentFrame

    @property
    def size(self) -> int:
        return len(self.frame.text.encode()) + len(self.frame.binary or b"")


class Outbox:
    """The sending half of a side.

    Args:
        session_id: The session, a UUID.
        config: How to account for what is sent.
        clock: The time: seconds since 1970.
        ack: Returns the number of the other side's newest message that has arrived; None to say nothing.

    Attributes:
        credits: What may be sent.
        dialect: How the other side names text messages.
        accepted: What it takes; None before that is known.
    """

    def __init__(
        self,
        session_id: str,
        config: FlowControlConfig,
        clock: Callable[[], float],
        ack: Callable[[], str | None],
    ) -> None:
        self.credits = CreditAccount(config)
        self.dialect: Dialect = "text"
        self.accepted: frozenset[HaipEventType] | None = None
        self._session_id = session_id
        self._config = config
        self._clock = clock
        self._ack = ack
        self._log = SendLog()
        self._frames: deque[Frame] = deque()
        self._waiting: dict[str, deque[HaipMessage]] = {}

    @property
    def last(self) -> int:
        """The number of the newest message."""
        return self._log.last

    @property
    def backlog(self) -> int:
        """How many frames are to be sent now."""
        return len(self._frames)

    def next_frame(self) -> Frame | None:
        """Return the next frame that is to be sent, once; None where there is none."""
        return self._frames.popleft() if self._frames else None

    def clear(self) -> None:
        """Forget what is to be sent now; it is still kept for a replay."""
        self._frames.clear()

    def accepts(self, event: HaipEventType) -> bool:
        """Tell whether the other side takes such messages."""
        return self.accepted is None or event in self.accepted

    def send_all(self, messages: Sequence[HaipMessage], *, queue: bool) -> list[HaipMessage]:
        """Send messages of one channel, all of them or none; see :meth:`HaipPeer.send_all`."""
        self.check(messages)
        channel = channel_of(messages[0])
        prepared = [self._prepare(message, ahead) for ahead, message in enumerate(messages)]
        cost = self._cost(messages)
        size = sum(frame.size for frame in prepared) if cost else 0
        waiting = self._waiting.get(channel)
        if cost and waiting and not queue:
            raise HaipFlowControlError(
                f"unable to send on {channel}; {len(waiting)} messages wait there for credits already"
            )
        if queue and cost and (waiting or not self.credits.covers(channel, cost, size)):
            self._waiting.setdefault(channel, deque()).extend(messages)
            self.send_waiting(channel)
            return []
        self.credits.take(channel, cost, size)
        return [self._commit(frame) for frame in prepared]

    def can_send(self, messages: Sequence[HaipMessage]) -> bool:
        """Tell whether :meth:`send_all` would send messages of one channel right now."""
        channel, cost = channel_of(messages[0]), self._cost(messages)
        if cost and self._waiting.get(channel):
            return False
        return self.credits.covers(channel, cost, self._size(messages))

    def check(self, messages: Sequence[HaipMessage]) -> None:
        """Refuse what could not be sent however long one waits; see :meth:`HaipPeer.check`."""
        for message in messages:
            self.check_one(message)
        channel, cost = channel_of(messages[0]), self._cost(messages)
        size = self._size(messages) if cost else 0
        most_messages, most_bytes = self.credits.most(channel)
        if cost > most_messages or size > most_bytes:
            raise HaipFlowControlError(
                f"unable to send on {channel}; {cost} messages of {size} bytes are more than credits can ever"
                " cover (raise max_credits or max_credit_bytes, or send less at once)"
            )

    def check_one(self, message: HaipMessage) -> None:
        """Refuse a message that the schema refuses, or that the other side does not take."""
        check_envelope(message.envelope)
        check_payload(message.type, message.payload)
        if not self.accepts(message.type) and message.type not in (HaipEventType.HAI, HaipEventType.ERROR):
            raise HaipProtocolError(
                f"unable to send {message.type}; the other side does not take such messages",
                HaipErrorCode.UNSUPPORTED_TYPE,
            )

    def write(self, message: HaipMessage) -> None:
        """Send a message as it is; it costs no credits."""
        self._commit(self._prepare(message))

    def write_binary(self, data: bytes) -> None:
        """Send a binary frame that belongs to no message."""
        self._frames.append(Frame(None, data))

    def waiting(self, channel: str) -> int:
        """Return how many messages wait for credits on a channel."""
        return len(self._waiting.get(channel, ()))

    def send_waiting(self, channel: str) -> None:
        """Send what waits on a channel, as far as there are credits for it."""
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
        """Send again what was sent before, under the same numbers. It costs no credits.

        Raises:
            HaipProtocolError: Some of it is not kept any more (REPLAY_TOO_OLD).
        """
        frames = self._log.between(first, last)
        self._frames.extend(Frame(frame.text, frame.binary) for frame in frames)

    def _cost(self, messages: Sequence[HaipMessage]) -> int:
        return sum(map(self._config.message_cost, messages))

    def _size(self, messages: Sequence[HaipMessage]) -> int:
        return sum(self._prepare(message, ahead).size for ahead, message in enumerate(messages))

    def _prepare(self, message: HaipMessage, ahead: int = 0) -> _Prepared:
        """Write a message as it will be if only so many others go ahead of it."""
        number = self._log.last + 1 + ahead
        now = self._clock()
        envelope = replace(
            message.envelope,
            session_id=self._session_id,
            channel=channel_of(message),
            timestamp=str(int(now * 1000)),
            sequence=str(number),
            ack=self._ack(),
        )
        finished = replace(message, id=message.id or new_id(), envelope=envelope)
        if message.binary is not None:
            finished = replace(finished, bin_len=len(message.binary))
        text = write_text(finished, self.dialect)
        return _Prepared(finished, SentFrame(number, text, message.binary, now))

    def _commit(self, prepared: _Prepared) -> HaipMessage:
        self._log.next_number()
        self._log.keep(prepared.frame)
        self._frames.append(Frame(prepared.frame.text, prepared.frame.binary))
        return prepared.message


def channel_of(message: HaipMessage) -> str:
    """Return where a message goes: what names no channel is about the connection itself."""
    return message.envelope.channel or HaipChannel.SYSTEM
