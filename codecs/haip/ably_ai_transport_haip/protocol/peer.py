"""Peer: one side of a HAIP session, sans-IO. Frames go in, events come out."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from ably_ai_transport_haip.protocol.messages import HaipEnvelope, HaipMessage, new_id, read_text
from ably_ai_transport_haip.protocol.names import (
    PROTOCOL_MAJOR,
    PROTOCOL_VERSION,
    HaipChannel,
    HaipEventType,
    accepted_names,
    dialect_of,
    event_named,
)
from ably_ai_transport_haip.protocol.outbox import Outbox, channel_of
from ably_ai_transport_haip.protocol.payloads import (
    AudioChunk,
    ChannelControl,
    FlowUpdate,
    Hai,
    ReplayRequest,
    read_payload,
)
from ably_ai_transport_haip.protocol.sequence import ReceiveOrder, digits, number_of

LENIENT_PATIENCE_SECONDS: Final = 1.0
"""The time in which a lenient peer has to answer a request for credits."""
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
    """Configuration of a peer.

    Attributes:
        role: The role of this side.
        clock: Returns the current time: seconds since 1970.
        flow_control: The configuration of the credits of this side.
        receive_credits: The message credits per channel that the other side starts with.
        receive_credit_bytes: The byte credits per channel that the other side starts with.
        max_concurrent_runs: The largest number of open runs.
        binary_frames: Whether this side accepts binary frames.
        refills_on_read: Whether credits are granted when :meth:`HaipPeer.note_read` is called. Otherwise they
            are granted when messages arrive.
    """

    role: Literal["client", "server"]
    clock: Callable[[], float]
    flow_control: FlowControlConfig = field(default_factory=FlowControlConfig)
    receive_credits: int = 1000
    receive_credit_bytes: int = 16 * 1024 * 1024
    max_concurrent_runs: int = 5
    binary_frames: bool = True
    refills_on_read: bool = False


class HaipPeer:
    """The protocol state of one side of a session.

    A peer owns sequence numbers, acks, replays, credits and binary bodies. Runs and tools belong to the
    layers above. After a lost connection, :meth:`reconnect` prepares the peer for the next one, and the
    session continues.

    Args:
        config: The configuration.
        session_id: The session, a UUID; a random one by default.

    Attributes:
        session_id: The session, a UUID.
        remote: The handshake of the other side; None before it arrived.
        acked: The newest ack of the other side; None before the first.
    """

    def __init__(self, config: PeerConfig, session_id: str | None = None) -> None:
        self.config = config
        self.session_id = session_id or new_id()
        self.remote: Hai | None = None
        self.acked: str | None = None
        self._ledger = CreditLedger(config.receive_credits, config.receive_credit_bytes)
        self._order = ReceiveOrder()
        self._outbox = Outbox(self.session_id, config.flow_control, config.clock, self._order)
        self._bodies = BinaryBodies()
        self._handshaken = False
        self._greeted = False
        self._goes_on = False
        self._last_before = 0
        self._asked: dict[str, float] = {}

    # Sending

    @property
    def credits(self) -> CreditAccount:
        """The credits of this side."""
        return self._outbox.credits

    @property
    def is_handshaken(self) -> bool:
        """Whether the handshake of the other side arrived on this connection."""
        return self._handshaken

    @property
    def is_lenient(self) -> bool:
        """Whether the other side does not count as the specification says; see :class:`ReceiveOrder`."""
        return self._order.lenient

    @property
    def received(self) -> str:
        """The newest sequence number up to which every message arrived."""
        return str(self._order.delivered)

    @property
    def backlog(self) -> int:
        """The number of frames to send now."""
        return self._outbox.backlog

    def next_outgoing(self) -> Frame | None:
        """Return and remove the next frame to send; None if there is none."""
        return self._outbox.next_frame()

    def take_outgoing(self) -> list[Frame]:
        """Return and remove all frames to send, in order."""
        frames: list[Frame] = []
        while (frame := self._outbox.next_frame()) is not None:
            frames.append(frame)
        return frames

    def greet(self) -> None:
        """Queue the handshake of this side, once per connection."""
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
            "accept_events": accepted_names(self._outbox.dialect),
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
        self._outbox.write(HaipMessage(HaipEventType.HAI, payload, HaipEnvelope(channel=HaipChannel.SYSTEM)))

    def send(self, message: HaipMessage, *, queue: bool = False) -> HaipMessage | None:
        """Send a message.

        Args:
            message: The message; empty fields of its envelope are filled in.
            queue: Whether the message waits if the credits do not suffice. Otherwise it is refused.

        Returns:
            The message as sent; None if it waits.

        Raises:
            HaipProtocolError: The schema refuses the message (INVALID_MESSAGE), or the other side does not
                accept it (UNSUPPORTED_TYPE).
            HaipFlowControlError: The credits do not suffice, or can never suffice.
        """
        sent = self.send_all([message], queue=queue)
        return sent[0] if sent else None

    def send_all(self, messages: Sequence[HaipMessage], *, queue: bool = False) -> list[HaipMessage]:
        """Send messages that belong together, such as the parts of a text: all or none.

        Args:
            messages: Messages of one channel.
            queue: Whether the messages wait if the credits do not suffice. Otherwise they are refused.

        Returns:
            The messages as sent; empty if they wait.

        Raises:
            HaipProtocolError: See :meth:`send`; nothing was sent.
            HaipFlowControlError: See :meth:`send`; nothing was sent.
        """
        return self._outbox.send_all(messages, queue=queue)

    def can_send(self, messages: Sequence[HaipMessage]) -> bool:
        """Tell whether :meth:`send_all` would send messages of one channel now."""
        return self._outbox.can_send(messages)

    def check(self, messages: Sequence[HaipMessage]) -> None:
        """Refuse messages that can never be sent.

        Args:
            messages: Messages of one channel.

        Raises:
            HaipProtocolError: The schema refuses a message, or the other side does not accept it.
            HaipFlowControlError: The messages exceed the largest credits.
        """
        self._outbox.check(messages)

    def send_unchecked(self, message: HaipMessage) -> None:
        """Send a message that the schema refuses and some peers need. It costs no credits."""
        self._outbox.write(message)

    def ask_for_credits(self, channel: str) -> None:
        """Request as many credits as at the start."""
        messages, size = self.credits.request(channel)
        self._grant(channel, messages, size)
        if self.is_lenient:
            self._asked.setdefault(channel, self.config.clock())

    def send_binary(self, data: bytes) -> None:
        """Send a binary frame without a message."""
        self._outbox.write_binary(data)

    def ping(self, nonce: str | None = None) -> None:
        """Send a ``PING``, if the other side accepts it.

        Args:
            nonce: A text that the ``PONG`` repeats.
        """
        if self._outbox.accepts(HaipEventType.PING):
            self._outbox.write(HaipMessage(HaipEventType.PING, {} if nonce is None else {"nonce": nonce}))

    def send_error(self, error: HaipError, related_id: str | None = None) -> None:
        """Queue an ``ERROR`` for the other side."""
        payload: dict[str, object] = {"code": error.code, "message": error.message}
        if related_id is not None:
            payload["related_id"] = related_id
        if error.details:
            payload["detail"] = json.loads(json.dumps(dict(error.details), default=str))
        message = HaipMessage(HaipEventType.ERROR, payload, HaipEnvelope(channel=HaipChannel.SYSTEM))
        try:
            self._outbox.check_one(message)
        except HaipProtocolError:
            # The related id comes from the other side and may be no UUID.
            payload.pop("related_id", None)
        self._outbox.write(message)

    def waiting(self, channel: str) -> int:
        """Return the number of messages that wait for credits on a channel."""
        return self._outbox.waiting(channel)

    def reconnect(self) -> None:
        """Prepare for a new connection. The next handshake decides which messages are replayed."""
        self._outbox.clear()
        self._bodies.clear()
        self._handshaken = self._greeted = False
        self._goes_on = self.config.role == "client" and self.remote is not None
        self._last_before = self._outbox.last

    def refuse_resume(self) -> None:
        """Queue an ``ERROR``: the session to resume is unknown and starts over."""
        self.send_error(
            HaipProtocolError(
                f"unable to resume session {self.session_id}; it is unknown or has expired",
                HaipErrorCode.RESUME_FAILED,
            )
        )

    # Receiving

    def receive_text(self, text: str | bytes) -> list[PeerEvent]:
        """Receive a text frame.

        Args:
            text: The frame.

        Returns:
            The events, in order. A frame that is refused gives a :class:`Violated`.
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
        """Receive a binary frame: the body of a message, or a part of it.

        Args:
            data: The frame.

        Returns:
            The events, in order.
        """
        if not self._bodies.is_awaited:
            return [BinaryReceived(data)]
        try:
            message = self._bodies.take(data)
        except HaipProtocolError as error:
            return [self._refuse(error, None)]
        return [] if message is None else self._deliver(message)

    def tick(self) -> list[PeerEvent]:
        """Do the work that is due: request a missing message, and lift credits that are never granted.

        Returns:
            The events, in order.
        """
        # A message that waits for its binary body is late and not missing.
        missing = None if self._bodies.is_awaited else self._order.missing(self.config.clock())
        if missing is not None:
            first, last = missing
            self._outbox.write(
                HaipMessage(
                    HaipEventType.REPLAY_REQUEST,
                    {"from_seq": str(first), "to_seq": str(last)},
                    HaipEnvelope(channel=HaipChannel.SYSTEM),
                )
            )
        return self._lift_credits()

    def _lift_credits(self) -> list[PeerEvent]:
        """Send without credits if a lenient peer does not answer a request for some.

        The reference client announces ten credits and never grants more.
        """
        now = self.config.clock()
        if not any(now - since >= LENIENT_PATIENCE_SECONDS for since in self._asked.values()):
            return []
        channels = tuple(self._asked)
        self._asked.clear()
        self.credits.is_lifted = True
        for channel in channels:
            self._outbox.send_waiting(channel)
        return [CreditsChanged(channel) for channel in channels]

    @property
    def due(self) -> float | None:
        """The time of the next :meth:`tick`; None if no work will be due."""
        asked = (since + LENIENT_PATIENCE_SECONDS for since in self._asked.values())
        return min((at for at in (self._order.due, *asked) if at is not None), default=None)

    def _take(self, message: HaipMessage, size: int) -> list[PeerEvent]:
        if message.envelope.ack is not None:
            self.acked = message.envelope.ack
        if message.type is HaipEventType.HAI:
            return self._shake_hands(message)
        if self.config.role == "server" and not self._handshaken:
            raise HaipProtocolError(
                f"unable to accept {message.type}; the handshake (HAI) comes first",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
        if message.type in _AT_ONCE:
            return self._take_at_once(message)
        if message.bin_len and message.payload.get("data") is None:
            self._bodies.expect(message)
            return self._charge(message, size + message.bin_len)
        return [*self._charge(message, size), *self._deliver(message)]

    def _charge(self, message: HaipMessage, size: int) -> list[PeerEvent]:
        """Charge the other side for a message. A duplicate costs nothing."""
        channel = channel_of(message)
        number = number_of(message)
        if not self._order.lenient and number is not None and number <= self._order.delivered:
            return []
        if self._ledger.spend(channel, self.config.flow_control.message_cost(message), size):
            return []
        error = HaipFlowControlError(
            f"unable to accept all messages on {channel}; they exceed the granted credits",
            {"channel": channel},
            code=HaipErrorCode.FLOW_CONTROL_VIOLATION,
        )
        return [self._refuse(error, message.id)]

    def _deliver(self, message: HaipMessage) -> list[PeerEvent]:
        ready = self._order.take(message, self.config.clock())
        return [event for one in ready for event in self._open(one)]

    def _open(self, message: HaipMessage) -> Iterable[PeerEvent]:
        """Handle a message that is next in order."""
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
                    self._outbox.send_waiting(payload.channel)
                yield CreditsChanged(payload.channel)
            case ReplayRequest():
                last = None if payload.to_seq is None else int(payload.to_seq)
                self._replay(int(payload.from_seq), last)
            case _ if message.type is HaipEventType.PING:
                self._outbox.write(
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
            case AudioChunk() if payload.data is not None:
                try:
                    message = replace(message, binary=base64.b64decode(payload.data, validate=True))
                except binascii.Error:
                    error = HaipProtocolError(
                        "unable to read AUDIO_CHUNK; its data is no base64", HaipErrorCode.INVALID_MESSAGE
                    )
                    yield self._refuse(error, message.id)
                    return
            case _ if message.type is HaipEventType.ERROR:
                yield from self._hear_of_error(message)
            case _:
                pass
        yield Received(message)
        if not self.config.refills_on_read:
            self._refill(message.envelope.channel)

    def _hear_of_error(self, message: HaipMessage) -> Iterable[PeerEvent]:
        if message.payload.get("code") != HaipErrorCode.REPLAY_TOO_OLD:
            return
        lost, ready = self._order.give_up(self.config.clock())
        if lost is not None:
            yield Lost(*lost)
        for one in ready:
            yield from self._open(one)

    def note_read(self, message: HaipMessage) -> None:
        """Note that the application has read a message, and grant credits that are due."""
        self._refill(message.envelope.channel)

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
        if len(payload) > 1 and self._outbox.accepts(HaipEventType.FLOW_UPDATE):
            self._outbox.write(
                HaipMessage(HaipEventType.FLOW_UPDATE, payload, HaipEnvelope(channel=HaipChannel.SYSTEM))
            )

    def grant(self, channel: str, messages: int = 0, size: int = 0) -> None:
        """Grant the other side credits on a channel."""
        self._ledger.grant(channel, messages, size)
        self._grant(channel, messages, size)

    def _take_grant(self, update: FlowUpdate) -> Iterable[PeerEvent]:
        messages, size = update.add_messages or 0, update.add_bytes or 0
        self._asked.clear()
        self.credits.add(update.channel, messages, size)
        self._outbox.send_waiting(update.channel)
        yield CreditsChanged(update.channel)
        if self.config.role == "server":
            # In the flow-control guide, a grant of a client is also a request for credits.
            self._grant(update.channel, *self._ledger.answer(update.channel, messages, size))

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
                f"unable to agree on a version; {PROTOCOL_MAJOR} is supported here, {hai.accept_major} there",
                HaipErrorCode.VERSION_INCOMPATIBLE,
            )
            self.send_error(error, message.id)
            return [Violated(error, fatal=True)]
        last_received = digits(hai.last_rx_seq)
        resumed = self._goes_on = self.remote is not None and last_received is not None
        if not resumed and (self.remote is not None or last_received is not None):
            # One side no longer knows the session, so it starts over.
            self._order.begin_at(message)
        ready = self._order.note(message, self.config.clock()) or []
        self.remote, self._handshaken = hai, True
        self._outbox.dialect = dialect_of(hai.accept_events)
        named = (event_named(name) for name in hai.accept_events)
        self._outbox.accepted = frozenset(event for event in named if event is not None)
        if not resumed:
            flow = _mapping(_mapping(hai.capabilities).get("flow_control"))
            self.credits.begin(
                _count(flow.get("initial_credit_messages")), _count(flow.get("initial_credit_bytes"))
            )
            self._ledger = CreditLedger(self.config.receive_credits, self.config.receive_credit_bytes)
        self.greet()
        if resumed:
            self._replay((last_received or 0) + 1, self._last_before)
        return [Handshaken(hai, resumed), *(event for one in ready for event in self._open(one))]

    def _take_at_once(self, message: HaipMessage) -> list[PeerEvent]:
        """Handle a message out of order: a request for missing messages must not wait for them."""
        if not self._handshaken and self.config.role == "client":
            # The server may have lost the session. Its numbers count only after its handshake.
            return list(self._open(message))
        ready = self._order.note(message, self.config.clock())
        if ready is None:
            return []
        return [event for one in (message, *ready) for event in self._open(one)]

    def _replay(self, first: int, last: int | None) -> None:
        try:
            self._outbox.replay(first, last)
        except HaipProtocolError as error:
            self.send_error(error)

    def _refuse(self, error: HaipError, related_id: str | None) -> Violated:
        self.send_error(error, related_id)
        return Violated(error, fatal=error.code == HaipErrorCode.SEQ_VIOLATION)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
