"""Tests of the pace: below the limit, lowered by refusals, raised again."""

from __future__ import annotations

import math
from bisect import bisect_left

from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.channel.ably.pacer import DEFAULT_LIMIT, STEADY_SHARE, Pacer


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def leave_all(pacer: Pacer, clock: Clock, until: float) -> list[float]:
    """Let as many messages leave as the pacer allows, and return their times."""
    times: list[float] = []
    while True:
        delay = pacer.delay()
        if clock.now + delay > until:
            clock.now = until
            return times
        clock.now += delay + 1e-9
        if pacer.delay() == 0:
            pacer.spend(1)
            times.append(clock.now)


@given(st.sampled_from([5.0, 50.0, 300.0]), st.lists(st.floats(0, 3), max_size=5))
def test_no_second_exceeds_the_limit(limit: float, pauses: list[float]) -> None:
    clock = Clock()
    pacer = Pacer(limit, clock)
    times: list[float] = []
    for pause in pauses:
        clock.now += pause
        times += leave_all(pacer, clock, clock.now + 2)
    for start in times[:: max(1, len(times) // 100)]:
        assert bisect_left(times, start + 1) - bisect_left(times, start) <= limit + 1


def test_it_uses_four_fifths_of_the_limit_steadily() -> None:
    clock = Clock()
    pacer = Pacer(50, clock)
    times = leave_all(pacer, clock, clock.now + 100)
    assert 50 * STEADY_SHARE * 100 <= len(times) <= 50 * STEADY_SHARE * 100 + 50


def test_a_refusal_halves_the_rate_once_and_time_raises_it_again() -> None:
    clock = Clock()
    pacer = Pacer(50, clock, chance=lambda: 1.0)
    sent = clock.now
    pacer.refused(sent)
    assert pacer.rate == 20
    assert pacer.delay() > 0
    # The other messages of the same burst are no news.
    pacer.refused(sent)
    assert pacer.rate == 20
    clock.now += 1
    pacer.refused(clock.now)
    assert pacer.rate == 11
    assert not pacer.is_recovered
    clock.now += 60
    assert pacer.is_recovered
    assert pacer.delay() == 0
    assert pacer.rate == 50 * STEADY_SHARE


def test_pauses_grow_while_refusals_go_on_and_are_forgotten_when_they_end() -> None:
    clock = Clock()
    pacer = Pacer(50, clock, chance=lambda: 1.0)
    pauses: list[float] = []
    for _ in range(8):
        pacer.refused(clock.now)
        pauses.append(pacer.delay())
        clock.now += 0.001
    assert pauses == sorted(pauses)
    assert pauses[-1] <= 2.0
    clock.now += 60
    pacer.accepted()
    pacer.refused(clock.now)
    assert pacer.delay() <= pauses[1]


def test_a_guessed_limit_is_tried_out_until_the_first_refusal() -> None:
    clock = Clock()
    pacer = Pacer(None, clock)
    assert pacer.rate == DEFAULT_LIMIT * STEADY_SHARE
    leave_all(pacer, clock, clock.now + 10)
    pacer.delay()
    tried = pacer.rate
    assert tried > 3 * DEFAULT_LIMIT
    pacer.refused(clock.now)
    clock.now += 1000
    pacer.delay()
    assert pacer.rate <= tried * STEADY_SHARE


def test_a_guessed_limit_is_not_tried_out_while_nothing_waits() -> None:
    clock = Clock()
    pacer = Pacer(None, clock)
    for _ in range(1000):
        clock.now += 0.05
        assert pacer.delay() == 0
        pacer.spend(1)
    assert pacer.rate == DEFAULT_LIMIT * STEADY_SHARE


def test_without_a_limit_nothing_waits_until_something_is_refused() -> None:
    clock = Clock()
    pacer = Pacer(math.inf, clock)
    pacer.spend(10_000)
    assert pacer.delay() == 0
    pacer.refused(clock.now)
    assert pacer.rate < DEFAULT_LIMIT
    assert pacer.delay() > 0
