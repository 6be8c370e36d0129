"""Tests of the deliberate differences between the two packages' codecs: see ``docs/differences.md``."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from ably_ai_transport import OutboundMessage
from ably_ai_transport.wire import names
from integration_tests.codecs.comparing import Writers, joins
from integration_tests.codecs.writing import HEADERS, MESSAGE, Case, Written, script, write
from integration_tests.differential.script import Json
from tests.codec.fake_channel import FakeChannel

HIGH: Final = "\ud83d"
LOW: Final = "\ude00"
INPUT: Final = {"city": "Lisbon", "days": [1, 2]}
CALL: Final[Sequence[Json]] = [
    {"type": "start"},
    {"type": "start-step"},
    {"type": "tool-input-start", "toolCallId": "c1", "toolName": "weather"},
    {"type": "tool-input-available", "toolCallId": "c1", "toolName": "weather", "input": INPUT},
]


def part(shown: Json) -> Any:  # noqa: ANN401
    return shown["views"][0]["messages"][-1]["message"]["parts"][-1]


async def _replay(frames: Sequence[Json]) -> FakeChannel:
    channel = FakeChannel()
    for frame in frames:
        place = frame.get("serial")
        serial = None if place is None else channel.frames[int(place) - 1].change.serial
        message = OutboundMessage(frame.get("name"), frame.get("data"), frame["extras"], serial)
        await (channel.append(message) if frame["op"] == "append" else channel.publish([message]))
    return channel


def test_the_input_of_a_call_without_deltas(writers: Writers) -> None:
    case = Case("vercel", CALL)
    ours, theirs = write(case), writers.written_by_npm(case)
    assert [frame["data"] for frame in (ours.frames[-1], theirs[-1])] == [
        '{"city":"Lisbon","days":[1,2]}',
        "",
    ]
    # Early and late followers of both packages show the input of ours, and none of the npm package's.
    for one in (script(case, ours), *joins(case, ours, [len(ours.channel.frames)])):
        assert [part(shown)["input"] for shown in writers.shown(one)] == [INPUT, INPUT]
    replayed = Written(theirs, [], asyncio.run(_replay(theirs)))
    for shown in writers.shown(script(case, replayed)):
        assert part(shown)["state"] == "input-available"
        assert "input" not in part(shown)


def replayed(frames: Sequence[Json]) -> Written:
    return Written(list(frames), [], asyncio.run(_replay(frames)))


def test_half_a_character_waits_for_the_next_delta(writers: Writers) -> None:
    case = Case(
        "vercel",
        [
            {"type": "text-start", "id": "t"},
            {"type": "text-delta", "id": "t", "delta": f"Hi {HIGH}"},
            {"type": "text-delta", "id": "t", "delta": f"{LOW}!{HIGH}"},
            {"type": "text-end", "id": "t"},
        ],
    )
    ours, theirs = write(case), writers.written_by_npm(case)
    assert [frame["data"] for frame in ours.frames] == ["", "Hi ", "😀!", "\ufffd"]
    assert [frame["data"] for frame in theirs] == ["", f"Hi {HIGH}", f"{LOW}!{HIGH}", ""]
    assert [part(shown)["text"] for shown in writers.shown(script(case, ours))] == ["Hi 😀!\ufffd"] * 2
    # A reader in Python joins the halves of a peer, too.
    mine, other = writers.shown(script(case, replayed(theirs)))
    assert part(mine)["text"] == "Hi 😀!\ufffd"
    assert part(other)["text"] == f"Hi 😀!{HIGH}"


def test_a_second_input_of_a_streamed_call_is_left_out(writers: Writers) -> None:
    streamed: list[Json] = [
        *CALL[:3],
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": '{"city":"Lisbon"}'},
        {
            "type": "tool-input-available",
            "toolCallId": "c1",
            "toolName": "weather",
            "input": {"city": "Lisbon"},
        },
    ]
    again: Json = {"type": "tool-input-available", "toolCallId": "c1", "toolName": "weather", "input": INPUT}
    headers = {**HEADERS, names.CODEC_MESSAGE_ID: MESSAGE}
    once, twice = (Case("vercel", chunks, headers=headers) for chunks in (streamed, [*streamed, again]))
    assert write(twice).frames == write(once).frames
    theirs = writers.written_by_npm(twice)
    assert theirs[:-1] == writers.written_by_npm(once)
    assert (theirs[-1]["op"], theirs[-1]["data"]) == ("append", "")
    for written in (write(twice), replayed(theirs)):
        for shown in writers.shown(script(twice, written)):
            [*_, call] = shown["views"][0]["messages"][-1]["message"]["parts"]
            assert (call["state"], call["input"]) == ("input-available", {"city": "Lisbon"})
            assert len(shown["views"][0]["messages"][-1]["message"]["parts"]) == 2


def test_chunks_of_a_stream_without_an_id_are_refused(writers: Writers) -> None:
    nameless: list[Json] = [
        {"type": "text-start"},
        {"type": "text-delta", "delta": "a"},
        {"type": "text-end"},
        {"type": "text-start", "id": 7},
        {"type": "tool-input-start", "toolName": "weather"},
    ]
    case = Case("vercel", nameless, closes=False)
    assert write(case).errors == [40003] * len(nameless)
    theirs = writers.written_by_npm(case)
    assert [frame["op"] for frame in theirs] == ["publish", "append", "append", "publish", "publish"]
    # Both read what the npm package writes.
    for shown in writers.shown(script(case, replayed(theirs[:3]))):
        assert part(shown) == {"type": "text", "text": "a"}


def test_a_message_without_an_id_or_a_role_is_refused(writers: Writers) -> None:
    headers = {names.ROLE: "user", names.CODEC_MESSAGE_ID: "u1"}
    words = [{"type": "text", "text": "hi"}]
    for message, shown_id in (({"role": "user", "parts": words}, ""), ({"id": "x", "parts": words}, "x")):
        said: Json = {"kind": "user-message", "message": message}
        case = Case("vercel", inputs=[said], headers=headers, message_id=None)
        assert write(case).errors == [40003]
        theirs = writers.written_by_npm(case)
        for shown in writers.shown(script(case, replayed(theirs))):
            [entry] = shown["views"][0]["messages"]
            assert entry["message"] == {"id": shown_id, "role": "user", "parts": words}
