"""Two node processes for all cases of a module."""

from collections.abc import Iterator

import pytest

from integration_tests.codecs.comparing import Writers
from integration_tests.differential.theirs import Theirs


@pytest.fixture(scope="module")
def writers(javascript: str) -> Iterator[Writers]:
    """The npm package, ready to write and to show."""
    with Theirs("codec.mjs") as encoders, Theirs() as sessions:
        yield Writers(encoders, sessions)
