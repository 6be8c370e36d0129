"""What travels on a session's channel: names, headers, messages, lifecycle events, invocations, errors."""

from ably_ai_transport.wire import names
from ably_ai_transport.wire.errors import AITransportError, ErrorCode, error_is
from ably_ai_transport.wire.headers import RunEndReason, StepEndReason
from ably_ai_transport.wire.invocation import Invocation, InvocationData
from ably_ai_transport.wire.lifecycle import (
    RunEnd,
    RunLifecycleEvent,
    RunResume,
    RunStart,
    RunSuspend,
    StepEnd,
    StepLifecycleEvent,
    StepStart,
)
from ably_ai_transport.wire.messages import Headers, InboundMessage, MessageAction, OutboundMessage

__all__ = [
    "AITransportError",
    "ErrorCode",
    "Headers",
    "InboundMessage",
    "Invocation",
    "InvocationData",
    "MessageAction",
    "OutboundMessage",
    "RunEnd",
    "RunEndReason",
    "RunLifecycleEvent",
    "RunResume",
    "RunStart",
    "RunSuspend",
    "StepEnd",
    "StepEndReason",
    "StepLifecycleEvent",
    "StepStart",
    "error_is",
    "names",
]
