"""Replayed recordings: a session shows what the npm package showed for the same messages."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from ably_ai_transport import AITransportError, ErrorCode, InboundMessage
from ably_ai_transport.wire import names
from tests.support import transcripts
from tests.support.replay import Session, replayed
from tests.support.showing import Json, show_messages, show_run

pytestmark = pytest.mark.skipif(not transcripts.FOLDER.exists(), reason="no recorded conversations here")


def _base(scenario: str) -> str:
    return scenario.removesuffix(".rollup40")


def _cases() -> list[tuple[str, str]]:
    return [
        (scenario, shown)
        for scenario in transcripts.scenarios("ait-")
        for shown in transcripts.load_expected(scenario)
    ]


def _ends_suspended(message: InboundMessage) -> bool:
    return message.name == names.RUN_SUSPEND


UNTIL: Final[Mapping[tuple[str, str], Callable[[InboundMessage], bool]]] = {
    ("ait-tool", "client_suspended"): _ends_suspended
}
"""For participants that showed something before the end: a test for their last message."""

SELECTED: Final[Mapping[tuple[str, str], tuple[int, int]]] = {("ait-edit", "client"): (2, 1)}
"""For a participant that chose a branch: the message and the index. An editor moves to the edit."""

SHOWN_INSTEAD: Final[Mapping[tuple[str, str], str]] = {("ait-nack", "client"): "late"}
"""For participants that show more in ours. After a refused append JS followers keep a gap in the text."""


def _without_doubled_step_starts(messages: list[Json]) -> list[Json]:
    def keep(parts: list[Json]) -> list[Json]:
        return [
            part
            for index, part in enumerate(parts)
            if part["type"] != "step-start" or index == 0 or parts[index - 1] != part
        ]

    return [
        {**entry, "message": {**entry["message"], "parts": keep(entry["message"].get("parts", []))}}
        for entry in messages
    ]


def _expected_messages(transcript: transcripts.Transcript, shown: str) -> list[Json]:
    """Return what is to be shown.

    The JS package may show a ``step-start`` twice to a late joiner; ours shows the same as to live clients.
    """
    messages: list[Json] = transcript.expected[shown]["messages"]
    live: list[Json] = transcript.expected["client"]["messages"]
    doubled = _without_doubled_step_starts(messages) == _without_doubled_step_starts(live)
    return live if doubled else messages


def _without_texts(run: Json) -> Json:
    """Drop an error's text, which the recordings leave out."""
    if "error" not in run:
        return run
    error: Mapping[str, Any] = run["error"]
    return {**run, "error": {key: error[key] for key in ("code", "statusCode")}}


def _select(session: Session, choice: tuple[int, int] | None) -> None:
    if choice is not None:
        place, index = choice
        anchor = session.view.messages[place].codec_message_id
        session.view.branch_selection(anchor).select(index)


@pytest.mark.parametrize(("scenario", "shown"), _cases())
async def test_shows_what_the_js_package_showed(scenario: str, shown: str) -> None:
    transcript = transcripts.load(scenario)
    case = (_base(scenario), shown)
    expecting = SHOWN_INSTEAD.get(case, shown)
    participant = transcript.participants[shown.partition("_")[0]]

    async with replayed(participant, until=UNTIL.get(case)) as session:
        _select(session, SELECTED.get(case))

        assert show_messages(session.view.messages) == _expected_messages(transcript, expecting)
        runs = [_without_texts(show_run(run)) for run in session.view.runs()]
        assert runs == transcript.expected[expecting]["runs"]


@pytest.mark.parametrize("scenario", ["ait-continuity", "ait-continuity.rollup40"])
async def test_a_gap_in_what_was_received_is_reported(scenario: str) -> None:
    client = transcripts.load(scenario).participants["client"]
    gaps = [event for event in client.events if isinstance(event, transcripts.Attached)][1:]

    assert [gap.resumed for gap in gaps] == [False]
    errors: list[AITransportError] = []
    async with replayed(client, on_error=errors.append):
        assert [error.code for error in errors] == [ErrorCode.CHANNEL_CONTINUITY_LOST]


@pytest.mark.parametrize("scenario", ["ait-clientdrop", "ait-clientdrop.rollup40"])
async def test_a_connection_that_was_resumed_leaves_no_gap(scenario: str) -> None:
    client = transcripts.load(scenario).participants["client"]
    errors: list[AITransportError] = []

    assert any(isinstance(event, transcripts.Attached) and event.resumed for event in client.events)
    async with replayed(client, on_error=errors.append):
        assert errors == []
