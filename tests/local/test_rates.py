"""The counting of rates, by itself: any second, and the roll-up windows of appends."""

from __future__ import annotations

import tracemalloc
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.local import Limits, LocalServerOptions, MemoryStorage
from ably_ai_transport.local.auth.capability import EVERYTHING
from ably_ai_transport.local.auth.credentials import Identity
from ably_ai_transport.local.core.acks import Slot
from ably_ai_transport.local.core.commits import Commits
from ably_ai_transport.local.core.connection import Connection
from ably_ai_transport.local.core.limits import Quota
from ably_ai_transport.local.core.rates import PERIOD_MS, AppendWindows, RollingRate, take
from ably_ai_transport.local.core.rollup import Rollup
from ably_ai_transport.local.protocol.messages import parse_submission
from ably_ai_transport.local.protocol.refusals import RefusedError
from tests.local.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.protocol.messages import Submission

WINDOW_MS = 40

gaps = st.one_of(
    st.just(0), st.integers(1, 50), st.integers(1, 2 * PERIOD_MS), st.sampled_from([499, 500, 501, 999, 1000])
)


def limit(clock: ManualClock, rate: int) -> RollingRate:
    return RollingRate(rate, clock, 42911, "connection.inboundRate")


def passes(rate: RollingRate, size: int = 1) -> bool:
    try:
        take([rate], size)
    except RefusedError:
        return False
    return True


def in_the_last_second(messages: list[tuple[int, int]], now: int) -> int:
    return sum(size for when, size in messages if now - PERIOD_MS < when <= now)


@given(st.integers(1, 8), st.lists(st.tuples(gaps, st.integers(1, 10)), max_size=60))
def test_no_second_takes_more_than_the_rate_and_none_takes_less(
    rate: int, publishes: list[tuple[int, int]]
) -> None:
    clock = ManualClock()
    limited = limit(clock, rate)
    taken: list[tuple[int, int]] = []
    for gap, size in publishes:
        clock.advance(gap)
        now = clock.now()
        before = in_the_last_second(taken, now)
        fits = before + size <= rate
        is_alone = before == 0
        assert passes(limited, size) == (fits or is_alone)
        if fits or is_alone:
            taken.append((now, size))
    largest = max((size for _, size in publishes), default=0)
    for when, _ in taken:
        assert in_the_last_second(taken, when + PERIOD_MS - 1) <= max(rate, largest)


@given(st.integers(1, 8), st.lists(gaps, max_size=80))
def test_below_the_rate_nothing_is_refused(rate: int, between: list[int]) -> None:
    clock = ManualClock()
    limited = limit(clock, rate)
    offered: list[tuple[int, int]] = []
    for gap in between:
        clock.advance(gap)
        if in_the_last_second(offered, clock.now()) < rate:
            offered.append((clock.now(), 1))
            assert passes(limited)


@given(st.integers(1, 8), st.lists(st.tuples(gaps, st.integers(0, 100_000)), max_size=60))
def test_a_wall_clock_that_steps_back_neither_blocks_nor_frees_a_rate(
    rate: int, publishes: list[tuple[int, int]]
) -> None:
    steady, stepping = ManualClock(), ManualClock()
    expected, limited = limit(steady, rate), limit(stepping, rate)
    for gap, step in publishes:
        steady.advance(gap)
        stepping.advance(gap)
        assert passes(limited) == passes(expected)
        stepping.time -= step
        passes(limited)
        passes(expected)


def test_a_refusal_of_one_limit_counts_for_no_other() -> None:
    clock = ManualClock()
    narrow, wide = limit(clock, 1), limit(clock, 3)
    take([wide, narrow], 1)
    for _ in range(10):
        with pytest.raises(RefusedError, match="permitted = 1/s"):
            take([wide, narrow], 1)
    assert [passes(wide) for _ in range(3)] == [True, True, False]


def growth(run: Callable[[], None]) -> int:
    """Return how many bytes more are in use after further runs."""
    run()
    tracemalloc.start()
    try:
        run()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(5):
            run()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_a_rate_keeps_no_more_than_a_second() -> None:
    clock = ManualClock()
    limited = limit(clock, 1_000_000)

    def publish_for_two_seconds() -> None:
        for _ in range(2 * PERIOD_MS):
            clock.advance(1)
            assert passes(limited, 3)

    assert growth(publish_for_two_seconds) < 20_000


class Stream:
    """Appends of one connection that are rolled up and counted."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.connection = Connection(
            Identity("app.key", "alice", EVERYTHING),
            options=LocalServerOptions(),
            clock=self.clock,
            commits=Commits(MemoryStorage()),
            quota=Quota(Limits()),
            server_id="local",
        )
        self.connection.rollup_ms = WINDOW_MS
        self.published = 0
        self.counted = 0
        self._rollup = Rollup(self.clock, self._publish)
        self._windows = AppendWindows(self.clock)

    def append(self, serial: str) -> None:
        submission = parse_submission({"action": 5, "serial": serial, "data": "x"})
        self._rollup.offer(self.connection, "c", submission, Slot(0))
        if not self._windows.is_counted(("c", serial), WINDOW_MS):
            self._windows.add(("c", serial), WINDOW_MS)
            self.counted += 1

    def _publish(self, _connection: Connection, _label: str, _append: Submission, slots: list[Slot]) -> None:
        assert slots
        self.published += 1


@given(
    st.lists(
        st.tuples(
            st.one_of(st.integers(0, 25), st.sampled_from([39, 40, 41, 80, 200])), st.sampled_from("ab")
        )
    )
)
def test_appends_count_as_the_messages_that_roll_up_makes_of_them(appends: list[tuple[int, str]]) -> None:
    stream = Stream()
    for gap, serial in appends:
        stream.clock.advance(gap)
        stream.append(serial)
    stream.clock.advance(WINDOW_MS)
    assert stream.counted == stream.published


def test_a_stream_of_any_speed_counts_25_times_a_second() -> None:
    # Ably docs, token rate limits: the default window of 40 ms.
    for gap in (1, 3, 7, 20):
        stream = Stream()
        for _ in range(10_000 // gap):
            stream.clock.advance(gap)
            stream.append("a")
        assert abs(stream.counted - 10 * 25) <= 1, gap


def test_windows_of_finished_streams_are_forgotten() -> None:
    clock = ManualClock()
    windows = AppendWindows(clock)
    numbers = count()

    def stream() -> None:
        for _ in range(1000):
            clock.advance(1)
            windows.add(("c", str(next(numbers))), WINDOW_MS)

    assert growth(stream) < 20_000


def test_without_a_window_each_append_counts() -> None:
    windows = AppendWindows(ManualClock())
    windows.add(("c", "a"), 0)
    assert not windows.is_counted(("c", "a"), 0)
