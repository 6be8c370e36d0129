"""Sessions of clients and agents, their runs and views: the objects that applications hold."""

from ably_ai_transport.session.agent.durable import page_until_located, with_agent_session
from ably_ai_transport.session.agent.hooks import CancelRequest, RunHooks
from ably_ai_transport.session.agent.pipe import StreamResult, Write
from ably_ai_transport.session.agent.policy import RunPolicy, RunRequest
from ably_ai_transport.session.agent.run import AgentRun
from ably_ai_transport.session.agent.session import AgentSession, AgentSessionOptions
from ably_ai_transport.session.agent.steps import RunStep
from ably_ai_transport.session.base import SessionOptions
from ably_ai_transport.session.client.run import ClientRun
from ably_ai_transport.session.client.session import ClientSession
from ably_ai_transport.session.client.steering import SteerOutcome, SteerResult
from ably_ai_transport.session.client.view import ClientView
from ably_ai_transport.session.conversation import SessionTree
from ably_ai_transport.session.signals import AbortSignal, Latch
from ably_ai_transport.session.view import View

__all__ = [
    "AbortSignal",
    "AgentRun",
    "AgentSession",
    "AgentSessionOptions",
    "CancelRequest",
    "ClientRun",
    "ClientSession",
    "ClientView",
    "Latch",
    "RunHooks",
    "RunPolicy",
    "RunRequest",
    "RunStep",
    "SessionOptions",
    "SessionTree",
    "SteerOutcome",
    "SteerResult",
    "StreamResult",
    "View",
    "Write",
    "page_until_located",
    "with_agent_session",
]
