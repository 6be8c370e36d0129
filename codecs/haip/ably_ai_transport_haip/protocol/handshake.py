"""Handshake: the first message of each connection, checked before it changes anything."""

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.messages import HaipMessage
from ably_ai_transport_haip.protocol.names import PROTOCOL_MAJOR, HaipEventType
from ably_ai_transport_haip.protocol.payloads import Hai, read_payload


def read_handshake(message: HaipMessage) -> Hai:
    """Read a handshake.

    Args:
        message: The message.

    Returns:
        Its payload.

    Raises:
        HaipProtocolError: It is no handshake (PROTOCOL_VIOLATION), a field is missing or invalid
            (INVALID_MESSAGE), or the other side speaks no common version (VERSION_INCOMPATIBLE).
    """
    if message.type is not HaipEventType.HAI:
        raise HaipProtocolError(
            f"unable to accept {message.type}; the handshake (HAI) comes first",
            HaipErrorCode.PROTOCOL_VIOLATION,
        )
    hai = read_payload(HaipEventType.HAI, message.payload)
    if not isinstance(hai, Hai):
        raise TypeError(type(hai).__name__)
    if PROTOCOL_MAJOR not in hai.accept_major:
        raise HaipProtocolError(
            f"unable to agree on a version; {PROTOCOL_MAJOR} is supported here,"
            f" {hai.accept_major[:10]} there",
            HaipErrorCode.VERSION_INCOMPATIBLE,
        )
    return hai
