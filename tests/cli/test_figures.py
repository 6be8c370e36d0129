import io

import pytest
from rich.console import Console

from ably_ai_transport import InboundMessage, MessageAction
from ably_ai_transport.cli.demo.figures import Figures
from ably_ai_transport.local import Stats


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def frame(**message: object) -> dict[str, object]:
    return {"action": 15, "messages": [message]}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def figures(clock: Clock) -> Figures:
    return Figures(Stats(), "bob", clock)


def test_a_reply_is_counted_and_timed(figures: Figures, clock: Clock) -> None:
    figures.on_frame("c2s", "alice", frame(name="ai-input", data="?"))
    figures.on_frame("c2s", "agent", frame(name="ai-run-start", data=""))
    figures.on_frame("c2s", "agent", frame(name="ai-output", data=""))
    clock.now = 0.25
    for text in ("ab", "cde", "f"):
        figures.on_frame("c2s", "agent", frame(action=5, serial="s", data=text))
        clock.now += 0.5
    figures.on_frame("c2s", "agent", frame(action=5, serial="s", data=""))
    assert figures.appends_in == 3
    assert figures.first_tokens == [0.25]
    assert figures.appends_per_second == 2.0

    figures.on_frame("s2c", "alice", frame(action=5, serial="s", data="ab"))
    figures.on_frame("s2c", "bob", frame(action=5, serial="s", data="ab"))
    figures.on_frame("s2c", "bob", frame(action=5, serial="s", data="cdef"))
    assert figures.appends_out == 2
    figures.tokens = 3
    assert figures.merge_factor == 1.5


def test_the_lag_of_tokens_that_were_merged(figures: Figures, clock: Clock) -> None:
    for text in ("ab", "cde", "f"):
        figures.on_frame("c2s", "agent", frame(action=5, serial="s", data=text))
        clock.now += 1
    clock.now = 10
    figures.on_received(InboundMessage(action=MessageAction.APPEND, serial="s", data="ab"))
    figures.on_received(InboundMessage(action=MessageAction.APPEND, serial="s", data="cdef"))
    assert figures.latencies == [10, 9, 8]


def test_what_is_no_token_is_no_lag(figures: Figures) -> None:
    figures.on_received(InboundMessage(action=MessageAction.CREATE, serial="s", data="ab"))
    figures.on_received(InboundMessage(action=MessageAction.APPEND, serial="unknown", data="ab"))
    figures.on_frame("c2s", "agent", {"action": 10, "channel": "x"})
    assert figures.latencies == []
    assert figures.merge_factor == 0
    assert figures.appends_per_second == 0


def test_the_line_holds_as_many_figures_as_there_is_room(figures: Figures) -> None:
    figures.tokens = 1234
    figures.first_tokens = [0.5]
    figures.latencies = [0.01, 0.03, 0.02]
    whole = figures.line(200)
    assert whole.startswith("1,234 tokens · 0 appends/s · first after 500 ms · lag 20.0 ms")
    for width in range(12, 200):
        line = figures.line(width)
        assert len(line) <= width
        assert whole.startswith(line)


def test_the_table_fits_eighty_columns(figures: Figures) -> None:
    figures.tokens = 12345
    figures.latencies = [i / 1000 for i in range(100)]
    out = io.StringIO()
    Console(file=out, width=80).print(figures.table())
    lines = out.getvalue().splitlines()
    assert any("12,345" in line for line in lines)
    assert any("50.0 ms (p95 95.0 ms)" in line for line in lines)
    assert len([line for line in lines if line.strip()]) == 12
