"""One side of a HAIP session, without input and output: frames in, events out; messages in, frames out."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from ably_ai_transport_haip.protocol.binary import BinaryBodies
from ably_ai_transport_haip.protocol.credits import CreditAccount, CreditLedger, FlowControlConfig
from ably_ai_transport_haip.protocol.errors import (
    HaipError,
    HaipErrorCode,
    HaipFlowControlError,
    HaipProtocolError,
)
from ably_ai_transport_haip.protocol.events import (
    BinaryReceived,
    CreditsChanged,
    Frame,
    Handshaken,
    Lost,
    PeerEvent,
    Received,
    Violated,
)
from ably_ai_transport_haip.protocol.messages import HaipEnvelope, HaipMessage, new_id, read_text, write_text
from ably_ai_transport_haip.protocol.names import (
    PROTOCOL_MAJOR,
    PROTOCOL_VERSION,
    Dialect,
    HaipChannel,
    HaipEventType,
    accepted_names,
    dialect_of,
    event_named,
)
from ably_ai_transport_haip.protocol.payloads import (
    AudioChunk,
    ChannelControl,
    FlowUpdate,
    Hai,
    ReplayRequest,
    check_payload,
    read_payload,
)
from ably_ai_transport_haip.protocol.sequence import ReceiveOrder, SendLog, SentFrame

_AT_ONCE: Final = frozenset(
    {
        HaipEventType.PING,
        HaipEventType.PONG,
        HaipEventType.ERROR,
        HaipEventType.FLOW_UPDATE,
        HaipEventType.REPLAY_REQUEST,
    }
)


@dataclass(frozen=True)
class PeerConfig:
    """How one side behaves.

    Attributes:
        role: Which side it is.
        flow_control: How it accounts for what it sends.
        receive_credits: Messages a channel that the other side may send before it is granted more.
        receive_credit_bytes: Bytes a channel.
        max_concurrent_runs: Runs that may be open at once.
        binary_frames: Whether bytes travel in binary frames where the other side takes them.
        clock: The time: seconds since 1970.
    """

    role: Literal["client", "server"]
    clock: Callable[[], float]
    flow_control: FlowControlConfig = field(default_factory=FlowControlConfig)
    receive_credits: int = 1000
    receive_credit_bytes: int = 16 * 1024 * 1024
    max_concurrent_runs: int = 5
    binary_frames: bool = True


@dataclass(frozen=True, slots=True)
class _Prepared:
    message: HaipMessage
    frame: SentFrame

    @property
    def size(self) -> int:
        return len(self.frame.text.encode()) + len(self.frame.binary or b"")


class HaipPeer:
    """The protocol of one side, from the handshake on.

    It owns numbers, acknowledgements, replay, credits and the pairing of binary frames. What runs and tools
    mean is for the layers above. After a lost connection :meth:`reconnect` makes it ready for the next one:
    the session goes on where it was.

    Args:
        config: How it behaves.
        session_id: The session, a UUID; made up where it is left out.

    Attributes:
        session_id: The session.
        credits: What may be sent.
        remote: What the other side said in its handshake.
        acked: The number of this side's newest message that the other one says to have.
    """

    def __init__(self, config: PeerConfig, session_id: str | None = None) -> None:
        self.config = config
        self.session_id = session_id or new_id()
        self.credits = CreditAccount(config.flow_control)
        self.remote: Hai | None = None
        self.acked: str | None = None
        self._ledger = CreditLedger(config.receive_credits, config.receive_credit_bytes)
        self._sent = SendLog()
        self._order = ReceiveOrder()
        self._out: deque[Frame] = deque()
        self._waiting: dict[str, deque[HaipMessage]] = {}
        self._bodies = BinaryBodies()
        self._accepted: frozenset[HaipEventType] | None = None
        self._dialect: Dialect = "text"
        self._handshaken = False
        self._greeted = False
        self._goes_on = False
        self._last_before = 0

    # What goes out

    @property
    def is_handshaken(self) -> bool:
        """Whether the other side has introduced itself on this connection."""
        return self._handshaken

    @property
    def is_lenient(self) -> bool:
        """Whether the other side does not count as the specification says, and is treated with patience."""
        return self._order.lenient

    @property
    def received(self) -> str:
        """The number of the newest message that has arrived with all before it."""
        return str(self._order.delivered)

    def take_outgoing(self) -> list[Frame]:
        """Return what is to be sent now, in order, once."""
        frames = list(self._out)
        self._out.clear()
        return frames

    def greet(self) -> None:
        """Introduce this side, once a connection."""
        if self._greeted:
            return
        self._greeted = True
        config = self.config
        flow = {
            "initial_credit_messages": config.receive_credits,
            "initial_credit_bytes": config.receive_credit_bytes,
        }
        payload: dict[str, object] = {
            "haip_version": PROTOCOL_VERSION,
            "accept_major": [PROTOCOL_MAJOR],
            "accept_events": accepted_names(self._dialect),
            "capabilities": {
                "binary_frames": config.binary_frames,
                "flow_control": flow,
                "max_concurrent_runs": config.max_concurrent_runs,
            },
            "binary_frames": config.binary_frames,
            "max_concurrent_runs": config.max_concurrent_runs,
        }
        if self._goes_on and not self._order.lenient:
            payload["last_rx_seq"] = self.received
        self._write(HaipMessage(HaipEventType.HAI, payload, HaipEnvelope(channel=HaipChannel.SYSTEM)))

    def send(self, message: HaipMessage, *, queue: bool = False) -> HaipMessage | None:
        """Send a message.

        Args:
            message: The message; what its envelope leaves out is filled in.
            queue: Whether it waits its turn where there are no credits, rather than being refused.

        Returns:
            The message as it was sent; None where it waits.

        Raises:
            HaipProtocolError: The schema refuses it (INVALID_MESSAGE), or the other side does not take such
                messages (UNSUPPORTED_TYPE).
            HaipFlowControlError: There are no credits for it, or it is larger than credits can ever be.
        """
        self._check(message)
        channel = message.envelope.channel or HaipChannel.SYSTEM
        waiting = self._waiting.get(channel)
        cost = self.config.flow_control.message_cost(message)
        if waiting and cost:
            if queue:
                waiting.append(message)
                return None
            raise HaipFlowControlError(
                f"unable to send on {channel}; {len(waiting)} messages wait there for credits already"
            )
        frame = self._prepare(message)
        if self.credits.is_too_large(channel, frame.size):
            raise HaipFlowControlError(
                f"unable to send on {channel}; {frame.size} bytes are more than credits can ever cover"
                " (raise max_credit_bytes, or send less at once)"
            )
        if queue and not self.credits.covers(channel, cost, frame.size):
            self._waiting.setdefault(channel, deque()).append(message)
            return None
        self.credits.take(channel, cost, frame.size)
        return self._commit(frame)

    def can_send(self, message: HaipMessage) -> bool:
        """Tell whether :meth:`send` would send a message right now."""
        channel = message.envelope.channel or HaipChannel.SYSTEM
        cost = self.config.flow_control.message_cost(message)
        if cost and self._waiting.get(channel):
            return False
        return self.credits.covers(channel, cost, self._prepare(message).size)

    def send_binary(self, data: bytes) -> None:
        """Send a binary frame that belongs to no message."""
        self._out.append(Frame(None, data))

    def send_error(self, error: HaipError, related_id: str | None = None) -> None:
        """Tell the other side of an error."""
        payload: dict[str, object] = {"code": error.code, "message": error.message}
        if related_id is not None:
            payload["related_id"] = related_id
        if error.details:
            payload["detail"] = json.loads(json.dumps(dict(error.details), default=str))
        message = HaipMessage(HaipEventType.ERROR, payload, HaipEnvelope(channel=HaipChannel.SYSTEM))
        try:
            self._check(message)
        except HaipProtocolError:
            # The id that the error is about need not be one.
            payload.pop("related_id", None)
        self._write(message)

    def waiting(self, channel: str) -> int:
        """Return how many messages wait for credits on a channel."""
        return len(self._waiting.get(channel, ()))

    def reconnect(self) -> None:
        """Get ready for a new connection: the session goes on, and what was under way is sent again."""
        self._out.clear()
        self._bodies.clear()
        self._handshaken = self._greeted = False
        self._goes_on = self.config.role == "client" and self.remote is not None
        self._last_before = self._sent.last

    def refuse_resume(self) -> None:
        """Tell the other side that the session which it wants to go on with is not known: it begins anew."""
        self.send_error(
            HaipProtocolError(
                f"unable to resume session {self.session_id}; it is not known here any more",
                HaipErrorCode.RESUME_FAILED,
            )
        )

    # What comes in

    def receive_text(self, text: str | bytes) -> list[PeerEvent]:
        """Take in a text frame.

        Args:
            text: The frame.

        Returns:
            What happened, in order.
        """
        try:
            message = read_text(text)
        except HaipError as error:
            return [self._refuse(error, None)]
        try:
            return self._take(message, len(text.encode()) if isinstance(text, str) else len(text))
        except HaipError as error:
            return [self._refuse(error, message.id)]

    def receive_binary(self, data: bytes) -> list[PeerEvent]:
        """Take in a binary frame: the body of the message before it, or a piece of that.

        Args:
            data: The frame.

        Returns:
            What happened.
        """
        if not self._bodies.is_awaited:
            return [BinaryReceived(data)]
        try:
            message = self._bodies.take(data)
        except HaipProtocolError as error:
            return [self._refuse(error, None)]
        return [] if message is None else self._deliver(message)

    def tick(self) -> None:
        """Do what has become due: ask for what is missing."""
        # What waits for its bytes is late, not missing.
        missing = None if self._bodies.is_awaited else self._order.missing(self.config.clock())
        if missing is not None:
            first, last = missing
            self._write(
                HaipMessage(
                    HaipEventType.REPLAY_REQUEST,
                    {"from_seq": str(first), "to_seq": str(last)},
                    HaipEnvelope(channel=HaipChannel.SYSTEM),
                )
            )

    @property
    def due(self) -> float | None:
        """When :meth:`tick` is to be called next; None where nothing is to come."""
        return self._order.asks_at

    def _take(self, message: HaipMessage, size: int) -> list[PeerEvent]:
        if message.envelope.ack is not None:
            self.acked = message.envelope.ack
        if message.type is HaipEventType.HAI:
            return self._shake_hands(message)
        if self.config.role == "server" and not self._handshaken:
            raise HaipProtocolError(
                f"unable to take {message.type}; a handshake comes first", HaipErrorCode.PROTOCOL_VIOLATION
            )
        if message.type in _AT_ONCE:
            return self._take_at_once(message)
        if message.bin_len and message.payload.get("data") is None:
            self._bodies.expect(message)
            return self._charge(message, size + message.bin_len)
        return [*self._charge(message, size), *self._deliver(message)]

    def _charge(self, message: HaipMessage, size: int) -> list[PeerEvent]:
        """Take the price of a message from what was granted; what came before costs nothing again."""
        channel = message.envelope.channel or HaipChannel.SYSTEM
        number = message.envelope.sequence or ""
        if not self._order.lenient and number.isdecimal() and int(number) <= self._order.delivered:
            return []
        if self._ledger.spend(channel, self.config.flow_control.message_cost(message), size):
            return []
        error = HaipFlowControlError(
            f"unable to take all of {channel}; more was sent than granted",
            HaipErrorCode.FLOW_CONTROL_VIOLATION,
            {"channel": channel},
        )
        return [self._refuse(error, message.id)]

    def _deliver(self, message: HaipMessage) -> list[PeerEvent]:
        ready = self._order.take(message, self.config.clock())
        return [event for one in ready for event in self._open(one)]

    def _open(self, message: HaipMessage) -> Iterable[PeerEvent]:
        """Look at a message whose turn it is."""
        try:
            payload = read_payload(message.type, message.payload)
        except HaipError as error:
            yield self._refuse(error, message.id)
            return
        match payload:
            case FlowUpdate():
                yield from self._take_grant(payload)
            case ChannelControl():
                if message.type is HaipEventType.PAUSE_CHANNEL:
                    self.credits.paused.add(payload.channel)
                else:
                    self.credits.paused.discard(payload.channel)
                    self._send_waiting(payload.channel)
                yield CreditsChanged(payload.channel)
            case ReplayRequest():
                last = None if payload.to_seq is None else int(payload.to_seq)
                self._replay(int(payload.from_seq), last)
            case _ if message.type is HaipEventType.PING:
                self._write(
                    HaipMessage(
                        HaipEventType.PONG,
                        dict(message.payload),
                        HaipEnvelope(channel=HaipChannel.SYSTEM),
                    )
                )
            case AudioChunk() if message.binary is None and payload.data is None and message.bin_len is None:
                error = HaipProtocolError(
                    "unable to read AUDIO_CHUNK; it has neither data nor a binary frame",
                    HaipErrorCode.INVALID_MESSAGE,
                )
                yield self._refuse(error, message.id)
                return
            case _ if message.type is HaipEventType.ERROR:
                yield from self._hear_of_error(message)
            case _:
                pass
        yield Received(message)
        self._refill(message.envelope.channel)

    def _hear_of_error(self, message: HaipMessage) -> Iterable[PeerEvent]:
        if message.payload.get("code") != HaipErrorCode.REPLAY_TOO_OLD:
            return
        lost, ready = self._order.give_up(self.config.clock())
        if lost is not None:
            yield Lost(*lost)
        for one in ready:
            yield from self._open(one)

    def _refill(self, channel: str | None) -> None:
        if channel is None or channel == HaipChannel.SYSTEM:
            return
        self._grant(channel, *self._ledger.refill(channel))

    def _grant(self, channel: str, messages: int, size: int) -> None:
        payload: dict[str, object] = {"channel": channel}
        if messages:
            payload["add_messages"] = messages
        if size:
            payload["add_bytes"] = size
        if len(payload) > 1 and self._accepts(HaipEventType.FLOW_UPDATE):
            self._write(
                HaipMessage(HaipEventType.FLOW_UPDATE, payload, HaipEnvelope(channel=HaipChannel.SYSTEM))
            )

    def grant(self, channel: str, messages: int = 0, size: int = 0) -> None:
        """Let the other side send more on a channel."""
        self._ledger.grant(channel, messages, size)
        self._grant(channel, messages, size)

    def _take_grant(self, update: FlowUpdate) -> Iterable[PeerEvent]:
        messages, size = update.add_messages or 0, update.add_bytes or 0
        self.credits.add(update.channel, messages, size)
        self._send_waiting(update.channel)
        yield CreditsChanged(update.channel)
        if self.config.role == "server":
            # A client that grants also asks: the flow-control guide calls it a request for more.
            self._grant(update.channel, *self._ledger.answer(update.channel, messages, size))

    def _send_waiting(self, channel: str) -> None:
        waiting = self._waiting.get(channel)
        while waiting:
            message = waiting[0]
            cost = self.config.flow_control.message_cost(message)
            frame = self._prepare(message)
            if not self.credits.covers(channel, cost, frame.size):
                return
            waiting.popleft()
            self.credits.take(channel, cost, frame.size)
            self._commit(frame)

    # The handshake

    def _shake_hands(self, message: HaipMessage) -> list[PeerEvent]:
        hai = read_payload(HaipEventType.HAI, message.payload)
        if not isinstance(hai, Hai):
            return []
        if self._handshaken:
            ready = self._order.note(message, self.config.clock()) or []
            return [event for one in ready for event in self._open(one)]
        if PROTOCOL_MAJOR not in hai.accept_major:
            error = HaipProtocolError(
                f"unable to talk; major version {PROTOCOL_MAJOR} is spoken here, {hai.accept_major} there",
                HaipErrorCode.VERSION_INCOMPATIBLE,
            )
            self.send_error(error, message.id)
            return [Violated(error, fatal=True)]
        has_more = (hai.last_rx_seq or "").isdecimal()
        resumed = self._goes_on = self.remote is not None and has_more
        if not resumed and (self.remote is not None or has_more):
            # One of the two does not know the session any more: it begins here.
            self._order.begin_at(message)
        ready = self._order.note(message, self.config.clock()) or []
        self.remote, self._handshaken = hai, True
        self._dialect = dialect_of(hai.accept_events)
        named = (event_named(name) for name in hai.accept_events)
        self._accepted = frozenset(event for event in named if event is not None)
        if not resumed:
            flow = _mapping(_mapping(hai.capabilities).get("flow_control"))
            self.credits.begin(
                _count(flow.get("initial_credit_messages")), _count(flow.get("initial_credit_bytes"))
            )
            self._ledger = CreditLedger(self.config.receive_credits, self.config.receive_credit_bytes)
        self.greet()
        if resumed:
            self._replay(int(hai.last_rx_seq or 0) + 1, self._last_before)
        return [Handshaken(hai, resumed), *(event for one in ready for event in self._open(one))]

    def _take_at_once(self, message: HaipMessage) -> list[PeerEvent]:
        """Deal with a message before its turn: what asks for missing messages must not wait for them."""
        if not self._handshaken and self.config.role == "client":
            # The server may have forgotten the session: its numbers mean nothing before its handshake.
            return list(self._open(message))
        ready = self._order.note(message, self.config.clock())
        if ready is None:
            return []
        return [event for one in (message, *ready) for event in self._open(one)]

    def _replay(self, first: int, last: int | None) -> None:
        try:
            frames = self._sent.between(first, last)
        except HaipProtocolError as error:
            self.send_error(error)
            return
        self._out.extend(Frame(frame.text, frame.binary) for frame in frames)

    # Writing

    def _accepts(self, event: HaipEventType) -> bool:
        return self._accepted is None or event in self._accepted

    def _check(self, message: HaipMessage) -> None:
        check_payload(message.type, message.payload)
        if not self._accepts(message.type) and message.type not in (HaipEventType.HAI, HaipEventType.ERROR):
            raise HaipProtocolError(
                f"unable to send {message.type}; the other side does not take such messages",
                HaipErrorCode.UNSUPPORTED_TYPE,
            )

    def _write(self, message: HaipMessage) -> None:
        self._commit(self._prepare(message))

    def _prepare(self, message: HaipMessage) -> "_Prepared":
        """Write a message as it will be if it is the next one."""
        number = self._sent.last + 1
        ack = None if self._order.lenient or not self._order.delivered else self.received
        now = self.config.clock()
        envelope = replace(
            message.envelope,
            session_id=self.session_id,
            channel=message.envelope.channel or HaipChannel.SYSTEM,
            timestamp=str(int(now * 1000)),
            sequence=str(number),
            ack=ack,
        )
        finished = replace(message, id=message.id or new_id(), envelope=envelope)
        if message.binary is not None:
            finished = replace(finished, bin_len=len(message.binary))
        text = write_text(finished, self._dialect)
        return _Prepared(finished, SentFrame(number, text, message.binary, now))

    def _commit(self, prepared: "_Prepared") -> HaipMessage:
        self._sent.next_number()
        self._sent.keep(prepared.frame)
        self._out.append(Frame(prepared.frame.text, prepared.frame.binary))
        return prepared.message

    def _refuse(self, error: HaipError, related_id: str | None) -> Violated:
        self.send_error(error, related_id)
        return Violated(error, fatal=error.code == HaipErrorCode.SEQ_VIOLATION)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
