"""The wire of a session's channel: names, headers, messages, lifecycle events, invocations, errors."""

from typing import TYPE_CHECKING

from ably_ai_transport.wire import names
from ably_ai_transport.wire.errors import (
    AITransportError,
    CapabilityError,
    ChannelRefusedError,
    ErrorCode,
    InvalidArgumentError,
    NotAllowedError,
    NotFoundInTimeError,
    RateLimitedError,
    RunLostError,
    SessionClosedError,
    error_is,
    error_of,
)
from ably_ai_transport.wire.events import (
    RunEnd,
    RunLifecycleEvent,
    RunResume,
    RunStart,
    RunSuspend,
    StepEnd,
    StepLifecycleEvent,
    StepStart,
)
from ably_ai_transport.wire.headers import RunEndReason, StepEndReason
from ably_ai_transport.wire.messages import Headers, InboundMessage, MessageAction, OutboundMessage

if TYPE_CHECKING:
    from ably_ai_transport.wire.invocation import Invocation, InvocationData


def __getattr__(name: str) -> object:
    """Load the invocation, and pydantic with it, on first use: pydantic takes most of the start-up time."""
    if name in ("Invocation", "InvocationData"):
        from ably_ai_transport.wire import invocation

        return getattr(invocation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AITransportError",
    "CapabilityError",
    "ChannelRefusedError",
    "ErrorCode",
    "Headers",
    "InboundMessage",
    "InvalidArgumentError",
    "Invocation",
    "InvocationData",
    "MessageAction",
    "NotAllowedError",
    "NotFoundInTimeError",
    "OutboundMessage",
    "RateLimitedError",
    "RunEnd",
    "RunEndReason",
    "RunLifecycleEvent",
    "RunLostError",
    "RunResume",
    "RunStart",
    "RunSuspend",
    "SessionClosedError",
    "StepEnd",
    "StepEndReason",
    "StepLifecycleEvent",
    "StepStart",
    "error_is",
    "error_of",
    "names",
]
