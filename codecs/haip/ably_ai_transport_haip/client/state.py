"""What a client tells of itself."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HaipConnectionState:
    """Where a connection stands, at one moment.

    Attributes:
        connected: Whether there is a connection.
        handshake_completed: Whether the server has introduced itself on it.
        session_id: The session.
        last_ack: The number of the newest message that the server says to have; empty before it says so.
        reconnect_attempts: How often it has been tried to connect again since the connection was lost.
        credits: Messages that may be sent, by channel.
        byte_credits: Bytes that may be sent, by channel.
    """

    connected: bool
    handshake_completed: bool
    session_id: str
    last_ack: str
    reconnect_attempts: int
    credits: Mapping[str, int]
    byte_credits: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class HaipPerformanceMetrics:
    """What went over the wire.

    Attributes:
        messages_sent: Messages that were sent, control included.
        messages_received: Messages that came.
        bytes_sent: Bytes of frames that were sent.
        bytes_received: Bytes of frames that came.
        connection_time: For how many seconds there has been a connection, in all.
        last_updated: When anything last changed: seconds since 1970.
    """

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    connection_time: float = 0.0
    last_updated: float = 0.0
