"""The fuzzer itself: what it finds, and what it takes for a refusal."""

import asyncio
import logging
from typing import Any, cast

import pytest
from hypothesis import strategies as st

from tests.fuzz import __main__ as command
from tests.fuzz.runner import Report, fuzz, read_input, write_input
from tests.fuzz.target import BrokenPromiseError, Target
from tests.fuzz.values import TEXTS, as_json, changed, encode_json, encode_msgpack, read_json, read_msgpack

_SAMPLES: list[Any] = [{"action": 15, "messages": [{"extras": {"a": 1}, "data": "text"}]}]


class BugError(Exception):
    """The mistake in a parser."""


def run(target: Target, examples: int = 600) -> Report:
    return fuzz(target, seconds=60, first_seed=1, examples=examples)


def test_a_bug_deep_in_a_structure_is_found_with_a_small_input() -> None:
    def parse(value: object) -> None:
        match cast("dict[str, Any]", value):
            case {"messages": [{"extras": {"a": int(number)}}, *_]} if number >= 2**64:
                raise BugError
            case _:
                pass

    report = run(Target("buggy", changed(_SAMPLES), parse))
    [finding] = report.findings.values()
    assert "BugError" in finding.signature
    assert list(cast("dict[str, object]", finding.value)) == ["messages"] or len(repr(finding.value)) < 100
    assert "raise Bug" in finding.trace


def test_failures_are_told_apart_by_their_kind() -> None:
    def parse(value: int) -> None:
        if value > 5:
            raise BugError
        if value < -5:
            raise BrokenPromiseError("a small number is read")

    report = run(Target("two", st.integers(-100, 100), parse))
    assert sorted(report.findings) == ["BugError", "a small number is read"]
    assert report.findings["BugError"].value == 6
    assert report.findings["BugError"].count > 1


def test_refusals_are_no_failures() -> None:
    def parse(value: int) -> None:
        raise KeyError(value)

    assert not run(Target("refuses", st.integers(), parse, (LookupError,)), 50).findings


def test_what_is_logged_or_left_behind_is_a_failure() -> None:
    def log(_: int) -> None:
        try:
            raise BugError
        except BugError:
            logging.getLogger("ably_ai_transport.fuzzed").exception("unable to read")

    async def leave_behind(_: int) -> None:
        asyncio.get_running_loop().call_soon(raise_bug)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def raise_bug() -> None:
        raise BugError

    assert list(run(Target("logs", st.integers(), log), 5).findings) == ["an error was logged · BugError"]
    left = run(Target("leaves", st.integers(), leave_behind), 5).findings
    assert list(left) == ["an exception was left behind in the event loop · BugError"]
    assert not run(Target("reports", st.integers(), log, (BugError,)), 5).findings


def test_a_seed_repeats_its_inputs() -> None:
    def inputs(seed: int) -> list[Any]:
        seen: list[Any] = []
        fuzz(Target("seeded", changed(_SAMPLES), seen.append), seconds=60, first_seed=seed, examples=50)
        return [write_input(value) for value in seen]

    assert inputs(7) == inputs(7)
    assert inputs(7) != inputs(8)


def test_a_mistake_in_a_strategy_is_raised() -> None:
    def broken(_: int) -> int:
        raise BugError

    with pytest.raises(BugError):
        run(Target("mistaken", st.integers().map(broken), lambda _: None), 5)


def test_inputs_are_read_as_they_were_written() -> None:
    value = {"a": [1, -2.5, float("inf"), None, True, b"\xff", "\ud800é"], "": (1, ())}
    assert read_input(write_input(value)) == value
    for text in ("__import__('os')", "x", "1 +", "[" * 10_000):
        with pytest.raises(ValueError, match=r"."):
            read_input(text)


def test_the_command_reports_failures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def parse(value: str) -> None:
        if "\ud800" in value:
            raise BugError

    target = Target("room.buggy", st.sampled_from(TEXTS), parse)
    monkeypatch.setattr(command, "TARGETS", (target,))
    assert command.main(["--seconds", "1", "--seed", "3"]) == 1
    shown = capsys.readouterr().out
    assert "FUZZ_SEED=3" in shown
    assert "smallest input: '\\ud800'" in shown
    assert command.main(["--target", "other"]) == 2
    assert command.main(["--target", "room", "--input", "'a'"]) == 0
    with pytest.raises(BugError):
        command.main(["--target", "room.buggy", "--input", r"'\ud800'"])
    monkeypatch.setattr(command, "TARGETS", (Target("room.fine", st.sampled_from(TEXTS), lambda _: None),))
    assert command.main(["--seconds", "0.2"]) == 0


def test_hostile_values_are_written_in_both_formats() -> None:
    value = {
        "deep": "<depth 100>",
        "digits": "<5000 digits>",
        "big": 2**64,
        "half": "\ud800",
        "nan": float("nan"),
    }
    assert b'"digits": 99999' in encode_json(value)
    assert b'"deep": [[[' in encode_json(value)
    assert b"\xa4deep\x91\x91" in encode_msgpack(value)
    assert as_json({1: b"\xff"}) == {"1": "ÿ"}
    for data in (b"NaN", b'"\xff"', b'"\\ud800'):
        with pytest.raises(ValueError, match=r"."):
            read_json(data)
    with pytest.raises(ValueError, match=r"."):
        read_msgpack(b"\x81\x01\x01")
