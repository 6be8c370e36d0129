"""The HAIP server. It needs the extra ``server``."""

from ably_ai_transport_haip.server.app import HaipServer
from ably_ai_transport_haip.server.auth import Authenticate, JwtAuthenticator, Principal
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.registry import SessionHandler
from ably_ai_transport_haip.server.session import HaipServerSession
from ably_ai_transport_haip.server.tools import ServerTool, ToolCall, ToolHandler

__all__ = [
    "Authenticate",
    "HaipServer",
    "HaipServerOptions",
    "HaipServerSession",
    "JwtAuthenticator",
    "Principal",
    "ServerTool",
    "SessionHandler",
    "ToolCall",
    "ToolHandler",
]
