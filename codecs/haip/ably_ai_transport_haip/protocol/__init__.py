"""The HAIP protocol, sans-IO: messages, sequence numbers, credits and the handshake of one peer."""

from ably_ai_transport_haip.protocol.credits import (
    CreditAccount,
    CreditLedger,
    FlowControlConfig,
    OnExhausted,
    calculate_message_credits,
)
from ably_ai_transport_haip.protocol.errors import (
    HaipAuthenticationError,
    HaipConnectionError,
    HaipError,
    HaipErrorCode,
    HaipFlowControlError,
    HaipProtocolError,
)
from ably_ai_transport_haip.protocol.events import (
    BinaryReceived,
    CreditsChanged,
    Frame,
    Handshaken,
    Lost,
    PeerEvent,
    Received,
    Violated,
)
from ably_ai_transport_haip.protocol.handshake import read_handshake
from ably_ai_transport_haip.protocol.messages import HaipEnvelope, HaipMessage, new_id, read_text, write_text
from ably_ai_transport_haip.protocol.names import PROTOCOL_VERSION, HaipChannel, HaipEventType
from ably_ai_transport_haip.protocol.outbox import Checked
from ably_ai_transport_haip.protocol.peer import HaipPeer
from ably_ai_transport_haip.protocol.peer_config import PeerConfig
from ably_ai_transport_haip.protocol.runs import FinishStatus, HaipRun, RunRegistry, RunStatus

__all__ = [
    "PROTOCOL_VERSION",
    "BinaryReceived",
    "Checked",
    "CreditAccount",
    "CreditLedger",
    "CreditsChanged",
    "FinishStatus",
    "FlowControlConfig",
    "Frame",
    "HaipAuthenticationError",
    "HaipChannel",
    "HaipConnectionError",
    "HaipEnvelope",
    "HaipError",
    "HaipErrorCode",
    "HaipEventType",
    "HaipFlowControlError",
    "HaipMessage",
    "HaipPeer",
    "HaipProtocolError",
    "HaipRun",
    "Handshaken",
    "Lost",
    "OnExhausted",
    "PeerConfig",
    "PeerEvent",
    "Received",
    "RunRegistry",
    "RunStatus",
    "Violated",
    "calculate_message_credits",
    "new_id",
    "read_handshake",
    "read_text",
    "write_text",
]
