"""What can be set about the local server."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the server tells clients it takes. Announced in `connectionDetails`; only these are enforced here.

    Attributes:
        max_message_size: Bytes of name, data, extras of one publish (told to clients).
        max_frame_size: Bytes of one websocket frame (told to clients).
        max_inbound_rate: Messages a second and connection (told to clients).
        max_queued_frames: Frames waiting for a slow consumer before it is disconnected (enforced).
        retained_results: Results kept per connection to answer publishes that are sent again (enforced).
    """

    max_message_size: int = 65536
    max_frame_size: int = 524288
    max_inbound_rate: int = 1000
    max_queued_frames: int = 200_000
    retained_results: int = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServerOptions:
    """How a local server behaves.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        keys: API keys `app.key:secret`; one is generated for each start when there are none.
        append_rollup_window_ms: Appends of a connection to the same message within this window are merged
            (Ably's default is 40). `transportParams.appendRollupWindow` of a client overrides it.
        connection_state_ttl_ms: How long a dropped connection can be resumed.
        max_idle_interval_ms: The longest silence of the server on a connection.
        presence_grace_ms: How long presence members outlive a dropped connection.
        retention_ms: How far back a channel can be resumed by channelSerial.
        ack_before_echo: Send the ACK of a publish before its echo instead of after it.
        immutable_prefixes: Channels whose messages cannot be updated, appended to or deleted.
        cors_origins: Origins that browsers may call the REST API from.
        limits: What clients are told about sizes and rates.
    """

    host: str = "127.0.0.1"
    port: int = 0
    keys: tuple[str, ...] = ()
    append_rollup_window_ms: int = 0
    connection_state_ttl_ms: int = 120_000
    max_idle_interval_ms: int = 15_000
    presence_grace_ms: int = 15_000
    retention_ms: int = 120_000
    ack_before_echo: bool = False
    immutable_prefixes: tuple[str, ...] = ("immutable:",)
    cors_origins: tuple[str, ...] = ("*",)
    limits: Limits = field(default_factory=Limits)
