"""Two sides of a session: handshake, order, credits, replay, binary frames."""

import json
from dataclasses import replace
from typing import Any

import pytest
from ably_ai_transport_haip.protocol import (
    BinaryReceived,
    CreditsChanged,
    FlowControlConfig,
    HaipChannel,
    HaipEnvelope,
    HaipError,
    HaipEventType,
    HaipFlowControlError,
    HaipMessage,
    HaipProtocolError,
    Handshaken,
    Lost,
    Violated,
    new_id,
    write_text,
)

from tests.support.haip_wire import Side, Wire, part

USER, AGENT, SYSTEM = HaipChannel.USER, HaipChannel.AGENT, HaipChannel.SYSTEM


def codes(side: Side) -> list[object]:
    """Return the codes of the errors that a side was told."""
    return [m.payload["code"] for m in side.received if m.type is HaipEventType.ERROR]


def frame(message: HaipMessage, seq: str = "1", **more: object) -> str:
    """Write a frame as a peer of another make might."""
    envelope = replace(message.envelope, session_id=new_id(), sequence=seq, timestamp="1")
    return json.dumps({**replace(message, id=new_id(), envelope=envelope).to_wire(), **more})


def hai(seq: str = "1", **payload: object) -> str:
    said = {"haip_version": "1.1.2", "accept_major": [1], "accept_events": ["TEXT_MESSAGE_START"], **payload}
    return frame(HaipMessage(HaipEventType.HAI, said, HaipEnvelope(channel=SYSTEM)), seq)


# The handshake


def test_both_sides_introduce_themselves() -> None:
    wire = Wire()
    wire.connect()
    for side in (wire.client, wire.server):
        [shaken] = side.happened(Handshaken)
        assert not shaken.resumed
        assert shaken.payload.haip_version == "1.1.2"
        assert side.peer.is_handshaken
    assert wire.client.peer.session_id == wire.server.peer.session_id


def test_a_server_may_speak_first() -> None:
    wire = Wire()
    wire.server.peer.greet()
    wire.client.peer.greet()
    wire.flow()
    assert len(wire.client.happened(Handshaken)) == len(wire.server.happened(Handshaken)) == 1


def test_another_major_version_is_refused() -> None:
    wire = Wire()
    [violated] = wire.server.peer.receive_text(hai(accept_major=[2]))
    assert isinstance(violated, Violated)
    assert violated.fatal
    assert violated.error.code == "VERSION_INCOMPATIBLE"


def test_a_server_hears_nothing_before_the_handshake() -> None:
    wire = Wire()
    wire.server.events += wire.server.peer.receive_text(frame(part("hi")))
    assert [v.error.code for v in wire.server.happened(Violated)] == ["PROTOCOL_VIOLATION"]
    assert not wire.server.received


def test_only_what_the_other_side_takes_is_sent() -> None:
    wire = Wire()
    wire.client.peer.receive_text(hai(accept_events=["HAI", "TEXT_MESSAGE_START"]))
    with pytest.raises(HaipProtocolError, match="UNSUPPORTED_TYPE"):
        wire.client.peer.send(part("hi"))


@pytest.mark.parametrize(("name", "long"), [("MESSAGE_PART", False), ("TEXT_MESSAGE_PART", True)])
def test_texts_are_named_as_the_other_side_names_them(name: str, long: bool) -> None:
    wire = Wire()
    prefix = "TEXT_" if long else ""
    accepted = [f"{prefix}MESSAGE_START", f"{prefix}MESSAGE_PART", f"{prefix}MESSAGE_END"]
    wire.client.peer.receive_text(hai(accept_events=accepted))
    wire.client.peer.take_outgoing()
    wire.client.peer.send(part("hi"))
    [sent] = wire.client.peer.take_outgoing()
    assert json.loads(sent.text or "")["type"] == name


@pytest.mark.parametrize("name", ["MESSAGE_PART", "TEXT_MESSAGE_PART"])
def test_both_names_are_understood(name: str) -> None:
    wire = Wire()
    wire.client.events += wire.client.peer.receive_text(frame(part("hi"), type=name))
    assert wire.client.said == ["hi"]


# Order


def test_messages_have_numbers_and_acknowledge() -> None:
    wire = Wire()
    wire.connect()
    for text in ("a", "b"):
        wire.client.peer.send(part(text))
    wire.flow()
    wire.server.peer.send(part("c", AGENT))
    wire.flow()
    assert wire.server.said == ["a", "b"]
    assert [m.envelope.sequence for m in wire.server.received] == ["2", "3"]
    assert wire.client.peer.acked == "3"


def test_what_comes_twice_is_taken_once() -> None:
    wire = Wire()
    wire.connect()
    wire.client.peer.send(part("a"))
    [sent] = wire.client.peer.take_outgoing()
    for _ in range(3):
        wire.deliver(sent, wire.server)
    assert wire.server.said == ["a"]


def test_a_gap_is_filled_in_order() -> None:
    wire = Wire()
    wire.connect()
    for text in "abc":
        wire.client.peer.send(part(text))
    first, _lost, third = wire.client.peer.take_outgoing()
    wire.deliver(first, wire.server)
    wire.deliver(third, wire.server)
    assert wire.server.said == ["a"]
    assert wire.server.peer.due == wire.clock.now + 0.5
    wire.server.peer.tick()
    assert not wire.server.peer.take_outgoing()
    wire.clock.now += 0.5
    wire.server.peer.tick()
    wire.server.peer.tick()
    wire.flow()
    assert wire.server.said == ["a", "b", "c"]
    assert wire.server.peer.due is None
    asked = [m for m in wire.client.received if m.type is HaipEventType.REPLAY_REQUEST]
    assert [m.payload for m in asked] == [{"from_seq": "3", "to_seq": "3"}]


def test_what_is_not_kept_any_more_is_given_up() -> None:
    wire = Wire(credits_=5000)
    wire.connect()
    for i in range(2000):
        wire.client.peer.send(part(str(i)))
        wire.clock.now += 1
    frames = wire.client.peer.take_outgoing()
    wire.deliver(frames[-1], wire.server)
    wire.clock.now += 0.5
    wire.server.peer.tick()
    wire.flow()
    assert codes(wire.server) == ["REPLAY_TOO_OLD"]
    [lost] = wire.server.happened(Lost)
    assert (lost.first, lost.last) == (2, 2000)
    assert wire.server.said == ["1999"]


@pytest.mark.parametrize("seqs", [["1795000000000", "1795000000000", "1795000000003"], ["k3a", "z", "a"]])
def test_peers_that_count_in_their_own_way_are_heard(seqs: list[str]) -> None:
    wire = Wire()
    wire.server.events += wire.server.peer.receive_text(hai(seqs[0], accept_events=["HAI"]))
    for i, seq in enumerate(seqs[1:]):
        wire.server.events += wire.server.peer.receive_text(frame(part(f"t{i}"), seq))
    assert wire.server.said == ["t0", "t1"]
    assert wire.server.peer.is_lenient


def test_a_peer_of_the_references_make_that_grants_nothing_is_not_waited_for_in_vain() -> None:
    wire = Wire()
    peer = wire.server.peer
    capabilities = {"flow_control": {"initial_credit_messages": 2, "initial_credit_bytes": 10_000}}
    accepted = ["TEXT_MESSAGE_START", "TEXT_MESSAGE_PART", "FLOW_UPDATE"]
    said = hai("1795000000000", accept_events=accepted, capabilities=capabilities)
    peer.receive_text(said)
    peer.take_outgoing()
    sent = [peer.send(part(str(n)), queue=True) for n in range(4)]
    assert sent == [True, True, False, False]
    peer.ask_for_credits(USER)
    assert peer.due == wire.clock.now + 1
    wire.clock.now += 0.9
    assert (peer.tick(), peer.waiting(USER)) == ([], 2)
    wire.clock.now += 0.1
    assert [type(event) for event in peer.tick()] == [CreditsChanged]
    assert (peer.waiting(USER), peer.due) == (0, None)
    # A grant shows that the peer does take part after all.
    payload = {"channel": "USER", "add_messages": 1}
    update = HaipMessage(HaipEventType.FLOW_UPDATE, payload, HaipEnvelope(channel=SYSTEM))
    peer.receive_text(frame(update, "1795000000001"))
    assert [peer.send(part("x"), queue=True) for _ in range(2)] == [True, False]


# Lost connections


def test_a_session_goes_on_after_a_lost_connection() -> None:
    wire = Wire()
    wire.connect()
    for text in "abc":
        wire.client.peer.send(part(text))
        wire.server.peer.send(part(text.upper(), AGENT))
    wire.cut(up=1, down=2)
    wire.connect()
    assert wire.server.said == ["a", "b", "c"]
    assert wire.client.said == ["A", "B", "C"]
    assert [shaken.resumed for shaken in wire.client.happened(Handshaken)] == [False, True]


def test_a_server_that_forgot_the_session_says_so() -> None:
    wire = Wire()
    wire.connect()
    wire.client.peer.send(part("a"))
    wire.flow()
    wire.cut()
    other = Wire()
    other.clock = wire.clock
    wire.server = Side(other.server.peer)
    wire.server.peer.session_id = wire.client.peer.session_id
    wire.server.peer.refuse_resume()
    wire.connect()
    assert codes(wire.client) == ["RESUME_FAILED"]
    assert not wire.client.happened(Handshaken)[-1].resumed
    wire.client.peer.send(part("b"))
    wire.server.peer.send(part("B", AGENT))
    wire.flow()
    assert wire.server.said == ["b"]
    assert wire.client.said == ["B"]
    assert not wire.server.peer.is_lenient


# Credits


def test_without_credits_a_message_is_refused() -> None:
    wire = Wire(FlowControlConfig(initial_credits=2))
    wire.connect()
    wire.client.peer.send(part("a"))
    wire.client.peer.send(part("b"))
    with pytest.raises(HaipFlowControlError, match="FLOW_CONTROL"):
        wire.client.peer.send(part("c"))
    wire.client.peer.send(part("d", AGENT))
    wire.flow()
    assert wire.server.said == ["a", "b", "d"]


def test_what_waits_is_sent_when_there_are_credits() -> None:
    wire = Wire(FlowControlConfig(initial_credits=1))
    wire.connect()
    for text in "abcd":
        wire.client.peer.send(part(text), queue=True)
    assert wire.client.peer.waiting(USER) == 3
    wire.flow()
    wire.server.peer.grant(USER, 2)
    wire.flow()
    assert wire.server.said == ["a", "b", "c"]
    assert wire.client.peer.waiting(USER) == 1
    assert wire.client.peer.credits.messages(USER) == 0


def test_nobody_overtakes_who_waits() -> None:
    wire = Wire(FlowControlConfig(initial_credits=1))
    wire.connect()
    wire.client.peer.send(part("a"), queue=True)
    wire.client.peer.send(part("b"), queue=True)
    with pytest.raises(HaipFlowControlError, match="1 messages wait"):
        wire.client.peer.send(part("c"))


def test_a_side_that_takes_much_is_granted_more() -> None:
    wire = Wire(credits_=4)
    wire.connect()
    for i in range(100):
        wire.client.peer.send(part(str(i)), queue=True)
    wire.flow()
    assert len(wire.server.said) == 100
    assert not wire.server.happened(Violated)


def test_credits_are_asked_for_and_never_more_than_there_may_be() -> None:
    wire = Wire(FlowControlConfig(initial_credits=1, max_credits=3))
    wire.connect()
    ask = HaipMessage(
        HaipEventType.FLOW_UPDATE, {"channel": "USER", "add_messages": 10}, HaipEnvelope(channel=SYSTEM)
    )
    wire.client.peer.send(ask)
    wire.flow()
    assert wire.client.peer.credits.messages(USER) == 3
    assert wire.client.peer.credits.messages(AGENT) == 1


def test_bytes_of_a_text_are_those_of_its_characters() -> None:
    wire = Wire(credit_bytes=2000)
    wire.connect()
    wire.client.peer.send(part("größe ☀️"))
    assert wire.client.peer.credits.bytes(USER) == 2000 - len("größe ☀️".encode())
    with pytest.raises(HaipFlowControlError):
        wire.client.peer.send(part("x" * 2000))


def test_with_other_peers_each_message_and_its_whole_frame_counts() -> None:
    wire = Wire()
    peer = wire.client.peer
    capabilities = {"flow_control": {"initial_credit_messages": 10, "initial_credit_bytes": 2000}}
    peer.receive_text(hai(accept_events=["TEXT_MESSAGE_PART", "TEXT_MESSAGE_END"], capabilities=capabilities))
    peer.take_outgoing()
    peer.send(part("größe ☀️"))
    peer.send(HaipMessage(HaipEventType.MESSAGE_END, {"message_id": new_id()}, HaipEnvelope(channel=USER)))
    size = sum(len((sent.text or "").encode()) for sent in peer.take_outgoing())
    assert (peer.credits.messages(USER), peer.credits.bytes(USER)) == (8, 2000 - size)


def test_a_text_costs_a_credit_for_each_part() -> None:
    wire = Wire(FlowControlConfig(initial_credits=2, initial_credit_bytes=1024))
    wire.connect()
    start = HaipMessage(HaipEventType.MESSAGE_START, {"message_id": new_id()}, HaipEnvelope(channel=USER))
    end = replace(start, type=HaipEventType.MESSAGE_END)
    for _ in range(2):
        wire.client.peer.send_all([start, part("x" * 512), end])
    with pytest.raises(HaipFlowControlError, match="FLOW_CONTROL"):
        wire.client.peer.send_all([start, part("x"), end])
    wire.client.peer.send(start)


def test_what_credits_can_never_cover_is_refused_at_once() -> None:
    wire = Wire(FlowControlConfig(max_credit_bytes=500), credit_bytes=1000)
    wire.connect()
    with pytest.raises(HaipFlowControlError, match="can ever cover"):
        wire.client.peer.send(part("x" * 501), queue=True)
    with pytest.raises(HaipFlowControlError, match="can ever cover"):
        wire.client.peer.send_all([part("x" * 300)] * 2, queue=True)
    wire.client.peer.send(part("x"))
    # A server cannot request credits, and new ones come once half of them are spent.
    half = 8 * 1024 * 1024
    wire.server.peer.send(part("x" * half, AGENT))
    with pytest.raises(HaipFlowControlError, match="ever grants"):
        wire.server.peer.send(part("x" * (half + 1), AGENT), queue=True)


def test_a_side_that_sends_more_than_it_may_is_told() -> None:
    wire = Wire(credits_=1000)
    wire.server.peer.receive_text(hai(accept_events=["HAI"]))
    for i in range(1001):
        wire.server.events += wire.server.peer.receive_text(frame(part("x" * 40_000), str(i + 2)))
    violations = {v.error.code for v in wire.server.happened(Violated)}
    assert violations <= {"FLOW_CONTROL_VIOLATION"}


def test_control_passes_without_credits() -> None:
    wire = Wire(FlowControlConfig(initial_credits=0))
    wire.connect()
    wire.client.peer.send(HaipMessage(HaipEventType.PING, {"nonce": "n"}, HaipEnvelope(channel=SYSTEM)))
    wire.flow()
    pongs = [m.payload for m in wire.client.received if m.type is HaipEventType.PONG]
    assert pongs == [{"nonce": "n"}]


def test_a_paused_channel_waits() -> None:
    wire = Wire()
    wire.connect()
    control: dict[str, Any] = {"channel": "USER"}
    wire.server.peer.send(HaipMessage(HaipEventType.PAUSE_CHANNEL, control, HaipEnvelope(channel=SYSTEM)))
    wire.flow()
    with pytest.raises(HaipFlowControlError, match="CHANNEL_PAUSED"):
        wire.client.peer.send(part("a"))
    wire.client.peer.send(part("b"), queue=True)
    wire.client.peer.send(part("c", AGENT))
    wire.server.peer.send(HaipMessage(HaipEventType.RESUME_CHANNEL, control, HaipEnvelope(channel=SYSTEM)))
    wire.flow()
    assert wire.server.said == ["c", "b"]


# Binary frames


def audio(data: bytes) -> HaipMessage:
    return HaipMessage(
        HaipEventType.AUDIO_CHUNK,
        {"message_id": new_id(), "mime": "audio/opus"},
        HaipEnvelope(channel=HaipChannel.AUDIO_IN),
        bin_mime="audio/opus",
        binary=data,
    )


def test_bytes_travel_with_their_message() -> None:
    wire = Wire()
    wire.connect()
    wire.client.peer.send(audio(b"\x00\x01\xff"))
    wire.client.peer.send(part("after"))
    wire.flow()
    sound, after = wire.server.received
    assert (sound.binary, sound.bin_len, sound.bin_mime) == (b"\x00\x01\xff", 3, "audio/opus")
    assert after.payload["text"] == "after"


def test_bytes_may_come_in_pieces() -> None:
    wire = Wire()
    wire.connect()
    wire.client.peer.send(audio(b"abcdef"))
    [sent] = wire.client.peer.take_outgoing()
    wire.server.peer.receive_text(sent.text or "")
    assert wire.server.peer.receive_binary(b"ab") == []
    wire.server.events += wire.server.peer.receive_binary(b"cdef")
    assert wire.server.received[-1].binary == b"abcdef"


def test_data_in_the_payload_waits_for_no_frame() -> None:
    wire = Wire()
    wire.connect()
    message = replace(audio(b""), payload={**audio(b"").payload, "data": "YWJj"}, binary=None)
    wire.server.events += wire.server.peer.receive_text(frame(message, "2", bin_len=3))
    assert wire.server.received[-1].payload["data"] == "YWJj"
    assert wire.server.received[-1].binary == b"abc"
    nonsense = replace(message, payload={**message.payload, "data": "?"})
    wire.server.events += wire.server.peer.receive_text(frame(nonsense, "3"))
    assert [violated.error.code for violated in wire.server.happened(Violated)] == ["INVALID_MESSAGE"]


def test_bytes_of_nobody_are_handed_on() -> None:
    wire = Wire()
    wire.connect()
    assert wire.server.peer.receive_binary(b"?") == [BinaryReceived(b"?")]


def test_more_bytes_than_announced_are_refused() -> None:
    wire = Wire()
    wire.connect()
    wire.client.peer.send(audio(b"abc"))
    [sent] = wire.client.peer.take_outgoing()
    wire.server.peer.receive_text(sent.text or "")
    [violated] = wire.server.peer.receive_binary(b"abcd")
    assert isinstance(violated, Violated)
    assert violated.error.code == "BINARY_FRAME_ERROR"


# What is no message


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "INVALID_MESSAGE"),
        ("[]", "INVALID_MESSAGE"),
        ("{", "INVALID_MESSAGE"),
        ('{"type":"NOPE","payload":{},"channel":"USER"}', "UNSUPPORTED_TYPE"),
        ('{"type":"PING","payload":[],"channel":"USER"}', "INVALID_MESSAGE"),
        ('{"type":"PING","payload":{},"channel":"no spaces"}', "INVALID_MESSAGE"),
        ('{"type":"PING","payload":{},"channel":"USER","crit":true,"new":1,"seq":"2"}', "UNSUPPORTED_TYPE"),
        ('{"type":"TOOL_CALL","payload":{"tool":"x"},"channel":"USER","seq":"2"}', "INVALID_MESSAGE"),
        ('{"type":"PING","payload":{},"channel":"USER"}', "SEQ_VIOLATION"),
    ],
)
def test_what_is_no_message_is_refused_and_the_session_goes_on(text: str, code: str) -> None:
    wire = Wire()
    wire.connect()
    wire.server.events += wire.server.peer.receive_text(text)
    wire.flow()
    assert codes(wire.client) == [code]


UNSENDABLE: list[tuple[HaipEventType, dict[str, Any], str]] = [
    (HaipEventType.MESSAGE_START, {"message_id": "no"}, "message_id"),
    (HaipEventType.MESSAGE_START, {"message_id": new_id(), "channel": "USER"}, "channel"),
    (HaipEventType.MESSAGE_START, {"message_id": new_id(), "author": None}, "author"),
    (HaipEventType.TOOL_UPDATE, {"call_id": new_id(), "status": "RUNNING", "progress": 101}, "progress"),
    (HaipEventType.TOOL_LIST, {}, "tools"),
    (HaipEventType.TOOL_LIST, {"tools": [{"name": "x", "parameters": {}}]}, "tools.parameters"),
    (HaipEventType.FLOW_UPDATE, {"channel": "USER", "add_bytes": 0}, "add_messages, add_bytes"),
    (HaipEventType.RUN_FINISHED, {"status": "DONE"}, "status"),
    (HaipEventType.ERROR, {"code": "X", "message": "y", "related_id": "z"}, "related_id"),
]


@pytest.mark.parametrize(("event", "payload", "field"), UNSENDABLE)
def test_what_the_schema_refuses_is_not_sent(
    event: HaipEventType, payload: dict[str, object], field: str
) -> None:
    wire = Wire()
    wire.connect()
    with pytest.raises(HaipError) as refused:
        wire.client.peer.send(HaipMessage(event, payload))
    assert refused.value.details["field"] == field
    assert not wire.client.peer.take_outgoing()


@pytest.mark.parametrize(
    ("envelope", "field"),
    [
        (HaipEnvelope(channel="USER", run_id="run-1"), "run_id"),
        (HaipEnvelope(channel="no channel"), "channel"),
        (HaipEnvelope(channel="USER", thread_id="t" * 129), "thread_id"),
    ],
)
def test_an_envelope_that_the_schema_refuses_is_not_sent(envelope: HaipEnvelope, field: str) -> None:
    wire = Wire()
    wire.connect()
    with pytest.raises(HaipProtocolError, match=f"INVALID_MESSAGE.* {field} must be"):
        wire.client.peer.send(replace(part("x"), envelope=envelope))
    assert wire.client.peer.take_outgoing() == []


def test_a_message_is_written_flat_and_read_back() -> None:
    message = replace(audio(b"x"), id=new_id(), pv=1, crit=False, bin_len=1)
    assert HaipMessage.from_wire(json.loads(write_text(message))) == replace(message, binary=None)
