"""The HAIP codec: HAIP events as the messages of a session."""

from ably_ai_transport_haip.codec.codec import HaipCodec
from ably_ai_transport_haip.codec.events import HaipInput, haip_user_message
from ably_ai_transport_haip.codec.projection import HaipEntry, HaipProjection, HaipText, HaipToolState

__all__ = [
    "HaipCodec",
    "HaipEntry",
    "HaipInput",
    "HaipProjection",
    "HaipText",
    "HaipToolState",
    "haip_user_message",
]
