"""Recorded conversations look the same on either side, after every message that a participant received."""

import asyncio
import re
from typing import Final

import pytest

from integration_tests.differential.compare import differences, unexplained
from integration_tests.differential.ours import Player
from integration_tests.differential.script import Json, Script, message_to_json
from integration_tests.differential.theirs import Theirs
from tests.support import transcripts
from tests.support.transcripts import Delivered, HistoryFetched, Participant

REFUSED: Final = "ait-nack"
"""Recordings of a refused append: the npm package's followers keep a text with a hole."""

pytestmark = pytest.mark.skipif(not transcripts.FOLDER.exists(), reason="no recorded conversations here")


def _cases() -> list[tuple[str, str]]:
    return [
        (scenario, name)
        for scenario in transcripts.scenarios("ait-")
        for name, participant in transcripts.load(scenario).participants.items()
        if participant.delivered
    ]


def script_of(participant: Participant) -> Script:
    """Take down what a participant received, and when it read the past."""
    walks = participant.walks()
    limits = [event.limit for event in participant.events if isinstance(event, HistoryFetched)]
    codec = "openai" if participant.adapter == "openai-responses" else "vercel"
    script = Script(walks[0] if walks else (), limits[0] if limits else 100, codec=codec)
    load = {"op": "loadOlder", "view": 0, "limit": 1000}
    for event in participant.events:
        if isinstance(event, Delivered):
            script.steps += [{"op": "deliver", "message": message_to_json(m)} for m in event.messages]
        elif isinstance(event, HistoryFetched) and event.first:
            script.steps.append(load)
    script.steps.append(load)
    return script


async def live_through(script: Script) -> list[Json]:
    async with Player.of(script) as player:
        return [await player.take(step) for step in script.steps]


@pytest.mark.parametrize(("scenario", "name"), [case for case in _cases() if not case[0].startswith(REFUSED)])
def test_a_recorded_conversation(theirs: Theirs, scenario: str, name: str) -> None:
    script = script_of(transcripts.load(scenario).participants[name])
    [shown] = theirs.play([script])
    assert list(unexplained(script.steps, asyncio.run(live_through(script)), shown)) == []


@pytest.mark.parametrize(("scenario", "name"), [case for case in _cases() if case[0].startswith(REFUSED)])
def test_a_refused_append_leaves_no_hole_here(theirs: Theirs, scenario: str, name: str) -> None:
    script = script_of(transcripts.load(scenario).participants[name])
    [shown] = theirs.play([script])
    ours = asyncio.run(live_through(script))
    lines = [line for here, there in zip(ours, shown, strict=True) for line in differences(here, there)]
    texts = [line for line in lines if ".text: " in line]
    for line in texts:
        said = re.fullmatch(r".*\.text: here '(.*)', there '(.*)'", line)
        assert said is not None
        assert said[1].endswith(said[2])
    assert all(line in texts or line.startswith(".heard.outputs") for line in lines)
    replies = [
        entry["message"]["parts"][-1]["text"]
        for entry in ours[-1]["views"][0]["messages"]
        if entry["message"]["role"] == "assistant"
    ]
    whole = transcripts.load_expected(scenario)["late"]["messages"]
    assert replies == [
        entry["message"]["parts"][-1]["text"] for entry in whole if entry["message"]["role"] == "assistant"
    ]
