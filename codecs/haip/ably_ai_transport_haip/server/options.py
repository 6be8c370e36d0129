"""Options of a server."""

from dataclasses import dataclass, field
from typing import Final

from ably_ai_transport_haip.protocol import FlowControlConfig


@dataclass(frozen=True, slots=True)
class HaipServerOptions:
    """Limits and times of a server. Times are in seconds.

    Attributes:
        flow_control: The credits of the server. By default, its messages wait for credits.
        receive_credits: The message credits per channel that a client starts with.
        receive_credit_bytes: The byte credits per channel that a client starts with.
        max_concurrent_runs: The largest number of open runs per session.
        max_sessions: The largest number of sessions, with and without a connection.
        max_frame_size: The largest frame to accept, in bytes.
        max_waiting: The largest number of messages that wait for the application. A client that sends more is
            disconnected.
        max_waiting_bytes: The largest number of bytes in these messages, likewise.
        max_held_bytes: The largest number of bytes in messages that wait for a missing one. A client that
            sends more is disconnected.
        max_binary_size: The largest binary body of a message to accept, in bytes.
        max_replay_bytes: The bytes of sent messages to keep for replays, per session. While a client is away,
            sends to it fail once they would push out messages that it has not received.
        max_unwritten_bytes: The bytes that wait to be written to a client from which senders wait, and from
            which the server stops reading what this client sends.
        heartbeat_interval: The interval between pings over WebSocket.
        stream_heartbeat_interval: The interval between pings over HTTP. Clients give up after 30 seconds of
            silence there.
        session_ttl: The time that a session without a connection is kept.
        handshake_timeout: The longest time from a connection to its handshake.
        close_timeout: The longest time for the last messages of a session that is closed.
        answers_cancel: Whether the server ends a run as soon as the client cancels it. If false, the
            application ends it.
        max_protocol_violations: The number of protocol violations that a connection survives.
        max_flow_control_violations: The number of flow-control violations that a connection survives.

    Raises:
        ValueError: A limit is negative, or a time is not positive.
    """

    flow_control: FlowControlConfig = field(default_factory=lambda: FlowControlConfig(on_exhausted="wait"))
    receive_credits: int = 1000
    receive_credit_bytes: int = 16 * 1024 * 1024
    max_concurrent_runs: int = 10
    max_sessions: int = 10_000
    max_frame_size: int = 10 * 1024 * 1024
    max_waiting: int = 10_000
    max_waiting_bytes: int = 32 * 1024 * 1024
    max_held_bytes: int = 16 * 1024 * 1024
    max_binary_size: int = 16 * 1024 * 1024
    max_replay_bytes: int = 16 * 1024 * 1024
    max_unwritten_bytes: int = 4 * 1024 * 1024
    heartbeat_interval: float = 30.0
    stream_heartbeat_interval: float = 15.0
    session_ttl: float = 300.0
    handshake_timeout: float = 10.0
    close_timeout: float = 5.0
    answers_cancel: bool = True
    max_protocol_violations: int = 10
    max_flow_control_violations: int = 20

    def __post_init__(self) -> None:
        for name in _LIMITS:
            if getattr(self, name) < 0:
                raise ValueError(f"unable to configure the server; {name} is negative")
        for name in _TIMES:
            if getattr(self, name) <= 0:
                raise ValueError(f"unable to configure the server; {name} is not positive")


_LIMITS: Final = (
    "receive_credits",
    "receive_credit_bytes",
    "max_concurrent_runs",
    "max_sessions",
    "max_frame_size",
    "max_waiting",
    "max_waiting_bytes",
    "max_held_bytes",
    "max_binary_size",
    "max_replay_bytes",
    "max_unwritten_bytes",
    "session_ttl",
    "close_timeout",
    "max_protocol_violations",
    "max_flow_control_violations",
)
_TIMES: Final = ("heartbeat_interval", "stream_heartbeat_interval", "handshake_timeout")
