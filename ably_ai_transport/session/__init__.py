"""What applications hold: sessions of clients and agents, their runs and views."""

from ably_ai_transport.session.abort import AbortSignal
from ably_ai_transport.session.agent_run import AgentRun
from ably_ai_transport.session.agent_session import AgentSession
from ably_ai_transport.session.client_run import ClientRun
from ably_ai_transport.session.client_session import ClientSession
from ably_ai_transport.session.client_view import ClientView
from ably_ai_transport.session.durable import page_until_located, with_agent_session
from ably_ai_transport.session.materialisation import SessionTree
from ably_ai_transport.session.pipe import StreamResult
from ably_ai_transport.session.run_hooks import CancelRequest, RunHooks
from ably_ai_transport.session.run_steps import RunStep
from ably_ai_transport.session.settled import Settled
from ably_ai_transport.session.steering import SteerOutcome, SteerResult
from ably_ai_transport.session.view import View

__all__ = [
    "AbortSignal",
    "AgentRun",
    "AgentSession",
    "CancelRequest",
    "ClientRun",
    "ClientSession",
    "ClientView",
    "RunHooks",
    "RunStep",
    "SessionTree",
    "Settled",
    "SteerOutcome",
    "SteerResult",
    "StreamResult",
    "View",
    "page_until_located",
    "with_agent_session",
]
