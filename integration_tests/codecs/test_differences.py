"""Tests of the deliberate differences between the two packages' codecs: see ``docs/differences.md``."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from ably_ai_transport import OutboundMessage
from integration_tests.codecs.comparing import Writers, joins
from integration_tests.codecs.writing import Case, Written, script, write
from integration_tests.differential.script import Json
from tests.codec.fake_channel import FakeChannel

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
