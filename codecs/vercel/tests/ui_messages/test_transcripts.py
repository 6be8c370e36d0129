"""Recorded conversations of JavaScript peers: the same frames make the same messages."""

import pytest
from ably_ai_transport_vercel import UIMessage, text_of

from tests.support import transcripts
from tests.support.transcripts import Delivered, HistoryFetched, Participant
from tests.support.ui_messages import Follower

pytestmark = pytest.mark.skipif(not transcripts.FOLDER.exists(), reason="no recorded conversations here")

CONVERSATIONS = [name for name in transcripts.scenarios("ait-") if "openai" not in name]
DOUBLES_STEPS = ("ait-midstream", "ait-multiturn")
REPAIRED_TOO_LATE_FOR_JAVASCRIPT = "ait-nack"
"""The recorded peer ignores the update that repairs a refused append; here a rewritten stream is read."""


def follow(participant: Participant) -> dict[str, UIMessage]:
    follower = Follower()
    for event in participant.events:
        if isinstance(event, Delivered):
            follower.read(event.messages)
        elif isinstance(event, HistoryFetched):
            follower.read(reversed(event.items))
    return follower.messages()


def without_doubled_steps(message: UIMessage) -> UIMessage:
    """The recorded peer shows the start of a step twice where history arrived after live text."""
    parts = message["parts"]
    kept = [
        part
        for part, before in zip(parts, [None, *parts], strict=False)
        if part != before or part["type"] != "step-start"
    ]
    return {**message, "parts": kept}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_everyone_sees_what_the_recorded_participant_showed(name: str) -> None:
    transcript = transcripts.load(name)

    for who, expected in transcript.expected.items():
        messages = follow(transcript.participants[who.partition("_")[0]])
        for item in expected["messages"]:
            shown = messages[item["codecMessageId"]]
            if name.startswith(REPAIRED_TOO_LATE_FOR_JAVASCRIPT) and who == "client":
                assert shown["role"] == item["message"]["role"]
            elif name.startswith(DOUBLES_STEPS) and who.startswith("late"):
                assert shown == without_doubled_steps(item["message"])
            else:
                assert shown == item["message"]


@pytest.mark.parametrize("name", [name for name in CONVERSATIONS if name.startswith("ait-nack")])
def test_text_of_a_refused_append_arrives_with_its_repair(name: str) -> None:
    client = follow(transcripts.load(name).participants["client"])

    (reply,) = (message for message in client.values() if message["role"] == "assistant")
    assert text_of(reply).startswith("w0 w1 w2 ")
