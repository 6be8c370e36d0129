"""Both ledgers of a session, in any order of events: every credit that is granted is booked, and honored."""

from collections import deque
from typing import Literal

from ably_ai_transport_haip.protocol import (
    FlowControlConfig,
    HaipChannel,
    HaipEnvelope,
    HaipEventType,
    HaipMessage,
    HaipPeer,
    PeerConfig,
    Received,
    Violated,
    new_id,
    read_text,
)
from ably_ai_transport_haip.protocol.events import Frame
from ably_ai_transport_haip.protocol.tariff import content_bytes, is_free
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.haip_wire import Clock, part

CHANNELS = (HaipChannel.USER, HaipChannel.AGENT)
WINDOW, WINDOW_BYTES = 6, 400
LARGEST = WINDOW_BYTES // 2


class Half:
    """One side: its peer, the frames on their way to it, and the messages that were not read yet."""

    def __init__(self, peer: HaipPeer) -> None:
        self.peer = peer
        self.coming: deque[Frame] = deque()
        self.sent_to: dict[int, HaipMessage] = {}
        self.arrived: set[int] = set()
        self.unread: deque[HaipMessage] = deque()
        self.heard: dict[str | None, list[object]] = {channel: [] for channel in CHANNELS}
        self.said: dict[str | None, list[object]] = {channel: [] for channel in CHANNELS}

    def note_sent(self, frames: list[Frame]) -> None:
        """Note what the other side sends."""
        for frame in frames:
            message = read_text(frame.text or "")
            self.sent_to[number(message)] = message
        self.coming.extend(frames)

    def take(self) -> None:
        """Receive the next frame."""
        frame = self.coming.popleft()
        assert frame.text is not None
        self.arrived.add(number(read_text(frame.text)))
        for event in self.peer.receive_text(frame.text):
            assert not isinstance(event, Violated), event.error
            if isinstance(event, Received) and not is_free(event.message):
                self.unread.append(event.message)

    def read(self) -> None:
        """Let the application read a message."""
        message = self.unread.popleft()
        if message.type is HaipEventType.MESSAGE_PART:
            self.heard[message.envelope.channel].append(message.payload["text"])
        self.peer.note_read(message)


class Ledgers(RuleBasedStateMachine):
    """Two peers that send, read, request, grant, pause and lose connections."""

    @initialize(
        first=st.sampled_from([None, 0, 1, 3, WINDOW]),
        first_bytes=st.sampled_from([None, 0, 50, 300]),
        most=st.sampled_from([None, 1, 4]),
        server_first=st.sampled_from([None, 1, 3]),
    )
    def connect(
        self, first: int | None, first_bytes: int | None, most: int | None, server_first: int | None
    ) -> None:
        """Shake hands."""
        clock = self.clock = Clock()
        session_id = new_id()
        client_flow = FlowControlConfig(
            initial_credits=first, initial_credit_bytes=first_bytes, max_credits=most, on_exhausted="queue"
        )
        server_flow = FlowControlConfig(initial_credits=server_first, on_exhausted="queue")
        roles: tuple[tuple[Literal["client", "server"], FlowControlConfig], ...] = (
            ("client", client_flow),
            ("server", server_flow),
        )
        self.client, self.server = (
            Half(
                HaipPeer(
                    PeerConfig(
                        role,
                        clock,
                        flow,
                        receive_credits=WINDOW,
                        receive_credit_bytes=WINDOW_BYTES,
                        refills_on_read=True,
                    ),
                    session_id,
                )
            )
            for role, flow in roles
        )
        self.sides = ((self.client, self.server), (self.server, self.client))
        self.paused: set[tuple[Half, str]] = set()
        self.client.peer.greet()
        self.deliver_all()

    def collect(self) -> None:
        """Put the queued frames on the wire."""
        for side, other in self.sides:
            other.note_sent(side.peer.take_outgoing())

    def deliver_all(self) -> None:
        """Deliver all frames, and those that they cause."""
        self.collect()
        while self.client.coming or self.server.coming:
            for side, _ in self.sides:
                while side.coming:
                    side.take()
            self.collect()

    @rule(
        from_client=st.booleans(),
        channel=st.sampled_from(CHANNELS),
        sizes=st.lists(st.sampled_from([0, 1, 40, LARGEST]), min_size=1, max_size=8),
    )
    def send(self, from_client: bool, channel: str, sizes: list[int]) -> None:
        """Send texts; those without credits wait, and credits are requested for them."""
        side = self.client if from_client else self.server
        for size in sizes:
            text = f"{len(side.said[channel])}:".ljust(size, "x")
            side.said[channel].append(text)
            if not side.peer.send(part(text, channel), queue=True):
                side.peer.ask_for_credits(channel)

    @rule(
        from_client=st.booleans(), channel=st.sampled_from(CHANNELS), kind=st.sampled_from(["start", "call"])
    )
    def send_other(self, from_client: bool, channel: str, kind: str) -> None:
        """Send what is no part of a text."""
        side = self.client if from_client else self.server
        event, payload = {
            "start": (HaipEventType.MESSAGE_START, {"message_id": new_id()}),
            "call": (
                HaipEventType.TOOL_CALL,
                {"call_id": new_id(), "tool": "t", "params": {"ä": [1.5, None]}},
            ),
        }[kind]
        if not side.peer.send(HaipMessage(event, payload, HaipEnvelope(channel=channel)), queue=True):
            side.peer.ask_for_credits(channel)

    @rule(to_client=st.booleans(), count=st.integers(1, 6))
    def deliver(self, to_client: bool, count: int) -> None:
        """Deliver some frames in one direction."""
        self.collect()
        side = self.client if to_client else self.server
        for _ in range(min(count, len(side.coming))):
            side.take()
        self.ask_again()

    @rule(of_client=st.booleans(), count=st.integers(1, 6))
    def read(self, of_client: bool, count: int) -> None:
        """Let an application read."""
        side = self.client if of_client else self.server
        for _ in range(min(count, len(side.unread))):
            side.read()

    @rule(of_client=st.booleans(), channel=st.sampled_from(CHANNELS), amount=st.sampled_from([1, 5, 1000]))
    def grant(self, of_client: bool, channel: str, amount: int) -> None:
        """Let an application grant credits; from a client, that is a request, too."""
        payload = {"channel": channel, "add_messages": amount, "add_bytes": amount}
        side = self.client if of_client else self.server
        side.peer.send(HaipMessage(HaipEventType.FLOW_UPDATE, payload))

    @rule(of_client=st.booleans(), channel=st.sampled_from(CHANNELS), pauses=st.booleans())
    def control(self, of_client: bool, channel: str, pauses: bool) -> None:
        """Let an application pause or resume a channel."""
        side = self.client if of_client else self.server
        event = HaipEventType.PAUSE_CHANNEL if pauses else HaipEventType.RESUME_CHANNEL
        side.peer.send(HaipMessage(event, {"channel": channel}))
        (self.paused.add if pauses else self.paused.discard)((side, channel))

    @rule(up=st.integers(0, 4), down=st.integers(0, 4))
    def cut(self, up: int, down: int) -> None:
        """Lose the connection and some frames, and resume."""
        self.collect()
        for side, count in ((self.server, up), (self.client, down)):
            for _ in range(min(count, len(side.coming))):
                side.take()
        for side, _ in self.sides:
            side.coming.clear()
            side.peer.reconnect()
        self.client.peer.greet()
        self.deliver_all()

    @rule(to_client=st.booleans(), place=st.integers(0, 5))
    def lose(self, to_client: bool, place: int) -> None:
        """Lose one frame: later ones arrive before it is replayed."""
        self.collect()
        side = self.client if to_client else self.server
        if place < len(side.coming):
            del side.coming[place]

    @rule()
    def wait(self) -> None:
        """Let enough time pass to find what was lost."""
        self.clock.now += 1
        for side, _ in self.sides:
            side.peer.tick()

    def ask_again(self) -> None:
        """Request credits for what still waits, as the shells do when credits change."""
        for side, _ in self.sides:
            for channel in CHANNELS:
                if side.peer.waiting(channel):
                    side.peer.ask_for_credits(channel)

    @precondition(lambda self: hasattr(self, "client"))
    @invariant()
    def granted_is_booked(self) -> None:
        """Credits of the sender, and those on their way, are those in the books of the receiver."""
        self.collect()
        for side, other in self.sides:
            for channel in CHANNELS:
                held = side.peer.credits.granted(channel)
                spent = self.on_the_way(other, channel)
                given = self.granted_on_the_way(side, channel)
                expected = tuple(
                    amount + on_way + to_come
                    for amount, on_way, to_come in zip(held, spent, given, strict=True)
                )
                assert expected == other.peer.ledger.left(channel)
                assert min(held) >= 0

    @precondition(lambda self: hasattr(self, "client"))
    @invariant()
    def unread_is_bounded(self) -> None:
        """What a client has not been granted by hand, a server grants only as its application reads."""
        for side, _ in self.sides:
            for channel in CHANNELS:
                unread = [m for m in side.unread if m.envelope.channel == channel]
                assert side.peer.ledger.unread(channel)[1] == sum(
                    content_bytes(m) for m in unread if m.type is not HaipEventType.MESSAGE_START
                )

    @staticmethod
    def on_the_way(receiver: Half, channel: str) -> tuple[int, int]:
        """Return the credits of the messages that were sent and not delivered."""
        costly = [
            message
            for seq, message in receiver.sent_to.items()
            if seq > int(receiver.peer.received)
            and message.envelope.channel == channel
            and message.type in (HaipEventType.MESSAGE_PART, HaipEventType.TOOL_CALL)
        ]
        return len(costly), sum(map(content_bytes, costly))

    @staticmethod
    def granted_on_the_way(receiver: Half, channel: str) -> tuple[int, int]:
        """Return the grants that were sent and have not arrived."""
        grants = [
            message.payload
            for seq, message in receiver.sent_to.items()
            if seq not in receiver.arrived
            and message.type is HaipEventType.FLOW_UPDATE
            and message.payload["channel"] == channel
        ]
        messages, size = (
            sum(int(str(grant.get(name, 0))) for grant in grants) for name in ("add_messages", "add_bytes")
        )
        return messages, size

    def teardown(self) -> None:
        """Resume all channels and read everything: it all arrives, in order on each channel."""
        if not hasattr(self, "client"):
            return
        for side, channel in tuple(self.paused):
            side.peer.send(HaipMessage(HaipEventType.RESUME_CHANNEL, {"channel": channel}))
        waiting: list[int] = []
        for _ in range(200):
            # A lost frame is noticed with the next one.
            for side, _ in self.sides:
                side.peer.ping()
            self.deliver_all()
            self.wait()
            self.deliver_all()
            for side, _ in self.sides:
                while side.unread:
                    side.read()
            self.ask_again()
            waiting = [side.peer.waiting(channel) for side, _ in self.sides for channel in CHANNELS]
            if not any(waiting) and all(other.heard == side.said for side, other in self.sides):
                return
        raise AssertionError(f"messages are stuck: {waiting} wait for credits")


def number(message: HaipMessage) -> int:
    """Return the sequence number of a message."""
    return int(message.envelope.sequence or 0)


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
