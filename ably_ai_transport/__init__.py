"""Durable AI sessions over Ably channels, wire-compatible with the npm package ``@ably/ai-transport``.

An agent publishes *runs* into a *session*, which is one Ably channel; any client that opens the session,
now or later, sees the same conversation and can take part in it.

What is below is the public API. Its further rooms are :mod:`ably_ai_transport.codec` for those who write a
codec, :mod:`ably_ai_transport.conversation` for those who want the conversation without a channel, and
:mod:`ably_ai_transport.local` for the embedded server.
"""

import logging
from typing import TYPE_CHECKING

from ably_ai_transport.channel import ChannelClient
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
    CancelRequest,
    ClientRun,
    ClientSession,
    ClientView,
    RunHooks,
    RunStep,
    SessionTree,
    SteerOutcome,
    SteerResult,
    StreamResult,
    View,
    page_until_located,
    with_agent_session,
)
from ably_ai_transport.version import __version__
from ably_ai_transport.wire import (
    AITransportError,
    CapabilityError,
    ChannelRefusedError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    MessageAction,
    NotFoundInTimeError,
    OutboundMessage,
    RateLimitedError,
    SessionClosedError,
    error_is,
)

if TYPE_CHECKING:
    from ably_ai_transport.wire import Invocation, InvocationData


def __getattr__(name: str) -> object:
    """Load the invocation, and pydantic with it, when it is asked for: most of the start-up time is there."""
    if name in ("Invocation", "InvocationData"):
        from ably_ai_transport import wire

        return getattr(wire, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# A library is silent until its user asks for its log.
logging.getLogger("ably_ai_transport").addHandler(logging.NullHandler())

__all__ = [
    "AITransportError",
    "AbortSignal",
    "AgentRun",
    "AgentSession",
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
    "ConversationNode",
    "ErrorCode",
    "InboundMessage",
    "InputNode",
    "InvalidArgumentError",
    "Invocation",
    "InvocationData",
    "MessageAction",
    "NotFoundInTimeError",
    "OutboundMessage",
    "OutputFolded",
    "RateLimitedError",
    "RunHooks",
    "RunInfo",
    "RunNode",
    "RunStatus",
    "RunStep",
    "SessionClosedError",
    "SessionTree",
    "SteerOutcome",
    "SteerResult",
    "StepInfo",
    "StreamResult",
    "View",
    "__version__",
    "error_is",
    "page_until_located",
    "with_agent_session",
]
