"""Outbox: numbers and writes messages, keeps them for replays, and queues those without credits."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ably_ai_transport_haip.protocol.credits import CreditAccount, FlowControlConfig
from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipFlowControlError, HaipProtocolError
from ably_ai_transport_haip.protocol.events import Frame
from ably_ai_transport_haip.protocol.messages import HaipMessage, check_message, new_id, write_flat
from ably_ai_transport_haip.protocol.names import Dialect, HaipChannel, HaipEventType, wire_name
from ably_ai_transport_haip.protocol.payloads import check_payload, is_plain_part
from ably_ai_transport_haip.protocol.sequence import ReceiveOrder, SendLog, SentFrame
from ably_ai_transport_haip.protocol.tariff import Tariff, content_bytes, is_free, message_credits


@dataclass(slots=True)
class Checked:
    """A message that may be sent, with its cost.

    Attributes:
        message: The message.
        channel: Its channel.
        cost: Its message credits.
        size: Its byte credits, by the tariff ``content``.
        is_free: Whether it passes without credits, even on a paused channel.
    """

    message: HaipMessage
    channel: str
    cost: int
    size: int
    is_free: bool


class Outbox:
    """The sending half of a peer.

    Args:
        session_id: The session, a UUID.
        config: The configuration of flow control.
        clock: Returns the current time: seconds since 1970.
        order: The received messages; the source of acks.
        log: Keeps the sent frames for replays.

    Attributes:
        credits: The credits of this side.
        dialect: The dialect of the other side.
        accepted: The events that the other side accepts; None before its handshake.
        marks: Whether messages carry their own number as ack. The reference client counts in its own way, so
            acks of its messages mean nothing to it, and it returns the last one as its ``last_rx_seq``.
        tariff: The tariff of the session.
        window: The largest byte credits that a single message may cost; None for no limit.
        backlog_bytes: The bytes of the frames to send now.
    """

    def __init__(
        self,
        session_id: str,
        config: FlowControlConfig,
        clock: Callable[[], float],
        order: ReceiveOrder,
        log: SendLog,
    ) -> None:
        self.credits = CreditAccount(config)
        self.dialect: Dialect = "text"
        self.accepted: frozenset[HaipEventType] | None = None
        self.marks = False
        self.tariff = Tariff.MESSAGE
        self.window: int | None = None
        self.backlog_bytes = 0
        self._session_id = session_id
        self._config = config
        self._has_limit = config.max_credits is not None or config.max_credit_bytes is not None
        self._clock = clock
        self._order = order
        self._log = log
        self._frames: deque[Frame] = deque()
        self._waiting: dict[str, deque[Checked]] = {}

    @property
    def last(self) -> int:
        """The sequence number of the newest message."""
        return self._log.last

    @property
    def backlog(self) -> int:
        """The number of frames to send now."""
        return len(self._frames)

    def first_frame(self) -> Frame | None:
        """Return the next frame to send and keep it; None if there is none."""
        return self._frames[0] if self._frames else None

    def next_frame(self) -> Frame | None:
        """Return and remove the next frame to send; None if there is none."""
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self.backlog_bytes -= frame.size
        return frame

    def next_texts(self, most: int, most_bytes: int) -> list[Frame]:
        """Return and remove the text frames at the head that have no binary frame.

        Args:
            most: The largest number of frames.
            most_bytes: The largest number of bytes; a single frame may be larger.
        """
        frames: list[Frame] = []
        size = 0
        while self._frames and len(frames) < most:
            following = self._frames[0]
            size += following.size
            if following.binary is not None or (frames and size > most_bytes):
                break
            frames.append(self._frames.popleft())
            self.backlog_bytes -= following.size
        return frames

    def clear(self) -> None:
        """Remove the frames to send now. They stay available for replays."""
        self._frames.clear()
        self.backlog_bytes = 0

    def drop(self) -> None:
        """Drop all frames and all messages. For sessions that have ended."""
        self.clear()
        self._waiting.clear()
        self._log.clear()

    def accepts(self, event: HaipEventType) -> bool:
        """Tell whether the other side accepts an event."""
        return self.accepted is None or event in self.accepted

    def check(self, messages: Sequence[HaipMessage]) -> list[Checked]:
        """Check messages of one channel before they are sent; see :meth:`HaipPeer.check`."""
        for message in messages:
            self.check_one(message)
        checked = [self._measured(message) for message in messages]
        if self._has_limit or self.window is not None:
            self._check_limits(checked)
        return checked

    def _check_limits(self, checked: Sequence[Checked]) -> None:
        """Refuse messages that no grant will ever cover."""
        cost, channel = sum([one.cost for one in checked]), checked[0].channel
        if not cost:
            return
        counts_frames = self.tariff is Tariff.MESSAGE
        sizes = [self.needed(one)[1] if counts_frames else one.size for one in checked]
        if self._has_limit:
            most_messages, most_bytes = self.credits.most(channel)
            if cost > most_messages or sum(sizes) > most_bytes:
                raise HaipFlowControlError(
                    f"unable to send on {channel}; {cost} messages of {sum(sizes)} bytes are more than"
                    " credits can ever cover (raise max_credits or max_credit_bytes, or send less at once)"
                )
        if self.window is not None and max(sizes) > self.window:
            raise HaipFlowControlError(
                f"unable to send on {channel}; a message of {max(sizes)} bytes is more than the other side"
                f" ever grants ({self.window}; send less at once)"
            )

    def check_one(self, message: HaipMessage) -> None:
        """Refuse a message that the schema refuses or the other side does not accept."""
        if not isinstance(message.type, HaipEventType):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise HaipProtocolError(
                f"unable to send message; type '{message.type}' is no HaipEventType",
                HaipErrorCode.INVALID_MESSAGE,
            )
        check_message(message)
        if not is_plain_part(message.type, message.payload):
            check_payload(message.type, message.payload)
        if not self.accepts(message.type) and message.type not in (HaipEventType.HAI, HaipEventType.ERROR):
            raise HaipProtocolError(
                f"unable to send {message.type}; the other side does not accept it",
                HaipErrorCode.UNSUPPORTED_TYPE,
            )

    def send_all(self, checked: Sequence[Checked], *, queue: bool) -> bool:
        """Send checked messages of one channel, all or none.

        Args:
            checked: The messages.
            queue: Whether they wait if the credits do not suffice. Otherwise they are refused.

        Returns:
            Whether they were sent; False if they wait.

        Raises:
            HaipFlowControlError: The credits do not suffice.
        """
        channel, cost = checked[0].channel, sum(one.cost for one in checked)
        if all(one.is_free for one in checked):
            self._commit(self._built(checked))
            return True
        frames, size = self._weighed(checked)
        waiting = self._waiting.get(channel)
        if waiting and not queue:
            raise HaipFlowControlError(
                f"unable to send on {channel}; {len(waiting)} messages wait there for credits"
            )
        if queue and (waiting or not self.credits.covers(channel, cost, size)):
            self._waiting.setdefault(channel, deque()).extend(checked)
            self.send_waiting(channel)
            return False
        # Written first: credits are not spent on a message that is no JSON.
        frames = frames or self._built(checked)
        self.credits.take(channel, cost, size)
        self._commit(frames)
        return True

    def try_send(self, checked: Checked) -> bool:
        """Send one checked message if the credits suffice; return whether it was sent."""
        if not checked.is_free and self._waiting.get(checked.channel):
            return False
        return self._send_covered(checked)

    def write(self, message: HaipMessage) -> None:
        """Send a message unchecked and without credits."""
        self._commit([self._build(message, channel_of(message), self._log.last + 1)])

    def write_binary(self, data: bytes) -> None:
        """Send a binary frame without a message."""
        self._queue(Frame(None, data, len(data)))

    def waiting(self, channel: str) -> int:
        """Return the number of messages that wait for credits on a channel."""
        return len(self._waiting.get(channel, ()))

    def first_waiting(self, channel: str) -> tuple[int, int] | None:
        """Return the message and byte credits of the first message that waits on a channel."""
        waiting = self._waiting.get(channel)
        return self.needed(waiting[0]) if waiting else None

    def needed(self, checked: Checked) -> tuple[int, int]:
        """Return the message and byte credits of a message that waits."""
        return checked.cost, self._weighed((checked,))[1]

    def send_waiting(self, channel: str | None = None) -> None:
        """Send the messages that wait on a channel, in order, until the credits are spent.

        Args:
            channel: The channel; every channel by default.
        """
        if channel is None:
            for name in tuple(self._waiting):
                self.send_waiting(name)
            return
        waiting = self._waiting.get(channel)
        while waiting:
            if not self._send_covered(waiting[0]):
                return
            waiting.popleft()

    def _send_covered(self, checked: Checked) -> bool:
        if checked.is_free:
            self._commit(self._built((checked,)))
            return True
        frames, size = self._weighed((checked,))
        if not self.credits.covers(checked.channel, checked.cost, size):
            return False
        frames = frames or self._built((checked,))
        self.credits.spend(checked.channel, checked.cost, size)
        self._commit(frames)
        return True

    def replay(self, first: int, last: int | None) -> None:
        """Send a range of frames again, with their numbers and without credits.

        Raises:
            HaipProtocolError: The first frame is no longer kept (REPLAY_TOO_OLD).
        """
        for frame in self._log.between(first, last):
            if self.marks and frame.is_handshake:
                # Its ack is older than that of the handshake that was just sent.
                continue
            self._queue(Frame(frame.text, frame.binary, frame.size))

    def _measured(self, message: HaipMessage) -> Checked:
        cost = message_credits(message, self.tariff, self._config.message_cost)
        # Measured in any case: that finds a payload that is no JSON.
        size = content_bytes(message)
        return Checked(message, channel_of(message), cost, size if cost else 0, is_free(message))

    def _weighed(self, checked: Sequence[Checked]) -> tuple[list[SentFrame], int]:
        """Return the byte credits of messages, and their frames if these had to be written for that."""
        if self.tariff is Tariff.CONTENT:
            return [], sum(one.size for one in checked)
        frames = self._built(checked)
        return frames, sum(frame.size for one, frame in zip(checked, frames, strict=True) if one.cost)

    def _built(self, checked: Sequence[Checked]) -> list[SentFrame]:
        """Write the frames of messages that are sent next."""
        following = self._log.last + 1
        return [
            self._build(one.message, one.channel, number) for number, one in enumerate(checked, following)
        ]

    def _build(self, message: HaipMessage, channel: str, number: int) -> SentFrame:
        now = self._clock()
        envelope, binary = message.envelope, message.binary
        flat: dict[str, object] = {
            "id": message.id or new_id(),
            "session": self._session_id,
            "seq": str(number),
            "ts": str(int(now * 1000)),
            "channel": channel,
            "type": wire_name(message.type, self.dialect),
            "payload": dict(message.payload),
        }
        # Most messages have none of these.
        if (ack := self._ack(message, number)) is not None:
            flat["ack"] = ack
        if envelope.run_id is not None:
            flat["run_id"] = envelope.run_id
        if envelope.thread_id is not None:
            flat["thread_id"] = envelope.thread_id
        if message.pv is not None:
            flat["pv"] = message.pv
        if message.crit is not None:
            flat["crit"] = message.crit
        bin_len = message.bin_len if binary is None else len(binary)
        if bin_len is not None:
            flat["bin_len"] = bin_len
        if message.bin_mime is not None:
            flat["bin_mime"] = message.bin_mime
        text = write_flat(flat, message.type)
        return SentFrame.of(number, text, binary, now, is_handshake=message.type is HaipEventType.HAI)

    def _ack(self, message: HaipMessage, number: int) -> str | None:
        if not self.marks:
            return self._order.ack
        # A handshake precedes the messages that it resumes, and tells after which they begin.
        resumes_after = message.envelope.ack if message.type is HaipEventType.HAI else None
        return resumes_after or str(number)

    def _commit(self, frames: Sequence[SentFrame]) -> None:
        for frame in frames:
            self._log.keep(frame)
            self._queue(Frame(frame.text, frame.binary, frame.size))

    def _queue(self, frame: Frame) -> None:
        self._frames.append(frame)
        self.backlog_bytes += frame.size


def channel_of(message: HaipMessage) -> str:
    """Return the channel of a message; ``SYSTEM`` by default."""
    return message.envelope.channel or HaipChannel.SYSTEM
