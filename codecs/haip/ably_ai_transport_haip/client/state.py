"""Snapshots of a client: the state of its connection, and its traffic."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HaipConnectionState:
    """The state of a connection at one moment.

    Attributes:
        connected: Whether the transport is connected.
        handshake_completed: Whether both handshakes are complete.
        session_id: The session, a UUID.
        last_ack: The newest sequence number that the server acked, as decimal digits; empty before the first.
        reconnect_attempts: The number of attempts to connect again since the connection was lost.
        credits: Message credits by channel.
        byte_credits: Byte credits by channel.
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
    """The traffic of a client.

    Attributes:
        messages_sent: Sent messages, control messages included.
        messages_received: Received messages, control messages included.
        bytes_sent: Bytes of sent frames.
        bytes_received: Bytes of received frames.
        connection_time: Total time with a connection, in seconds.
        last_updated: The time of the newest frame: seconds since 1970.
    """

    messages_sent: int = 0
    messages_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    connection_time: float = 0.0
    last_updated: float = 0.0
