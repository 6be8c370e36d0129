"""Options of the local server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - part of the signature
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of the server. Requests beyond them are refused with Ably's codes.

    ```python
    LocalServerOptions(limits=Limits.ably())  # what a new account on Ably allows
    ```

    Attributes:
        max_message_size: Bytes of one publish (40009): name, clientId, data and extras (Ably specification
            TM6), ids that a client chooses, and the description and the metadata of a change. Presence
            events have the same limit.
        max_accumulated_size: Bytes that the data of one message may take in a JSON frame after appends
            (40009). A message is delivered as a whole to clients that join later, and the Python SDK reads
            frames of at most 1 MiB. Ably documents no such limit.
        max_frame_size: Bytes of one websocket frame (the connection fails with 40009) or REST body.
        connection_rate: Messages of one connection in any second (42911), which CONNECTED announces as
            `maxInboundRate`; None for no limit. Presence events count, and each message of a batch.
        channel_rate: Messages on one channel in any second (42913), from all connections and REST; None for
            no limit.
        append_window_ms: The rates count the appends that a connection sends to one message as if they were
            rolled up over this time. A roll-up window of the client or of the server replaces it.
        max_connections: Websockets at a time (80021, the client tries again).
        max_channels: Channels of an app (40114).
        max_attachments: Channels attached by one connection (90010).
        max_members: Presence members of one channel (91003).
        max_history: Messages of one channel (40112).
        max_memory: Bytes of memory of an app (40112): an estimate of what its channels, messages, presence,
            logs and acks take. Frames for slow consumers may take a quarter more.
        max_queued_frames: Frames waiting for a slow consumer before it is disconnected.
        max_queued_bytes: The same in bytes.
        retained_results: Acks kept per connection to answer retried publishes; fewer while memory is full.

    Raises:
        ValueError: A rate is not positive.
    """

    max_message_size: int = 65536
    max_accumulated_size: int = 2**20 - 2**16
    max_frame_size: int = 524288
    connection_rate: int | None = None
    channel_rate: int | None = None
    append_window_ms: int = 40
    max_connections: int = 10_000
    max_channels: int = 100_000
    max_attachments: int = 10_000
    max_members: int = 250
    max_history: int = 1_000_000
    max_memory: int = 2**30
    max_queued_frames: int = 200_000
    max_queued_bytes: int = 2**26
    retained_results: int = 50_000

    def __post_init__(self) -> None:
        for name, rate in (("connection_rate", self.connection_rate), ("channel_rate", self.channel_rate)):
            if rate is not None and rate < 1:
                raise ValueError(f"{name} must be at least 1, or None for no limit; it is {rate}")

    @classmethod
    def ably(cls) -> Self:
        """Return the limits that Ably publishes for its packages Free and Standard (Ably docs: limits).

        Both packages have the same, except for the number of connections and channels: this is Standard's.
        The rates of a whole account and the rate of messages sent to a connection are not limited here.
        """
        return cls(
            max_message_size=64 * 1024,
            connection_rate=50,
            channel_rate=50,
            append_window_ms=40,
            max_connections=10_000,
            max_channels=10_000,
            max_attachments=200,
            max_members=200,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """Rules for the channels `<id>:…` and the channel `<id>`.

    Attributes:
        id: The part of the channels' names before the first colon.
        mutable_messages: Whether their messages can be updated, appended to and deleted (93002 where not).
    """

    id: str
    mutable_messages: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServerOptions:
    """Options of a local server.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 picks a free one.
        keys: API keys `app.key:secret`; without any, one is generated for each start. `repr` leaves them out.
        append_rollup_window_ms: Appends of a connection to the same message within this window are merged
            (Ably's default is 40). `transportParams.appendRollupWindow` of a client overrides it.
        connection_state_ttl_ms: How long a dropped connection can be resumed.
        max_idle_interval_ms: The longest silence of the server on a connection; a client chooses another one
            with `transportParams.heartbeatInterval`, from 5,000 to 1,800,000.
        request_timeout_ms: How long a client may take to send the head of a request, to send its body, and to
            read the answer; its socket is closed then. An idle socket is closed after as long.
        ping_timeout_ms: How long a websocket may take to answer a ping, and the time between two pings; it is
            cut then, and its client can resume.
        presence_grace_ms: How long presence members outlive a dropped connection.
        retention_ms: How far back a channel can be resumed by channelSerial.
        ack_before_echo: Send the ACK of a publish before its echo instead of after it.
        mutable_messages: Whether messages can be changed on channels without a namespace rule.
        namespaces: Rules for channels by the first part of their names.
        data: A SQLite file that keeps everything over restarts, a generated key included; None keeps
            everything in memory.
        accept_loss: Whether to go on with what is left of a damaged `data` file; the damaged file is kept
            beside it. Otherwise the server does not start on it.
        sandbox: Whether `POST /apps` provisions further apps, for the test suites of Ably's SDKs.
        cors_origins: Origins of browser pages that may call the REST API.
        limits: Its limits.
    """

    host: str = "127.0.0.1"
    port: int = 0
    keys: tuple[str, ...] = field(default=(), repr=False)
    append_rollup_window_ms: int = 0
    connection_state_ttl_ms: int = 120_000
    max_idle_interval_ms: int = 15_000
    request_timeout_ms: int = 30_000
    ping_timeout_ms: int = 30_000
    presence_grace_ms: int = 15_000
    retention_ms: int = 120_000
    ack_before_echo: bool = False
    mutable_messages: bool = True
    namespaces: tuple[Namespace, ...] = (Namespace(id="immutable", mutable_messages=False),)
    data: Path | None = None
    accept_loss: bool = False
    sandbox: bool = False
    cors_origins: tuple[str, ...] = ("*",)
    limits: Limits = field(default_factory=Limits)

    def is_mutable(self, channel: str) -> bool:
        """Tell whether messages of a channel can be changed."""
        prefix = channel.partition(":")[0]
        for namespace in self.namespaces:
            if namespace.id == prefix:
                return namespace.mutable_messages
        return self.mutable_messages
