"""One node process for all scripts of a module."""

from collections.abc import Iterator

import pytest

from integration_tests.differential.theirs import Theirs


@pytest.fixture(scope="module")
def theirs(javascript: str) -> Iterator[Theirs]:
    """The npm package, ready to play scripts."""
    with Theirs() as playing:
        yield playing


@pytest.fixture(scope="module")
def agents(javascript: str) -> Iterator[Theirs]:
    """Agents of the npm package, ready to play scripts."""
    with Theirs("differential-agent.mjs") as playing:
        yield playing
