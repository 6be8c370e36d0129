"""Events made up for those who join too late to see the real ones."""

from collections.abc import Mapping

import pytest

from ably_ai_transport.codec.table.lead_in import LifecyclePhase, LifecycleTracker


def build_start(context: Mapping[str, str | None]) -> list[str]:
    return [f"start {context.get('id')}"]


def build_step(context: Mapping[str, str | None]) -> list[str]:
    return ["step", f"of {context.get('id')}"]


@pytest.fixture
def tracker() -> LifecycleTracker[str]:
    return LifecycleTracker([LifecyclePhase("start", build_start), LifecyclePhase("step", build_step)])


def test_missing_phases_are_made_up_once_and_in_order(tracker: LifecycleTracker[str]) -> None:
    assert tracker.ensure_phases("run", {"id": "m1"}) == ["start m1", "step", "of m1"]
    assert tracker.ensure_phases("run", {"id": "m1"}) == []


def test_a_phase_that_was_seen_is_not_made_up(tracker: LifecycleTracker[str]) -> None:
    tracker.mark_emitted("run", "start")
    assert tracker.ensure_phases("run", {"id": None}) == ["step", "of None"]


def test_a_phase_that_ended_is_made_up_again(tracker: LifecycleTracker[str]) -> None:
    tracker.ensure_phases("run", {})
    tracker.reset_phase("run", "step")
    assert tracker.ensure_phases("run", {"id": "m2"}) == ["step", "of m2"]


def test_scopes_do_not_know_of_each_other(tracker: LifecycleTracker[str]) -> None:
    tracker.ensure_phases("one", {})
    tracker.reset_phase("never seen", "start")
    tracker.clear_scope("never seen")
    assert len(tracker.ensure_phases("two", {})) == 3
    tracker.clear_scope("one")
    assert len(tracker.ensure_phases("one", {})) == 3
    assert tracker.ensure_phases("two", {}) == []


def test_marks_of_unknown_phases_do_not_hide_known_ones(tracker: LifecycleTracker[str]) -> None:
    tracker.mark_emitted("run", "other")
    tracker.mark_emitted("run", "another")
    assert len(tracker.ensure_phases("run", {})) == 3
