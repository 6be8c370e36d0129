"""HAIP in front of sessions; needs the extra ``gateway``."""

from ably_ai_transport_haip.gateway.gateway import ChannelOf, Connect, HaipGateway, tenant_channel
from ably_ai_transport_haip.gateway.haip_events import HaipEventMessages
from ably_ai_transport_haip.gateway.invoke import Invoke, PostToAgent
from ably_ai_transport_haip.gateway.ui_messages import UIMessages
from ably_ai_transport_haip.gateway.vocabulary import Piece, Sound, TextPiece, ToolPiece, Vocabulary

__all__ = [
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
