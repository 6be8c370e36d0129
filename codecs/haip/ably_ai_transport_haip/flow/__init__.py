"""Flow-control helpers: a queue, a monitor, paused channels, figures, and a mock for tests."""

from ably_ai_transport_haip.flow.channels import ChannelManager
from ably_ai_transport_haip.flow.metrics import FlowControlMetrics, FlowMetrics
from ably_ai_transport_haip.flow.mock import MockFlowControl
from ably_ai_transport_haip.flow.monitor import ChannelCredits, FlowControlMonitor
from ably_ai_transport_haip.flow.queue import CreditAwareQueue

__all__ = [
    "ChannelCredits",
    "ChannelManager",
    "CreditAwareQueue",
    "FlowControlMetrics",
    "FlowControlMonitor",
    "FlowMetrics",
    "MockFlowControl",
]
