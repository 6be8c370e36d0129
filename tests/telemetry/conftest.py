"""Sessions that are traced and measured, in memory."""

from collections.abc import Generator

import pytest

from tests.telemetry.seen import Seen, observed


@pytest.fixture
def seen() -> Generator[Seen]:
    """What is seen of the sessions that a test opens."""
    with observed() as seen:
        yield seen
