"""Limits and times of a server."""

from dataclasses import dataclass, field

from ably_ai_transport_haip.protocol import FlowControlConfig


@dataclass(frozen=True, slots=True)
class HaipServerOptions:
    """How a server behaves. Times are seconds.

    Attributes:
        flow_control: Credits for what the server sends; messages without any wait.
        receive_credits: Messages a channel that a client may send before it is granted more.
        receive_credit_bytes: Bytes a channel.
        max_concurrent_runs: Runs that a session may have open at once.
        max_sessions: Sessions that there may be at once, those without a connection included.
        max_frame_size: The largest frame to take, in bytes.
        max_waiting: Messages that may wait for the application; a client that sends more is disconnected.
        heartbeat_interval: How often to ask a client over WebSocket whether it is there.
        stream_heartbeat_interval: The same over HTTP, where clients give up after half a minute of silence.
        session_ttl: How long a session without a connection is kept.
        handshake_timeout: How long a connection may take to introduce itself.
        close_timeout: How long the last messages may take when a session is closed.
        answers_cancel: Whether a request to cancel a run is answered at once with its end; an application
            that says false answers it itself.
        max_protocol_violations: How many a connection survives.
        max_flow_control_violations: How many a connection survives.
    """

    flow_control: FlowControlConfig = field(default_factory=lambda: FlowControlConfig(on_exhausted="wait"))
    receive_credits: int = 1000
    receive_credit_bytes: int = 16 * 1024 * 1024
    max_concurrent_runs: int = 10
    max_sessions: int = 10_000
    max_frame_size: int = 10 * 1024 * 1024
    max_waiting: int = 10_000
    heartbeat_interval: float = 30.0
    stream_heartbeat_interval: float = 15.0
    session_ttl: float = 300.0
    handshake_timeout: float = 10.0
    close_timeout: float = 5.0
    answers_cancel: bool = True
    max_protocol_violations: int = 10
    max_flow_control_violations: int = 20
