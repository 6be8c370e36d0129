"""HAIP events as the vocabulary of a session."""

from ably_ai_transport_haip.codec.codec import HaipCodec, haip_user_message
from ably_ai_transport_haip.codec.messages import (
    HaipEntry,
    HaipInput,
    HaipProjection,
    HaipText,
    HaipToolState,
)

__all__ = [
    "HaipCodec",
    "HaipEntry",
    "HaipInput",
    "HaipProjection",
    "HaipText",
    "HaipToolState",
    "haip_user_message",
]
