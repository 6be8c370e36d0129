"""Bad frames are refused one by one, and only valid frames go out."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ably_ai_transport_haip.protocol import (
    CreditsChanged,
    HaipChannel,
    HaipEnvelope,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipFlowControlError,
    HaipMessage,
    HaipPeer,
    HaipProtocolError,
    Handshaken,
    PeerConfig,
    Received,
    Violated,
    new_id,
    read_text,
    write_text,
)
from ably_ai_transport_haip.protocol.halves import whole
from ably_ai_transport_haip.protocol.names import accepted_names
from ably_ai_transport_haip.protocol.reading import MAX_DEPTH
from ably_ai_transport_haip.protocol.text_halves import MAX_KEPT
from hypothesis import given
from hypothesis import strategies as st

from tests.support.haip_wire import Clock, Side, Wire, part, schema_check

Json = dict[str, Any]
SYSTEM = HaipChannel.SYSTEM


def frame(kind: str, payload: object, seq: str | None = "2", **more: object) -> str:
    flat = {"id": new_id(), "session": new_id(), "seq": seq, "ts": "1", "channel": "USER", "type": kind}
    return json.dumps({**flat, "payload": payload, **more})


def hai(seq: str = "1", **payload: object) -> str:
    said = {"haip_version": "1.1.2", "accept_major": [1], "accept_events": accepted_names(), **payload}
    return frame("HAI", said, seq)


@pytest.fixture
def server() -> Side:
    """A server that has shaken hands with a client that counts from 1."""
    side = Side(HaipPeer(PeerConfig("server", Clock())))
    side.events += side.peer.receive_text(hai())
    side.peer.take_outgoing()
    return side


def sent_by(side: Side) -> list[Json]:
    """Return the frames that a side sends; all of them fit the schema and can be encoded."""
    check = schema_check()
    frames: list[Json] = []
    for out in side.peer.take_outgoing():
        assert out.text is not None
        out.text.encode()
        frames.append(json.loads(out.text, parse_constant=pytest.fail))
        if check is not None:
            check(frames[-1])
    return frames


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


REFUSED: dict[str, str] = {
    "no JSON": '{"seq":"2"',
    "NaN": frame("PING", {"nonce": "n"}).replace('"n"', "NaN"),
    "Infinity": frame("RUN_STARTED", {"metadata": {"a": 1}}).replace("1}}", "-Infinity}}"),
    "deep": frame("RUN_STARTED", {"metadata": nested(MAX_DEPTH)}),
    "very deep": frame("RUN_STARTED", {"metadata": 0}).replace(": 0}", f": {'[' * 50_000}{']' * 50_000}}}"),
    "a huge number": frame("PING", {"nonce": 0}).replace(": 0}", f": {'9' * 5000}}}"),
    "an unknown type": frame("NEWS", {}),
    "an unknown critical field": frame("PING", {}, crit=True, news=1),
    "a channel of spaces": frame("PING", {}, channel="a b"),
    "a run that is no UUID": frame("TEXT_MESSAGE_END", {"message_id": new_id()}, run_id="run-1"),
    "a long thread": frame("TEXT_MESSAGE_END", {"message_id": new_id()}, thread_id="t" * 129),
    "base64 that is not ASCII": frame(
        "AUDIO_CHUNK", {"message_id": new_id(), "mime": "audio/wav", "data": "é"}
    ),
    "a body that is too long": frame("AUDIO_CHUNK", {"message_id": new_id(), "mime": "a"}, bin_len=2**40),
    "a grant beyond 64 bits": frame("FLOW_UPDATE", {"channel": "USER", "add_messages": 10**400}),
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_frame_that_is_refused_holds_up_nothing(server: Side, text: str) -> None:
    server.events += server.peer.receive_text(text)
    [error] = sent_by(server)
    assert error["type"] == "ERROR"
    assert error["payload"]["code"] in ("INVALID_MESSAGE", "UNSUPPORTED_TYPE", "BINARY_FRAME_ERROR")
    assert [violated.fatal for violated in server.happened(Violated)] == [False]
    server.events += server.peer.receive_text(frame("TEXT_MESSAGE_PART", part("next").payload, "3"))
    assert server.said == ["next"]
    assert server.peer.due is None


@pytest.mark.parametrize("seq", ["9" * 5000, "9" * 21, str(2**64), "-1", "", None])
def test_a_number_that_cannot_be_read_is_refused_and_the_connection_lives(
    server: Side, seq: str | None
) -> None:
    server.events += server.peer.receive_text(frame("TEXT_MESSAGE_PART", part("lost").payload, seq))
    [error] = sent_by(server)
    assert error["payload"]["code"] == "SEQ_VIOLATION"
    assert [violated.fatal for violated in server.happened(Violated)] == [False]
    server.events += server.peer.receive_text(frame("TEXT_MESSAGE_PART", part("next").payload))
    assert server.said == ["next"]


def test_the_largest_number_leads_to_no_number_of_21_digits(server: Side) -> None:
    clock = server.peer.config.clock
    assert isinstance(clock, Clock)
    server.events += server.peer.receive_text(frame("PING", {}, str(2**64 - 1)))
    for _ in range(2):
        clock.now += 1
        server.events += server.peer.tick()
        refusal = {"code": "REPLAY_TOO_OLD", "message": ""}
        server.events += server.peer.receive_text(frame("ERROR", refusal, str(2**64 - 2)))
    sent = sent_by(server)
    assert "REPLAY_REQUEST" in [message["type"] for message in sent]


def test_acks_that_are_no_numbers_are_ignored(server: Side) -> None:
    server.peer.receive_text(frame("PING", {}, ack="x" * 5000))
    assert server.peer.acked is None
    server.peer.receive_text(frame("PING", {}, "3", ack="1"))
    assert server.peer.acked == "1"


def test_a_pong_repeats_the_nonce_and_nothing_else(server: Side) -> None:
    server.peer.receive_text(frame("PING", {"nonce": "n", "secret": 1, "deep": nested(50)}))
    assert [message["payload"] for message in sent_by(server)] == [{"nonce": "n"}]


def test_errors_repeat_only_the_beginning_of_what_was_wrong(server: Side) -> None:
    server.peer.receive_text(frame("N" * 100_000, {}))
    server.peer.send_error(HaipError("m" * 100_000, HaipErrorCode.SERVER_ERROR, {"nan": math.nan}))
    server.peer.send_error(HaipError("m", HaipErrorCode.SERVER_ERROR), "0190b5c0-7d4a-7000-8000-000000000000")
    assert all(len(json.dumps(message)) < 2000 for message in sent_by(server))


@pytest.mark.parametrize(
    "change",
    [
        {"id": "0190b5c0-7d4a-7000-8000-000000000000"},
        {"id": "no id"},
        {"pv": 256},
        {"pv": -1},
        {"pv": True},
        {"crit": "yes"},
        {"bin_len": -1},
        {"bin_mime": 5},
        {"envelope": HaipEnvelope(run_id="0190b5c0-7d4a-7000-8000-000000000000")},
        {"payload": {"message_id": new_id(), "text": math.nan}},
        {"payload": {"message_id": f"{new_id()}\n", "text": "x"}},
    ],
)
def test_a_message_that_the_schema_refuses_is_not_sent(server: Side, change: Json) -> None:
    with pytest.raises(HaipProtocolError, match="INVALID_MESSAGE"):
        server.peer.send(replace(part("x"), **change))
    assert server.peer.take_outgoing() == []


def test_a_related_id_with_a_line_end_is_not_sent(server: Side) -> None:
    error = {"code": "c", "message": "m", "related_id": f"{new_id()}\n"}
    with pytest.raises(HaipProtocolError, match="related_id is not a UUID"):
        server.peer.send(HaipMessage(HaipEventType.ERROR, error))


def test_a_peer_that_allows_no_runs_sends_a_valid_handshake() -> None:
    side = Side(HaipPeer(PeerConfig("client", Clock(), max_concurrent_runs=0)))
    side.peer.greet()
    [sent] = sent_by(side)
    assert "max_concurrent_runs" not in sent["payload"]


# Halves of characters


@given(st.text(alphabet=["a", "é", "😀", "\ud83d", "\ude00", "\n"], max_size=20), st.lists(st.integers(1, 5)))
def test_a_text_is_the_same_however_it_was_cut(text: str, cuts: Sequence[int]) -> None:
    units = text.encode("utf-16-le", "surrogatepass")
    parts: list[str] = []
    at = 0
    for cut in [*cuts, len(units)]:
        parts.append(units[2 * at : 2 * (at + cut)].decode("utf-16-le", "surrogatepass"))
        at += cut
    server = Side(HaipPeer(PeerConfig("server", Clock())))
    server.peer.receive_text(hai())
    message_id = new_id()
    for number, piece in enumerate(parts, 2):
        payload = {"message_id": message_id, "text": piece}
        server.events += server.peer.receive_text(frame("TEXT_MESSAGE_PART", payload, str(number)))
    end = frame("TEXT_MESSAGE_END", {"message_id": message_id}, str(len(parts) + 2))
    server.events += server.peer.receive_text(end)
    assert not server.happened(Violated)
    assert server.received[-1].type is HaipEventType.MESSAGE_END
    joined = "".join(map(str, server.said))
    joined.encode()
    assert joined == whole(text)


def test_halves_of_two_texts_are_not_mixed(server: Side) -> None:
    one, other = new_id(), new_id()
    for number, (message_id, text) in enumerate([(one, "a\ud83d"), (other, "\ude00b"), (one, "\ude00")], 2):
        payload = {"message_id": message_id, "text": text}
        server.events += server.peer.receive_text(frame("TEXT_MESSAGE_PART", payload, str(number)))
    assert server.said == ["a", "\ufffdb", "😀"]


def test_a_start_may_end_in_a_half(server: Side) -> None:
    message_id = new_id()
    start = {"message_id": message_id, "text": "a\ud83d"}
    server.events += server.peer.receive_text(frame("TEXT_MESSAGE_START", start))
    following = {"message_id": message_id, "text": "\ude00"}
    server.events += server.peer.receive_text(frame("TEXT_MESSAGE_PART", following, "3"))
    assert [message.payload["text"] for message in server.received] == ["a", "😀"]


def test_only_so_many_texts_are_waited_for(server: Side) -> None:
    texts = [new_id() for _ in range(MAX_KEPT + 1)]
    halves = [(text, "\ud83d") for text in texts] + [(texts[0], "\ude00"), (texts[-1], "\ude00")]
    for number, (message_id, text) in enumerate(halves, 2):
        payload = {"message_id": message_id, "text": text}
        server.peer.grant(HaipChannel.USER, 1, 1000)
        server.events += server.peer.receive_text(frame("TEXT_MESSAGE_PART", payload, str(number)))
    assert server.said[-2:] == ["\ufffd", "😀"]


def test_halves_elsewhere_are_replaced_on_arrival(server: Side) -> None:
    params = {"half \ud83d": ["\ude00", {"whole": "\ud83d\ude00"}]}
    call = {"call_id": new_id(), "tool": "t\ud83d", "params": params}
    server.events += server.peer.receive_text(frame("TOOL_CALL", call))
    [received] = server.happened(Received)
    assert received.message.payload["params"] == {"half \ufffd": ["\ufffd", {"whole": "😀"}]}
    assert received.message.payload["tool"] == "t\ufffd"


def test_halves_are_never_sent(server: Side) -> None:
    server.peer.send(part("half \ud83d, whole \ud83d\ude00"))
    [sent] = sent_by(server)
    assert sent["payload"]["text"] == "half \ufffd, whole 😀"
    message = HaipMessage(HaipEventType.PING, {"nonce": "\ud83d"}, HaipEnvelope(channel=SYSTEM))
    assert read_text(write_text(message)).payload == {"nonce": "\ufffd"}


# Handshakes of new connections


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (frame("PING", {}), "PROTOCOL_VIOLATION"),
        (frame("HAI", {}), "INVALID_MESSAGE"),
        (hai(accept_major=[2]), "VERSION_INCOMPATIBLE"),
        (hai("x", last_rx_seq="1"), "SEQ_VIOLATION"),
    ],
)
def test_a_refused_handshake_changes_nothing(server: Side, text: str, code: str) -> None:
    server.peer.send(part("one"))
    with pytest.raises(HaipProtocolError, match=code):
        server.peer.enter(read_text(text))
    assert server.peer.is_handshaken
    assert [message["payload"].get("text") for message in sent_by(server)] == ["one"]


def test_a_lenient_peer_resumes_after_the_last_ack_that_it_received() -> None:
    wire = Wire()
    server = wire.server.peer
    server.enter(read_text(hai("1795000000000")))
    for text in ("one", "two", "three"):
        server.send(part(text))
    frames = [json.loads(sent.text or "") for sent in server.take_outgoing()]
    said = {message["payload"]["text"]: message for message in frames if "text" in message["payload"]}
    assert all(message["ack"] == message["seq"] for message in frames if message["type"] != "HAI")
    again = hai("1795000000001", last_rx_seq=said["one"]["ack"])
    events = server.enter(read_text(again))
    assert [event.resumed for event in events if isinstance(event, Handshaken)] == [True]
    hello, *repeated = [json.loads(sent.text or "") for sent in server.take_outgoing()]
    # The handshake itself counts as the last message only once those before it have arrived.
    assert (hello["type"], hello["ack"]) == ("HAI", said["one"]["ack"])
    assert [message["payload"].get("text") for message in repeated] == ["two", "three"]


# Credits


def test_a_client_takes_no_credits_that_the_reference_server_did_not_grant() -> None:
    clock = Clock()
    client = HaipPeer(PeerConfig("client", clock))
    flow = {"flow_control": {"initial_credit_messages": 2, "initial_credit_bytes": 10_000}}
    client.receive_text(hai("1795000000000", capabilities=flow))
    [waits] = client.check([part("x")])
    assert [client.try_send(waits) for _ in range(3)] == [True, True, False]
    client.ask_for_credits("USER", waits)
    assert client.due is not None
    clock.now += 1
    assert [type(event) for event in client.tick()] == [CreditsChanged]
    assert not client.try_send(waits)
    with pytest.raises(HaipFlowControlError, match="the server grants no new ones"):
        client.ask_for_credits("USER", waits)
    assert client.due is None
    grant = frame("FLOW_UPDATE", {"channel": "USER", "add_messages": 1}, "1795000000001")
    client.receive_text(grant)
    assert client.try_send(waits)
