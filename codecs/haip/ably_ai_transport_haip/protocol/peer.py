"""Peer: one side of a HAIP session, sans-IO. Frames go in, events come out."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ably_ai_transport_haip.protocol.binary import BinaryBodies
from ably_ai_transport_haip.protocol.credits import CreditAccount, CreditLedger
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
from ably_ai_transport_haip.protocol.grants import Grants
from ably_ai_transport_haip.protocol.handshake import read_handshake
from ably_ai_transport_haip.protocol.messages import (
    HaipEnvelope,
    HaipMessage,
    check_references,
    new_id,
    read_text,
)
from ably_ai_transport_haip.protocol.names import (
    PROTOCOL_MAJOR,
    PROTOCOL_VERSION,
    HaipChannel,
    HaipEventType,
    accepted_names,
    dialect_of,
    event_named,
)
from ably_ai_transport_haip.protocol.outbox import Checked, Outbox, channel_of
from ably_ai_transport_haip.protocol.payloads import (
    AudioChunk,
    ChannelControl,
    FlowUpdate,
    Hai,
    Ping,
    ReplayRequest,
    is_plain_part,
    read_payload,
)
from ably_ai_transport_haip.protocol.peer_config import PeerConfig
from ably_ai_transport_haip.protocol.reading import sequence_in
from ably_ai_transport_haip.protocol.reports import error_message
from ably_ai_transport_haip.protocol.requests import CreditRequests
from ably_ai_transport_haip.protocol.sequence import (
    OrderLostError,
    ReceiveOrder,
    SendLog,
    digits,
)
from ably_ai_transport_haip.protocol.tariff import COUNTED_BY, Tariff
from ably_ai_transport_haip.protocol.text_halves import TextHalves

BATCHES: Final = "ndjson_requests"
"""The capability of a server that accepts requests with several frames, one per line."""
MOST_CHANNELS: Final = 256
"""The number of channels that the other side may name in one session."""
_AT_ONCE: Final = frozenset(
    {
        HaipEventType.PING,
        HaipEventType.PONG,
        HaipEventType.ERROR,
        HaipEventType.FLOW_UPDATE,
        HaipEventType.REPLAY_REQUEST,
    }
)


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
        self._order = ReceiveOrder(config.held_bytes)
        self._log = SendLog(config.replay_bytes)
        self._outbox = Outbox(self.session_id, config.flow_control, config.clock, self._order, self._log)
        self._grants = Grants(
            self._outbox,
            config.receive_credits,
            config.receive_credit_bytes,
            config.flow_control.message_cost,
        )
        self._bodies = BinaryBodies(config.binary_bytes)
        self._halves = TextHalves()
        self._handshaken = False
        self._greeted = False
        self._goes_on = False
        self._last_before = 0
        self._requests = CreditRequests(config, self._outbox, self._grants, self._order)
        self._channels: set[str] = set()

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
    def ledger(self) -> CreditLedger:
        """The credits of the other side."""
        return self._grants.ledger

    @property
    def sent(self) -> int:
        """The sequence number of the newest message of this side."""
        return self._log.last

    @property
    def backlog(self) -> int:
        """The number of frames to send now."""
        return self._outbox.backlog

    @property
    def backlog_bytes(self) -> int:
        """The bytes of the frames to send now."""
        return self._outbox.backlog_bytes

    def keeps_no_more(self, since: int) -> bool:
        """Tell whether another message might push out one that was sent after a sequence number.

        Args:
            since: The sequence number.
        """
        return self._log.is_full(since)

    def first_outgoing(self) -> Frame | None:
        """Return the next frame to send and keep it; None if there is none."""
        return self._outbox.first_frame()

    def next_outgoing(self) -> Frame | None:
        """Return and remove the next frame to send; None if there is none."""
        return self._outbox.next_frame()

    def next_texts(self, most: int, most_bytes: int) -> list[Frame]:
        """Return and remove the text frames at the head that have no binary frame.

        Args:
            most: The largest number of frames.
            most_bytes: The largest number of bytes; a single frame may be larger.
        """
        return self._outbox.next_texts(most, most_bytes)

    @property
    def accepts_batches(self) -> bool:
        """Whether the other side accepts requests with several frames, one per line."""
        return self.remote is not None and bool(_mapping(self.remote.capabilities).get(BATCHES))

    def take_outgoing(self) -> list[Frame]:
        """Return and remove all frames to send, in order."""
        frames: list[Frame] = []
        while (frame := self._outbox.next_frame()) is not None:
            frames.append(frame)
        return frames

    def drop_outgoing(self) -> None:
        """Remove all frames to send. They stay available for replays."""
        self._outbox.clear()

    def greet(self, resumes_after: str | None = None) -> None:
        """Queue the handshake of this side, once per connection.

        Args:
            resumes_after: The newest sequence number that the other side has received.
        """
        if self._greeted:
            return
        self._greeted = True
        config = self.config
        flow: dict[str, object] = {
            "initial_credit_messages": config.receive_credits,
            "initial_credit_bytes": config.receive_credit_bytes,
            COUNTED_BY: Tariff.CONTENT.value,
        }
        payload: dict[str, object] = {
            "haip_version": PROTOCOL_VERSION,
            "accept_major": [PROTOCOL_MAJOR],
            "accept_events": accepted_names(self._outbox.dialect),
            "capabilities": {
                "binary_frames": config.binary_frames,
                "flow_control": flow,
                "max_concurrent_runs": config.max_concurrent_runs,
                **({BATCHES: True} if config.role == "server" else {}),
            },
            "binary_frames": config.binary_frames,
        }
        if config.max_concurrent_runs:
            # The schema knows no zero.
            payload["max_concurrent_runs"] = config.max_concurrent_runs
        if self._goes_on and not self._order.lenient:
            payload["last_rx_seq"] = self.received
        envelope = HaipEnvelope(channel=HaipChannel.SYSTEM, ack=resumes_after if self._outbox.marks else None)
        self._outbox.write(HaipMessage(HaipEventType.HAI, payload, envelope))

    def send(self, message: HaipMessage, *, queue: bool = False) -> bool:
        """Send a message.

        Args:
            message: The message; empty fields of its envelope are filled in.
            queue: Whether the message waits if the credits do not suffice. Otherwise it is refused.

        Returns:
            Whether it was sent; False if it waits.

        Raises:
            HaipProtocolError: The schema refuses the message (INVALID_MESSAGE), or the other side does not
                accept it (UNSUPPORTED_TYPE).
            HaipFlowControlError: The credits do not suffice, or can never suffice.
        """
        return self.send_all([message], queue=queue)

    def send_all(self, messages: Sequence[HaipMessage], *, queue: bool = False) -> bool:
        """Send messages that belong together, such as the parts of a text: all or none.

        Args:
            messages: Messages of one channel.
            queue: Whether the messages wait if the credits do not suffice. Otherwise they are refused.

        Returns:
            Whether they were sent; False if they wait.

        Raises:
            HaipProtocolError: See :meth:`send`; nothing was sent.
            HaipFlowControlError: See :meth:`send`; nothing was sent.
        """
        sent = self._outbox.send_all(self._outbox.check(messages), queue=queue)
        for message in messages:
            self._grants.book(message)
        return sent

    def check(self, messages: Sequence[HaipMessage]) -> list[Checked]:
        """Refuse messages that can never be sent.

        Args:
            messages: Messages of one channel.

        Returns:
            The messages, for :meth:`try_send`.

        Raises:
            HaipProtocolError: The schema refuses a message, or the other side does not accept it.
            HaipFlowControlError: The messages exceed the largest credits.
        """
        return self._outbox.check(messages)

    def try_send(self, checked: Checked) -> bool:
        """Send a checked message if the credits suffice.

        Args:
            checked: A message that :meth:`check` returned.

        Returns:
            Whether it was sent.
        """
        sent = self._outbox.try_send(checked)
        if sent:
            self._grants.book(checked.message)
        return sent

    def send_unchecked(self, message: HaipMessage) -> None:
        """Send a message that the schema refuses and some peers need. It costs no credits."""
        self._outbox.write(message)

    def ask_for_credits(self, channel: str, checked: Checked | None = None) -> None:
        """Get credits for a message that waits. Does nothing while the channel is paused.

        A client requests them once; the server grants them as its application reads. In this protocol, a
        server cannot request credits. It uses those that its configuration has withheld, and the grants that
        the client makes as it reads.

        Args:
            channel: The channel.
            checked: The message; the first that is queued by default.

        Raises:
            HaipFlowControlError: The other side is a server that grants no credits, and ``checked`` is set.
        """
        self._requests.ask(channel, checked)

    def send_binary(self, data: bytes) -> None:
        """Send a binary frame without a message."""
        self._outbox.write_binary(data)

    def accepts(self, event: HaipEventType) -> bool:
        """Tell whether the other side accepts an event."""
        return self._outbox.accepts(event)

    def ping(self, nonce: str | None = None) -> None:
        """Send a ``PING``, if the other side accepts it.

        Args:
            nonce: A text that the ``PONG`` repeats.
        """
        if self._outbox.accepts(HaipEventType.PING):
            self._outbox.write(HaipMessage(HaipEventType.PING, {} if nonce is None else {"nonce": nonce}))

    def send_error(self, error: HaipError, related_id: str | None = None) -> None:
        """Queue an ``ERROR`` for the other side."""
        self._outbox.write(error_message(error, related_id))

    def waiting(self, channel: str) -> int:
        """Return the number of messages that wait for credits on a channel."""
        return self._outbox.waiting(channel)

    def reconnect(self) -> None:
        """Prepare for a new connection. The next handshake decides which messages are replayed."""
        self.disconnect()
        self._handshaken = self._greeted = False
        self._goes_on = self.config.role == "client" and self.remote is not None
        self._last_before = self._outbox.last

    def disconnect(self) -> None:
        """Drop what belongs to the lost connection: unwritten frames, and messages that are not complete.

        Both sides replay them when the session is resumed.
        """
        self._outbox.clear()
        self._bodies.clear()
        self._order.drop_held()

    def end(self) -> None:
        """Drop everything that is kept for the other side. For sessions that have ended."""
        self.disconnect()
        self._outbox.drop()

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
            return [self._refuse(error, None), *self._pass_over(sequence_in(text))]
        try:
            return self._take(message)
        except HaipError as error:
            return [self._refuse(error, message.id), *self._pass_over(message.envelope.sequence)]

    def receive_binary(self, data: bytes) -> list[PeerEvent]:
        """Receive a binary frame: the body of a message, or a part of it.

        Args:
            data: The frame.

        Returns:
            The events, in order.
        """
        if not self._bodies.is_awaited:
            return [BinaryReceived(data)]
        awaited = self._bodies.oldest
        try:
            message = self._bodies.take(data)
            return [] if message is None else self._deliver(message)
        except HaipProtocolError as error:
            return [self._refuse(error, awaited.id), *self._pass_over(awaited.envelope.sequence)]

    def _pass_over(self, sequence: str | None) -> list[PeerEvent]:
        """Count a message that was refused as received: it would be refused again if it were replayed."""
        if not self._handshaken or digits(sequence) is None:
            return []
        refused = HaipMessage(HaipEventType.ERROR, {}, HaipEnvelope(sequence=sequence))
        ready = self._order.note(refused, self.config.clock()) or []
        return [event for one in ready for event in self._open(one)]

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
        return [CreditsChanged(channel) for channel in self._requests.give_up()]

    @property
    def due(self) -> float | None:
        """The time of the next :meth:`tick`; None if no work will be due."""
        missing, request = self._order.due, self._requests.due
        if missing is None or request is None:
            return request if missing is None else missing
        return min(missing, request)

    def _take(self, message: HaipMessage) -> list[PeerEvent]:
        if digits(message.envelope.ack) is not None:
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
            return []
        return self._deliver(message)

    def _deliver(self, message: HaipMessage) -> list[PeerEvent]:
        ready = self._order.take(message, self.config.clock())
        return [event for one in ready for event in self._open(one)]

    def _open(self, message: HaipMessage) -> Iterable[PeerEvent]:
        """Handle a message that is next in order. Each message is charged here, once."""
        try:
            self._note_channel(channel_of(message))
            if not self._grants.charge(message):
                yield self._refuse(_excess(message), message.id)
            if self.config.role == "server":
                # Replies carry them, too.
                check_references(message.envelope)
            message, rest = self._halves.join(message)
            is_part = is_plain_part(message.type, message.payload)
            payload = None if is_part else read_payload(message.type, message.payload)
            if isinstance(payload, FlowUpdate | ChannelControl):
                self._note_channel(payload.channel)
        except HaipError as error:
            self.note_read(message)
            yield self._refuse(error, message.id)
            return
        if rest is not None:
            yield Received(rest)
        match payload:
            case None:
                pass
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
            case Ping() if message.type is HaipEventType.PING:
                pong: dict[str, object] = {} if payload.nonce is None else {"nonce": payload.nonce}
                envelope = HaipEnvelope(channel=HaipChannel.SYSTEM)
                self._outbox.write(HaipMessage(HaipEventType.PONG, pong, envelope))
            case AudioChunk() if message.binary is None and payload.data is None and message.bin_len is None:
                error = HaipProtocolError(
                    "unable to read AUDIO_CHUNK; it has neither data nor a binary frame",
                    HaipErrorCode.INVALID_MESSAGE,
                )
                self.note_read(message)
                yield self._refuse(error, message.id)
                return
            case AudioChunk() if payload.data is not None:
                try:
                    message = replace(message, binary=base64.b64decode(payload.data, validate=True))
                except ValueError:
                    error = HaipProtocolError(
                        "unable to read AUDIO_CHUNK; its data is no base64", HaipErrorCode.INVALID_MESSAGE
                    )
                    self.note_read(message)
                    yield self._refuse(error, message.id)
                    return
            case _ if message.type is HaipEventType.ERROR:
                yield from self._hear_of_error(message)
            case _:
                pass
        yield Received(message)
        if not self.config.refills_on_read:
            self.note_read(message)

    def _note_channel(self, channel: str) -> None:
        """Remember a channel. Each has credits of its own, so there is a limit."""
        if channel in self._channels:
            return
        if len(self._channels) >= MOST_CHANNELS:
            raise HaipProtocolError(
                f"unable to use another channel; the session already has {MOST_CHANNELS}",
                HaipErrorCode.PROTOCOL_VIOLATION,
            )
        self._channels.add(channel)

    def _hear_of_error(self, message: HaipMessage) -> Iterable[PeerEvent]:
        if message.payload.get("code") != HaipErrorCode.REPLAY_TOO_OLD:
            return
        lost, ready = self._order.give_up(self.config.clock())
        if lost is not None:
            yield Lost(*lost)
            self._grants.make_up_for_lost()
        for one in ready:
            yield from self._open(one)

    def note_read(self, message: HaipMessage) -> None:
        """Note that the application has read a message, and grant credits that are due.

        Args:
            message: A message as it was received.
        """
        self._grants.note_read(message)

    def grant(self, channel: str, messages: int = 0, size: int = 0) -> None:
        """Grant the other side credits on a channel."""
        self._grants.grant(channel, messages, size)

    def _take_grant(self, update: FlowUpdate) -> Iterable[PeerEvent]:
        messages, size = update.add_messages or 0, update.add_bytes or 0
        self._requests.note_grant(update.channel)
        self.credits.add(update.channel, messages, size)
        self._outbox.send_waiting(update.channel)
        yield CreditsChanged(update.channel)
        if self.config.role == "server":
            # In the flow-control guide, a grant of a client is also a request for credits.
            self._grants.answer(update.channel, messages, size)

    # The handshake

    def enter(self, handshake: HaipMessage, *, last_received: int | None = None) -> list[PeerEvent]:
        """Start a new connection with the handshake of the other side.

        Args:
            handshake: The handshake.
            last_received: The newest sequence number that the other side has received; by default the one of
                the handshake.

        Returns:
            The events, in order.

        Raises:
            HaipProtocolError: The handshake is refused. Nothing has changed.
        """
        self.check_handshake(handshake)
        self.reconnect()
        if self.remote is None and handshake.payload.get("last_rx_seq") is not None:
            self.refuse_resume()
        return self._shake_hands(handshake, last_received)

    def check_handshake(self, handshake: HaipMessage) -> None:
        """Check a handshake before it changes anything.

        Args:
            handshake: The handshake.

        Raises:
            HaipProtocolError: The handshake is refused.
        """
        hai = read_handshake(handshake)
        if (self.remote is None) is (digits(hai.last_rx_seq) is None):
            # The numbers go on, or begin.
            self._order.check(handshake)

    def _shake_hands(self, message: HaipMessage, last_received: int | None = None) -> list[PeerEvent]:
        if self._handshaken:
            read_payload(HaipEventType.HAI, message.payload)
            ready = self._order.note(message, self.config.clock()) or []
            return [event for one in ready for event in self._open(one)]
        try:
            hai = read_handshake(message)
        except HaipProtocolError as error:
            self.send_error(error, message.id)
            return [Violated(error, fatal=error.code == HaipErrorCode.VERSION_INCOMPATIBLE)]
        if last_received is None:
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
        self._outbox.marks = self.config.role == "server" and self._order.lenient
        if not resumed:
            self._halves.clear()
            self._begin_counting(_mapping(_mapping(hai.capabilities).get("flow_control")))
        self.greet(None if last_received is None else str(last_received))
        if self.config.role == "server":
            # The reference client charges its handshakes, too.
            self._grants.charge(message)
        if resumed:
            self._replay((last_received or 0) + 1, self._last_before)
        else:
            self._outbox.send_waiting()
        return [Handshaken(hai, resumed), *(event for one in ready for event in self._open(one))]

    def _begin_counting(self, flow: Mapping[str, object]) -> None:
        """Start with the credits that both handshakes announce."""
        config, outbox = self.config, self._outbox
        messages = _count(flow.get("initial_credit_messages"))
        size = _count(flow.get("initial_credit_bytes"))
        self.credits.begin(messages, size)
        self._requests.begin()
        lenient = self.is_lenient
        agreed = flow.get(COUNTED_BY) == Tariff.CONTENT and not lenient
        outbox.tariff = Tariff.CONTENT if agreed else Tariff.MESSAGE
        # The other side grants new credits when half of them are spent, or when a client requests some. A
        # larger message would wait for ever.
        outbox.window = None if lenient or not size else size if config.role == "client" else size // 2
        if lenient:
            self._grants.begin_with_reference(is_server=config.role == "client")
        else:
            self._grants.begin()

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
        return Violated(error, fatal=isinstance(error, OrderLostError))


def _excess(message: HaipMessage) -> HaipFlowControlError:
    channel = channel_of(message)
    return HaipFlowControlError(
        f"unable to accept all messages on {channel}; they exceed the granted credits",
        {"channel": channel},
        code=HaipErrorCode.FLOW_CONTROL_VIOLATION,
    )


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}  # pyright: ignore[reportUnknownVariableType]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
