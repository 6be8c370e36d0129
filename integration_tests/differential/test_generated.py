"""Generated conversations look the same on either side, after every step.

``make differential`` tries many more of them than ``make test`` does.
"""

import asyncio
import os
from random import Random
from typing import Final

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from integration_tests.differential.compare import unexplained, unexplained_at_the_end
from integration_tests.differential.generator import Composer, Plan, Scene
from integration_tests.differential.theirs import Theirs

CASES: Final = int(os.environ.get("AIT_CASES", "0"))
"""Number of conversations of each kind to try; if unset, a few fixed ones."""

given_more = settings(
    max_examples=CASES or 40,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
seeds = st.integers(0, 2**32 - 1)
turns = st.integers(1, 50)
"""The same seed gives the same conversation; fewer turns give its beginning."""


def live_through(seed: int, plan: Plan) -> Scene:
    scene = asyncio.run(Composer(Random(seed), plan).compose())  # noqa: S311 - nothing is secret here
    note(f"{len(scene.script.history)} messages in history, steps:")
    for i, step in enumerate(scene.script.steps):
        note(f"{i}: {step}")
    return scene


def check_each_step(theirs: Theirs, scene: Scene) -> None:
    [shown] = theirs.play([scene.script])
    assert list(unexplained(scene.script.steps, scene.shown, shown)) == []


@given_more
@given(seeds, turns, st.integers(1, 2))
def test_what_a_client_lives_through(theirs: Theirs, seed: int, turns: int, views: int) -> None:
    check_each_step(theirs, live_through(seed, Plan(turns=turns, views=views)))


@given_more
@given(seeds, turns, st.booleans())
def test_messages_that_overtake_each_other(theirs: Theirs, seed: int, turns: int, repeated: bool) -> None:
    check_each_step(theirs, live_through(seed, Plan(turns=turns, late=True, repeated=repeated)))


@given_more
@given(seeds, turns, st.integers(1, 25), st.booleans())
def test_who_comes_late_and_reads_the_past(
    theirs: Theirs, seed: int, turns: int, past_turns: int, repeated: bool
) -> None:
    plan = Plan(past_turns=past_turns, turns=turns, repeated=repeated)
    check_each_step(theirs, live_through(seed, plan))


@given_more
@given(seeds, st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 2, 3, 7, 20, 100]), st.booleans())
def test_how_the_past_was_read_does_not_matter(
    theirs: Theirs, seed: int, turns: int, past_turns: int, page_size: int, loads_first: bool
) -> None:
    """Pages of any size, read at any time, end where the npm package ends that reads all of it at once."""
    plan = Plan(past_turns, turns, page_size, loads_first=loads_first, acts=False, repeated=seed % 3 == 0)
    scene = live_through(seed, plan)
    [shown] = theirs.play([scene.script.at_leisure()])
    assert list(unexplained_at_the_end(scene.shown, shown)) == []
