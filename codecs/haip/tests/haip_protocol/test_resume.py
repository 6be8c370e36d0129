"""A peer that counts like the reference SDK resumes exactly where it was cut off."""

import json
from collections.abc import Sequence
from typing import Any

from ably_ai_transport_haip.protocol import Frame, HaipPeer, PeerConfig, new_id, read_text
from ably_ai_transport_haip.protocol.names import accepted_names
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.haip_wire import Clock, part


class Listener:
    """Takes frames as the reference SDK does: no duplicate is dropped, and only the last ack is kept."""

    def __init__(self) -> None:
        self.texts: list[object] = []
        self.last_ack = ""

    def take(self, frame: Frame) -> None:
        message: dict[str, Any] = json.loads(frame.text or "")
        self.last_ack = message.get("ack") or self.last_ack
        if "text" in message["payload"]:
            self.texts.append(message["payload"]["text"])

    def handshake(self) -> str:
        flow = {"initial_credit_messages": 10**6, "initial_credit_bytes": 10**9}
        payload = {
            "haip_version": "1.1.2",
            "accept_major": [1],
            "accept_events": accepted_names(),
            "capabilities": {"flow_control": flow},
            **({"last_rx_seq": self.last_ack} if self.last_ack else {}),
        }
        flat = {"id": new_id(), "session": new_id(), "seq": "1795000000000", "ts": "1", "channel": "SYSTEM"}
        return json.dumps({**flat, "type": "HAI", "payload": payload})


steps = st.lists(
    st.tuples(st.sampled_from(["send", "deliver", "cut", "hand over"]), st.integers(0, 5)), max_size=40
)


@settings(max_examples=300)
@example([("hand over", 3), ("cut", 0), ("deliver", 5), ("cut", 0)])
@given(steps)
def test_every_text_arrives_once_and_in_order(steps: Sequence[tuple[str, int]]) -> None:
    server = HaipPeer(PeerConfig("server", Clock()))
    client = Listener()
    sent: list[str] = []
    server.enter(read_text(client.handshake()))
    # The first frame arrives: before it, the client has nothing to resume from.
    first = server.next_outgoing()
    assert first is not None
    client.take(first)
    for what, count in steps:
        match what:
            case "send":
                for _ in range(count):
                    sent.append(f"{len(sent)}")
                    server.send(part(sent[-1], "AGENT"))
            case "deliver":
                for _ in range(count):
                    frame = server.next_outgoing()
                    if frame is not None:
                        client.take(frame)
            case "cut":
                # Frames that were under way are lost; texts are sent before the client is back.
                for _ in range(count):
                    server.next_outgoing()
                sent.append(f"{len(sent)}")
                server.send(part(sent[-1], "AGENT"))
                server.enter(read_text(client.handshake()))
            case _:
                # The older connection delivers everything up to the ping, after the handshake was written.
                handshake = read_text(client.handshake())
                server.ping("last")
                last = server.sent
                for frame in server.take_outgoing():
                    client.take(frame)
                for _ in range(count):
                    sent.append(f"{len(sent)}")
                    server.send(part(sent[-1], "AGENT"))
                server.enter(handshake, last_received=last)
    for frame in server.take_outgoing():
        client.take(frame)
    assert client.texts == sent
