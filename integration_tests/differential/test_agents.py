"""Any operations of an agent, valid or not, are published and shown the same by both packages."""

import asyncio
import os
from random import Random
from typing import Final

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from integration_tests.differential.agent_compare import unexplained
from integration_tests.differential.agent_generator import AgentComposer
from integration_tests.differential.theirs import Theirs

CASES: Final = int(os.environ.get("AIT_CASES", "0"))


@settings(
    max_examples=CASES or 100,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_what_agents_do(agents: Theirs, seed: int, turns: int) -> None:
    composer = AgentComposer(Random(seed), turns)  # noqa: S311 - nothing is secret here
    script, ours = asyncio.run(composer.compose())
    for i, step in enumerate(script.steps):
        note(f"{i}: {step}")
    [theirs] = agents.play([script])
    assert list(unexplained(script.steps, ours, theirs)) == []
