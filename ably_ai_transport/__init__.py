"""Durable AI sessions over Ably channels, wire-compatible with the npm package ``@ably/ai-transport``.

An agent publishes *runs* into a *session*, which is one Ably channel; any client that opens the session,
now or later, sees the same conversation and can take part in it.

The names below are the public API. Other public modules are :mod:`ably_ai_transport.codec` to write a codec,
:mod:`ably_ai_transport.conversation` to use the conversation without a channel, and
:mod:`ably_ai_transport.local` for the embedded server.
"""

import logging
from typing import TYPE_CHECKING

from ably_ai_transport.channel import (
    AblyPool,
    ChannelClient,
    client_options,
    connect,
    limit_publish_rate,
    set_heartbeat_interval,
)
from ably_ai_transport.codec.contract import Codec, CodecMessage
from ably_ai_transport.conversation import (
    BranchHandle,
    ConversationNode,
    InputNode,
    OutputFolded,
    RunInfo,
    RunNode,
    RunStatus,
    StepInfo,
)
from ably_ai_transport.session import (
    AbortSignal,
    AgentRun,
    AgentSession,
    AgentSessionOptions,
    CancelRequest,
    ClientRun,
    ClientSession,
    ClientView,
    ConcurrencyPolicy,
    Latch,
    RunHooks,
    RunPolicy,
    RunRequest,
    RunStep,
    SessionOptions,
    SessionTree,
    SteerOutcome,
    SteerResult,
    StreamResult,
    View,
    Write,
    page_until_located,
    with_agent_session,
)
from ably_ai_transport.version import __version__
from ably_ai_transport.wire import (
    AITransportError,
    CapabilityError,
    ChannelRefusedError,
    DuplicateInvocationError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    MessageAction,
    NotAllowedError,
    NotFoundInTimeError,
    OutboundMessage,
    RateLimitedError,
    RunLostError,
    RunNotStartedError,
    RunRejectedError,
    RunSteeredError,
    SessionClosedError,
    error_is,
)

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation, InvocationData


def __getattr__(name: str) -> object:
    """Import the invocation on first use: pydantic takes most of the start-up time."""
    if name in ("Invocation", "InvocationData"):
        from ably_ai_transport import wire

        return getattr(wire, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public API."""
    return __all__


# A library is silent until its user asks for its log.
logging.getLogger("ably_ai_transport").addHandler(logging.NullHandler())

__all__ = [
    "AITransportError",
    "AblyPool",
    "AbortSignal",
    "AgentRun",
    "AgentSession",
    "AgentSessionOptions",
    "BranchHandle",
    "CancelRequest",
    "CapabilityError",
    "ChannelClient",
    "ChannelRefusedError",
    "ClientRun",
    "ClientSession",
    "ClientView",
    "Codec",
    "CodecMessage",
    "ConcurrencyPolicy",
    "ConversationNode",
    "DuplicateInvocationError",
    "ErrorCode",
    "InboundMessage",
    "InputNode",
    "InvalidArgumentError",
    "Invocation",
    "InvocationData",
    "Latch",
    "MessageAction",
    "NotAllowedError",
    "NotFoundInTimeError",
    "OutboundMessage",
    "OutputFolded",
    "RateLimitedError",
    "RunHooks",
    "RunInfo",
    "RunLostError",
    "RunNode",
    "RunNotStartedError",
    "RunPolicy",
    "RunRejectedError",
    "RunRequest",
    "RunStatus",
    "RunSteeredError",
    "RunStep",
    "SessionClosedError",
    "SessionOptions",
    "SessionTree",
    "SteerOutcome",
    "SteerResult",
    "StepInfo",
    "StreamResult",
    "View",
    "Write",
    "__version__",
    "client_options",
    "connect",
    "error_is",
    "limit_publish_rate",
    "page_until_located",
    "set_heartbeat_interval",
    "with_agent_session",
]
