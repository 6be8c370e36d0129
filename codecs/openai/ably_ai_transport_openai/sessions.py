"""The types of sessions with Responses, for annotations."""

from typing import TypeAlias

from ably_ai_transport import AgentRun, AgentSession, ClientRun, ClientSession, ClientView
from ably_ai_transport_openai.events import OpenAIInput, OpenAIMessage, OpenAIOutput
from ably_ai_transport_openai.projection import OpenAIProjection

ResponsesClientSession: TypeAlias = ClientSession[OpenAIInput, OpenAIOutput, OpenAIProjection, OpenAIMessage]
ResponsesClientView: TypeAlias = ClientView[OpenAIInput, OpenAIOutput, OpenAIProjection, OpenAIMessage]
ResponsesClientRun: TypeAlias = ClientRun[OpenAIInput, OpenAIOutput, OpenAIProjection, OpenAIMessage]
ResponsesAgentSession: TypeAlias = AgentSession[OpenAIInput, OpenAIOutput, OpenAIProjection, OpenAIMessage]
ResponsesAgentRun: TypeAlias = AgentRun[OpenAIInput, OpenAIOutput, OpenAIProjection, OpenAIMessage]
