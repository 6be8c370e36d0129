"""Errors carry codes that JavaScript peers share, and survive a trip between processes."""

import copy
import pickle

import pytest

from ably_ai_transport.wire import (
    AITransportError,
    CapabilityError,
    ChannelRefusedError,
    ErrorCode,
    InvalidArgumentError,
    NotFoundInTimeError,
    RateLimitedError,
    RunLostError,
    SessionClosedError,
    error_is,
    error_of,
)
from ably_ai_transport.wire.errors import status_code_of

CODES = {
    "BAD_REQUEST": 40000,
    "INVALID_ARGUMENT": 40003,
    "OPERATION_CANCELLED": 40033,
    "INSUFFICIENT_CAPABILITY": 40160,
    "INTERNAL_ERROR": 50000,
    "ENCODER_RECOVERY_FAILED": 104000,
    "SESSION_SUBSCRIPTION_ERROR": 104001,
    "CANCEL_LISTENER_ERROR": 104002,
    "RUN_LIFECYCLE_ERROR": 104003,
    "SESSION_CLOSED": 104004,
    "SESSION_SEND_FAILED": 104005,
    "CHANNEL_CONTINUITY_LOST": 104006,
    "CHANNEL_NOT_READY": 104007,
    "STREAM_ERROR": 104008,
    "INPUT_EVENT_NOT_FOUND": 104010,
    "HISTORY_FETCH_FAILED": 104011,
}

OWN_CODES = {"AGENT_LOST": 104050, "RUN_LOST": 104051}
"""Codes that the npm package does not have; it leaves them room."""


OURS = {"FORBIDDEN": 40300}
"""Codes of Ably that the npm package does not use."""


def test_the_codes_are_javascripts() -> None:
    assert {code.name: code.value for code in ErrorCode} == CODES | OURS | OWN_CODES
    assert min(OWN_CODES.values()) > max(CODES.values()) + 30


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (40003, 400),
        (40160, 401),
        (50000, 500),
        (10000, 100),
        (59999, 599),
        (60000, 500),
        (104004, 500),
        (9, 500),
    ],
)
def test_a_code_implies_a_status(code: int, status: int) -> None:
    assert status_code_of(code) == status
    assert AITransportError("unable to x", code).status_code == status


def test_a_status_that_is_given_wins() -> None:
    assert AITransportError("unable to x", ErrorCode.SESSION_CLOSED, 400).status_code == 400


def test_an_error_says_what_and_which() -> None:
    error = AITransportError("unable to send; channel is away", ErrorCode.SESSION_SEND_FAILED)
    assert str(error) == "unable to send; channel is away (code 104005)"
    assert type(error.code) is int


def test_a_cause_is_chained() -> None:
    cause = ValueError("bad luck")
    error = AITransportError("unable to x", 50000, cause=cause)
    assert error.cause is cause
    assert error.__cause__ is cause
    assert AITransportError("unable to x", 50000).__cause__ is None


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (ValueError("password hunter2"), "unable to send; ValueError"),
        (AITransportError("refused", 40160), "unable to send; refused"),
        (KeyError(), "unable to send; KeyError"),
    ],
)
def test_wrapping_tells_the_reason(cause: Exception, message: str) -> None:
    error = AITransportError.wrap("send", cause, ErrorCode.SESSION_SEND_FAILED)
    assert (error.message, error.code, error.cause) == (message, 104005, cause)


def test_an_error_can_be_pickled_and_copied() -> None:
    error = AITransportError("unable to x", ErrorCode.BAD_REQUEST, 418, ValueError("bad luck"))
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(other) is AITransportError
        assert (other.message, other.code, other.status_code) == ("unable to x", 40000, 418)
        assert str(other.cause) == "bad luck"


def test_an_error_is_recognised_by_its_code() -> None:
    error = AITransportError("unable to x", 104004)
    assert error_is(error, ErrorCode.SESSION_CLOSED)
    assert not error_is(error, ErrorCode.STREAM_ERROR)
    assert not error_is(ValueError("104004"), ErrorCode.SESSION_CLOSED)


def test_the_text_of_a_foreign_cause_is_shown_here_and_never_travels() -> None:
    error = AITransportError.wrap("send", ValueError("password hunter2"), ErrorCode.SESSION_SEND_FAILED)
    assert "hunter2" not in error.message
    assert str(error) == "unable to send; ValueError (code 104005): password hunter2"
    assert "hunter2" not in repr(error)


@pytest.mark.parametrize(
    ("code", "status", "kind", "builtin"),
    [
        (40003, None, InvalidArgumentError, ValueError),
        (104004, None, SessionClosedError, Exception),
        (104010, None, NotFoundInTimeError, TimeoutError),
        (104005, None, ChannelRefusedError, Exception),
        (40160, None, CapabilityError, ChannelRefusedError),
        (40101, 401, CapabilityError, ChannelRefusedError),
        (42911, 429, RateLimitedError, ChannelRefusedError),
        (104006, None, AITransportError, Exception),
        (104051, None, RunLostError, Exception),
    ],
)
def test_the_class_follows_the_code(
    code: int, status: int | None, kind: type[AITransportError], builtin: type[Exception]
) -> None:
    error = error_of("unable to x; why", code, status)
    assert type(error) is kind
    assert isinstance(error, builtin)
    assert (error.code, error.message) == (code, "unable to x; why")
    assert str(error) == f"unable to x; why (code {code})"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(again), again.code, again.status_code) == (kind, code, error.status_code)


@pytest.mark.parametrize("cause", [error_of("no", 40160), error_of("slow down", 42911)])
def test_a_wrapped_refusal_keeps_its_class(cause: AITransportError) -> None:
    error = AITransportError.wrap("send", cause, ErrorCode.SESSION_SEND_FAILED)
    assert type(error) is type(cause)
    assert error.code == ErrorCode.SESSION_SEND_FAILED


def test_a_cause_of_ours_is_shown_unless_the_message_tells_it() -> None:
    cause = error_of("unable to append; switch the rule on", 93002)
    told = AITransportError("unable to end stream", 104000, cause=cause)
    assert str(told) == "unable to end stream (code 104000): unable to append; switch the rule on"
    assert str(AITransportError.wrap("send", cause, 104005)).count("switch the rule on") == 1
