"""Sessions that are traced and measured, in memory."""

from collections.abc import Generator

import pytest
from opentelemetry.trace import INVALID_SPAN, get_current_span

from ably_ai_transport.telemetry import uninstrument
from tests.telemetry.seen import Seen


@pytest.fixture
def seen() -> Generator[Seen]:
    """What is seen of the sessions that a test opens."""
    seen = Seen()
    seen.instrument()
    yield seen
    uninstrument()
    assert get_current_span() is INVALID_SPAN
    assert seen.open_spans == []
