"""The types of sessions with UI messages, for annotations."""

from typing import TypeAlias

from ably_ai_transport import AgentRun, AgentSession, ClientRun, ClientSession, ClientView
from ably_ai_transport_vercel.events import UIMessageChunk, VercelInput
from ably_ai_transport_vercel.messages import UIMessage
from ably_ai_transport_vercel.projection import VercelProjection

UIClientSession: TypeAlias = ClientSession[VercelInput, UIMessageChunk, VercelProjection, UIMessage]
UIClientView: TypeAlias = ClientView[VercelInput, UIMessageChunk, VercelProjection, UIMessage]
UIClientRun: TypeAlias = ClientRun[VercelInput, UIMessageChunk, VercelProjection, UIMessage]
UIAgentSession: TypeAlias = AgentSession[VercelInput, UIMessageChunk, VercelProjection, UIMessage]
UIAgentRun: TypeAlias = AgentRun[VercelInput, UIMessageChunk, VercelProjection, UIMessage]
