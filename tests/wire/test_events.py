"""Lifecycle events, read from messages; an incomplete or impossible message is no event."""

from collections.abc import Mapping

import pytest

from ably_ai_transport.wire import (
    ErrorCode,
    InboundMessage,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
    StepEnd,
    StepStart,
)
from ably_ai_transport.wire.events import read_run_lifecycle, read_step_lifecycle
from ably_ai_transport.wire.headers import build_run_headers, build_step_headers

RUN = {"run-id": "r1", "run-client-id": "c1", "invocation-id": "i1"}
STEP = {"run-id": "r1", "step-id": "x"}


def message(name: str | None, headers: Mapping[str, object]) -> InboundMessage:
    extras = {"ai": {"transport": headers}}
    return InboundMessage(name=name, serial="s1", version="s1", timestamp=7, extras=extras)


def test_a_run_start_round_trips() -> None:
    headers = build_run_headers(
        run_id="r1",
        run_client_id="c1",
        invocation_id="i1",
        parent="m7",
        fork_of="m8",
        regenerates="m9",
        input_codec_message_id="m0",
    )
    assert read_run_lifecycle(message("ai-run-start", headers)) == RunStart(
        "r1", "c1", "i1", "s1", 7, parent="m7", fork_of="m8", regenerates="m9", input_codec_message_id="m0"
    )


def test_a_bare_run_start() -> None:
    assert read_run_lifecycle(message("ai-run-start", {"run-id": "r1"})) == RunStart(
        "r1", serial="s1", timestamp=7
    )


def test_suspend_resume_and_end() -> None:
    assert read_run_lifecycle(message("ai-run-suspend", RUN)) == RunSuspend("r1", "c1", "i1", "s1", 7)
    assert read_run_lifecycle(message("ai-run-resume", RUN)) == RunResume("r1", "c1", "i1", "s1", 7)
    assert read_run_lifecycle(message("ai-run-end", RUN)) == RunEnd("r1", "c1", "i1", "s1", 7, "complete")
    cancelled = read_run_lifecycle(message("ai-run-end", {**RUN, "run-reason": "cancelled"}))
    assert cancelled == RunEnd("r1", "c1", "i1", "s1", 7, "cancelled")


@pytest.mark.parametrize(
    ("code", "read"),
    [
        ("104003", 104003),
        ("40160", 40160),
        (" 42 ", 42),
        ("1e3", 1000),
        ("", 0),
        (None, ErrorCode.STREAM_ERROR),
        ("soon", ErrorCode.STREAM_ERROR),
        ("NaN", ErrorCode.STREAM_ERROR),
        ("1_0", ErrorCode.STREAM_ERROR),
        ("١٢", ErrorCode.STREAM_ERROR),
        ("1e999", ErrorCode.STREAM_ERROR),
        ("Infinity", ErrorCode.STREAM_ERROR),
    ],
)
def test_the_error_of_a_failed_run(code: str | None, read: int) -> None:
    headers = {**RUN, "run-reason": "error", **({} if code is None else {"error-code": code})}
    end = read_run_lifecycle(message("ai-run-end", {**headers, "error-message": "model is away"}))
    assert isinstance(end, RunEnd)
    assert end.error is not None
    assert (end.error.code, end.error.message) == (read, "model is away")


def test_a_failed_run_that_does_not_say_why() -> None:
    end = read_run_lifecycle(message("ai-run-end", {**RUN, "run-reason": "error"}))
    assert isinstance(end, RunEnd)
    assert end.error is not None
    assert (end.error.code, end.error.message) == (ErrorCode.STREAM_ERROR, "agent reported an error")


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("ai-run-start", {}),
        ("ai-run-end", {"run-id": ""}),
        ("ai-run-start", {"run-id": 7}),
        ("ai-run-pause", RUN),
        ("ai-output", RUN),
        ("ai-step-start", {**RUN, "step-id": "x"}),
        (None, RUN),
    ],
)
def test_no_event_of_a_run(name: str | None, headers: Mapping[str, object]) -> None:
    assert read_run_lifecycle(message(name, headers)) is None


def test_steps_round_trip() -> None:
    headers = build_step_headers(
        run_id="r1",
        step_id="x",
        step_start_serial="s0",
        invocation_id="i1",
        run_client_id="c1",
        input_client_id="c2",
        step_client_id="c3",
        reason="failed",
    )
    scopes = ("i1", "c1", "c2", "c3")
    assert read_step_lifecycle(message("ai-step-end", headers)) == StepEnd(
        "r1", "x", *scopes, "s1", 7, step_start_serial="s0", reason="failed"
    )
    assert read_step_lifecycle(message("ai-step-start", headers)) == StepStart("r1", "x", *scopes, "s1", 7)


def test_a_step_end_without_a_reason_is_complete() -> None:
    end = read_step_lifecycle(message("ai-step-end", {**STEP, "step-start-serial": "s0"}))
    assert isinstance(end, StepEnd)
    assert end.reason == "complete"


@pytest.mark.parametrize("reason", ["", "timed-out", "Failed"])
def test_an_unknown_reason_still_ends(reason: str) -> None:
    run = read_run_lifecycle(message("ai-run-end", {**RUN, "run-reason": reason}))
    step = read_step_lifecycle(
        message("ai-step-end", {**STEP, "step-start-serial": "s0", "step-reason": reason})
    )
    assert isinstance(run, RunEnd)
    assert isinstance(step, StepEnd)
    assert (run.reason, run.error, step.reason) == ("cancelled", None, "failed")


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("ai-step-start", {"run-id": "r1"}),
        ("ai-step-start", {"step-id": "x"}),
        ("ai-step-start", {"run-id": "r1", "step-id": ""}),
        ("ai-step-end", STEP),
        ("ai-step-end", {**STEP, "step-start-serial": ""}),
        ("ai-step-middle", {**STEP, "step-start-serial": "s0"}),
        ("ai-run-start", STEP),
    ],
)
def test_no_event_of_a_step(name: str, headers: Mapping[str, object]) -> None:
    assert read_step_lifecycle(message(name, headers)) is None
