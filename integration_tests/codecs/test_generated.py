"""Generated streams are the same on the wire in both languages, and to readers who join at any time.

``make differential`` tries many more of them than ``make test`` does.
"""

import os
from collections.abc import Sequence
from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from ably_ai_transport.wire import names
from integration_tests.codecs import response_events, ui_chunks
from integration_tests.codecs.comparing import Writers, joins
from integration_tests.codecs.writing import Case, script
from integration_tests.differential.script import Json

CASES: Final = int(os.environ.get("AIT_CASES", "0"))
"""Number of sequences of each kind to try; if unset, a few fixed ones."""

given_more = settings(
    max_examples=CASES or 60,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
seeds = st.integers(0, 2**32 - 1)
lengths = st.integers(0, 40)
SAID: Final = {names.ROLE: "user", names.RUN_CLIENT_ID: "alice", names.CODEC_MESSAGE_ID: "said-1"}


def compose(codec: str, seed: int, length: int) -> Sequence[Json]:
    random = Random(seed)  # noqa: S311 - nothing is secret here
    composer = ui_chunks.ChunkComposer if codec == "vercel" else response_events.EventComposer
    events = composer(random).compose(length)
    for event in events:
        note(str(event))
    return events


@pytest.mark.parametrize("codec", ["vercel", "openai"])
@given_more
@given(seeds, lengths, st.booleans())
def test_what_agents_put_out(writers: Writers, codec: str, seed: int, length: int, closes: bool) -> None:
    case = Case(codec, compose(codec, seed, length), closes=closes)
    [(_, written)] = writers.compare_writing([case])
    count = len(written.channel.frames)
    random = Random(seed)  # noqa: S311
    places = [random.randint(0, count) for _ in range(2)]
    writers.compare_reading([script(case, written), *joins(case, written, places)])


@pytest.mark.parametrize("codec", ["vercel", "openai"])
@given_more
@given(seeds)
def test_what_clients_say(writers: Writers, codec: str, seed: int) -> None:
    compose_inputs = ui_chunks.compose_inputs if codec == "vercel" else response_events.compose_inputs
    inputs = compose_inputs(Random(seed))  # noqa: S311
    case = Case(codec, inputs=inputs, headers=SAID, message_id=None, closes=False)
    [(_, written)] = writers.compare_writing([case])
    writers.compare_reading([script(case, written), *joins(case, written, [len(written.channel.frames)])])


@pytest.mark.parametrize("codec", ["vercel", "openai"])
@given_more
@given(seeds, lengths)
def test_what_is_only_there_in_part(writers: Writers, codec: str, seed: int, length: int) -> None:
    """Some messages are missing, as for a client that has not read all of history."""
    case = Case(codec, compose(codec, seed, length))
    [(_, written)] = writers.compare_writing([case])
    random = Random(seed)  # noqa: S311
    lost = {serial for serial in written.channel.messages if random.random() < 0.3}
    whole = script(case, written)
    whole.steps = [
        {**step, "messages": [m for m in step["messages"] if m["serial"] not in lost]} for step in whole.steps
    ]
    writers.compare_reading([whole])
