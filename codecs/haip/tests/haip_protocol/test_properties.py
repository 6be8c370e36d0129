"""Properties of two peers: each message arrives once, in order, within credits, and fits the schema."""

from collections.abc import Sequence
from typing import Any

import pytest
from ably_ai_transport_haip.protocol import (
    FlowControlConfig,
    HaipChannel,
    HaipEnvelope,
    HaipEventType,
    HaipFlowControlError,
    HaipMessage,
    Lost,
    Violated,
    new_id,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.haip_wire import Wire, part, schema_check

USER, AGENT = HaipChannel.USER, HaipChannel.AGENT

steps = st.lists(
    st.one_of(
        st.tuples(st.just("up"), st.integers(1, 5)),
        st.tuples(st.just("down"), st.integers(1, 5)),
        st.tuples(st.just("flow"), st.just(0)),
        st.tuples(st.just("cut"), st.integers(0, 8)),
        st.tuples(st.just("lose up"), st.integers(0, 3)),
        st.tuples(st.just("lose down"), st.integers(0, 3)),
    ),
    max_size=30,
)


@settings(deadline=None)
@given(steps)
def test_nothing_is_lost_doubled_or_out_of_order(steps: Sequence[tuple[str, int]]) -> None:
    wire = Wire(credits_=8)
    wire.connect()
    up: list[str] = []
    down: list[str] = []
    for what, count in steps:
        match what:
            case "up" | "down":
                side, said = (wire.client, up) if what == "up" else (wire.server, down)
                for _ in range(count):
                    said.append(f"{what} {len(said)}")
                    side.peer.send(part(said[-1], USER if what == "up" else AGENT), queue=True)
            case "cut":
                wire.cut(up=count, down=8 - count)
                wire.connect()
            case "lose up":
                frames = wire.client.peer.take_outgoing()
                for i, frame in enumerate(frames):
                    if i != count:
                        wire.deliver(frame, wire.server)
            case "lose down":
                frames = wire.server.peer.take_outgoing()
                for i, frame in enumerate(frames):
                    if i != count:
                        wire.deliver(frame, wire.client)
            case _:
                wire.flow()
    # A lost frame is noticed with the next one.
    for _ in range(4):
        for side in (wire.client, wire.server):
            side.peer.send(HaipMessage(HaipEventType.PING, {}))
        wire.flow()
        wire.clock.now += 1
        wire.client.peer.tick()
        wire.server.peer.tick()
        wire.flow()
    assert wire.server.said == up
    assert wire.client.said == down
    for side in (wire.client, wire.server):
        assert not side.happened(Violated)
        assert not side.happened(Lost)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["send", "queue", "grant", "flow", "big"]), max_size=40),
    st.integers(0, 5),
    st.integers(1, 8),
)
def test_credits_are_never_negative_and_nobody_starves(
    steps: Sequence[str], initial: int, received: int
) -> None:
    wire = Wire(FlowControlConfig(initial_credits=initial, initial_credit_bytes=2000), credits_=received)
    wire.connect()
    sent: list[str] = []
    for i, what in enumerate(steps):
        try:
            match what:
                case "send":
                    wire.client.peer.send(part(f"t{i}"))
                    sent.append(f"t{i}")
                case "queue" | "big":
                    text = f"t{i}" + "x" * (700 if what == "big" else 0)
                    wire.client.peer.send(part(text), queue=True)
                    sent.append(text)
                case "grant":
                    wire.server.peer.grant(USER, 1, 100)
                case _:
                    wire.flow()
        except HaipFlowControlError:
            pass
        assert wire.client.peer.credits.messages(USER) >= 0
        assert wire.client.peer.credits.bytes(USER) >= 0
    for _ in range(2 * len(steps)):
        wire.server.peer.grant(USER, 1, 1000)
        wire.flow()
    assert wire.server.said == sent
    assert wire.client.peer.waiting(USER) == 0
    assert not wire.server.happened(Violated)


uuids = st.builds(new_id)
short = st.text(max_size=20)
numbers = st.integers(0, 10**19).map(str)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | short,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(short, inner, max_size=3),
    max_leaves=5,
)
objects = st.dictionaries(short, json_values, max_size=3)
channels = st.sampled_from(list(HaipChannel))


def fields(required: dict[str, Any], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


PAYLOADS: dict[HaipEventType, st.SearchStrategy[Any]] = {
    HaipEventType.RUN_STARTED: fields({}, run_id=uuids, thread_id=short, metadata=objects),
    HaipEventType.RUN_FINISHED: fields(
        {}, status=st.sampled_from(["OK", "CANCELLED", "ERROR"]), summary=short
    ),
    HaipEventType.RUN_CANCEL: fields({"run_id": uuids}),
    HaipEventType.RUN_ERROR: fields({"code": short, "message": short}, related_id=uuids, detail=objects),
    HaipEventType.PING: fields({}, nonce=short),
    HaipEventType.MESSAGE_START: fields({"message_id": uuids}, author=short, text=short),
    HaipEventType.MESSAGE_PART: fields({"message_id": uuids, "text": short}),
    HaipEventType.MESSAGE_END: fields({"message_id": uuids}, tokens=numbers),
    HaipEventType.TOOL_CALL: fields({"call_id": uuids, "tool": short}, params=objects),
    HaipEventType.TOOL_UPDATE: fields(
        {"call_id": uuids, "status": st.sampled_from(["QUEUED", "RUNNING", "CANCELLING"])},
        progress=st.integers(0, 100) | st.floats(0, 100),
        partial=json_values,
    ),
    HaipEventType.TOOL_DONE: fields(
        {"call_id": uuids}, status=st.sampled_from(["OK", "CANCELLED", "ERROR"]), result=json_values
    ),
    HaipEventType.TOOL_CANCEL: fields({"call_id": uuids}, reason=short),
    HaipEventType.TOOL_LIST: fields(
        {"tools": st.lists(fields({"name": short}, description=short), max_size=3)}
    ),
    HaipEventType.TOOL_SCHEMA: fields({"tool": short, "schema": objects}),
    HaipEventType.FLOW_UPDATE: fields(
        {"channel": channels}, add_messages=st.integers(1, 2**40), add_bytes=st.integers(1, 2**40)
    ),
    HaipEventType.PAUSE_CHANNEL: fields({"channel": channels}),
    HaipEventType.RESUME_CHANNEL: fields({"channel": channels}),
    HaipEventType.AUDIO_CHUNK: fields(
        {"message_id": uuids, "mime": short, "data": st.just("YWJj")}, duration_ms=numbers
    ),
    HaipEventType.ERROR: fields({"code": short, "message": short}, related_id=uuids, detail=objects),
}

messages = st.sampled_from(sorted(PAYLOADS)).flatmap(
    lambda event: st.builds(
        HaipMessage,
        st.just(event),
        PAYLOADS[event],
        st.builds(HaipEnvelope, run_id=st.none() | uuids, thread_id=st.none() | short, channel=channels),
    )
)


@settings(max_examples=300, deadline=None)
@given(st.lists(messages, min_size=1, max_size=10), st.binary(max_size=5))
def test_every_frame_is_as_the_schema_says_and_means_the_same(
    sent: Sequence[HaipMessage], sound: bytes
) -> None:
    wire = Wire(check=schema_check())
    wire.connect()
    audio = HaipMessage(
        HaipEventType.AUDIO_CHUNK,
        {"message_id": new_id(), "mime": "audio/wav"},
        HaipEnvelope(channel=HaipChannel.AUDIO_IN),
        bin_mime="audio/wav",
        binary=sound or b"-",
    )
    for message in (*sent, audio):
        wire.client.peer.send(message)
    wire.flow()
    came = [m for m in wire.server.received if m.type is not HaipEventType.PONG]
    assert [(m.type, dict(m.payload), m.envelope.channel) for m in came] == [
        (m.type, dict(m.payload), m.envelope.channel) for m in (*sent, audio)
    ]
    assert came[-1].binary == audio.binary


def test_the_schema_is_looked_at_where_it_is_there() -> None:
    check = schema_check()
    if check is None:
        return
    with pytest.raises(Exception, match="is a required property"):
        check({"type": "PING"})
