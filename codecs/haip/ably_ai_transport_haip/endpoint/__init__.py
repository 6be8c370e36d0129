"""Endpoint: the operations that clients and server sessions share, and their values."""

from ably_ai_transport_haip.endpoint.endpoint import HaipEndpoint, ToolProgress
from ably_ai_transport_haip.endpoint.options import HaipMessageOptions
from ably_ai_transport_haip.endpoint.tools import HaipTool, HaipToolCall, HaipToolResult

__all__ = [
    "HaipEndpoint",
    "HaipMessageOptions",
    "HaipTool",
    "HaipToolCall",
    "HaipToolResult",
    "ToolProgress",
]
