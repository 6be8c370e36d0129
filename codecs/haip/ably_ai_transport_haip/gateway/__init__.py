"""The HAIP gateway. It needs the extra ``gateway``."""

from ably_ai_transport_haip.gateway.gateway import HaipGateway
from ably_ai_transport_haip.gateway.haip_events import HaipEventMessages
from ably_ai_transport_haip.gateway.invoke import Invoke, PostToAgent
from ably_ai_transport_haip.gateway.threads import ChannelOf, Connect, tenant_channel
from ably_ai_transport_haip.gateway.ui_messages import UIMessages
from ably_ai_transport_haip.gateway.vocabulary import Approval, Piece, Sound, TextPiece, ToolPiece, Vocabulary

__all__ = [
    "Approval",
    "ChannelOf",
    "Connect",
    "HaipEventMessages",
    "HaipGateway",
    "Invoke",
    "Piece",
    "PostToAgent",
    "Sound",
    "TextPiece",
    "ToolPiece",
    "UIMessages",
    "Vocabulary",
    "tenant_channel",
]
