"""A connection: its keys, credentials, acks and timers, and the frames that it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.core.acks import AckQueue
from ably_ai_transport.local.core.rates import AppendWindows, connection_rate
from ably_ai_transport.local.protocol.frames import Action, ConnectionDetails, Frame
from ably_ai_transport.local.protocol.refusals import RefusedError
from ably_ai_transport.local.protocol.serials import random_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.core.commits import Commits
    from ably_ai_transport.local.core.limits import Quota
    from ably_ai_transport.local.core.steps import Delivery, Form
    from ably_ai_transport.local.core.transport import Transport
    from ably_ai_transport.local.options import LocalServerOptions

_RENEWAL_LEAD_MS: Final = 30_000
_MAX_KEYS: Final = 100
_NO_RATE: Final = 1_000_000
"""Messages a second that CONNECTED announces where there is no limit: clients need not pace themselves."""


class Connection:
    """A client's connection; it outlives the websockets that carry it.

    Attributes:
        id: The connectionId; a resume keeps it.
        key: The latest connectionKey.
        keys: Every connectionKey handed out; each of them resumes the connection.
        identity: The credentials in force.
        entered: The names of the channels that it has presence members on.
        param: The `conn` parameter of the websocket.
        echo: Whether it gets its own messages.
        remain_ms: How long its presence members outlive a drop.
        rollup_ms: The roll-up window of its appends; 0 for none.
        frame_size: Bytes of the frame that is being answered.
        rate: The limit of its publishes, if there is one.
        counted_ms: The roll-up window by which rates count its appends; 0 counts each append.
        append_windows: Which of its appends rates count.
        transport: Its websocket, if it has one now.
        acks: The acks of its publishes.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        options: LocalServerOptions,
        clock: Clock,
        commits: Commits,
        quota: Quota,
        server_id: str,
        id_: str | None = None,
        keys: Sequence[str] = (),
    ) -> None:
        self.id = id_ or random_id(10)
        self.key = ""
        self.keys: dict[str, None] = dict.fromkeys(keys)
        self.identity = identity
        self.entered: dict[str, None] = {}
        self.param: str | None = None
        self.echo = True
        self.remain_ms = options.presence_grace_ms
        self._idle_ms = options.max_idle_interval_ms
        self.rollup_ms = 0
        self.frame_size = 0
        self.rate = connection_rate(options.limits.connection_rate, clock)
        self.counted_ms = 0
        self.append_windows = AppendWindows(clock)
        self.transport: Transport | None = None
        self.acks = AckQueue(self.send, options.limits.retained_results, quota)
        self._options = options
        self._clock = clock
        self._commits = commits
        self._server_id = server_id
        self._idle: Timer | None = None
        self._renewal: Timer | None = None
        self._expiry: Timer | None = None

    def configure(
        self,
        *,
        param: str | None,
        echo: bool,
        rollup_ms: int,
        counted_ms: int,
        remain_ms: int,
        idle_ms: int,
    ) -> None:
        """Apply the query of a websocket.

        Args:
            param: The `conn` parameter.
            echo: Whether the client wants its own messages.
            rollup_ms: The roll-up window of its appends.
            counted_ms: The roll-up window by which rates count them.
            remain_ms: How long its presence members outlive a drop.
            idle_ms: The longest silence of the server.
        """
        self.param = param
        self.echo = echo
        self.rollup_ms = rollup_ms
        self.counted_ms = counted_ms
        self.remain_ms = remain_ms
        self._idle_ms = idle_ms

    @property
    def label(self) -> str:
        """The name in faults, logs and the inspector: the `conn` parameter, the clientId or the id."""
        return self.param or self.identity.client_id or self.id

    def is_named(self, name: str | None) -> bool:
        """Tell whether a fault for `name` hits this connection; None hits all."""
        return name is None or name in (self.param, self.identity.client_id, self.id)

    def __repr__(self) -> str:
        return f"<Connection {self.id} {self.label!r}>"

    # Frames out

    def send(self, frame: Frame) -> None:
        """Send a frame if there is a websocket."""
        if self.transport is not None:
            self.transport.send(frame)

    def deliver(self, delivery: Delivery, label: str, form: Form) -> None:
        """Send a step of a channel."""
        transport = self.transport
        if transport is not None and transport.is_open:
            self._commits.deliver(transport, delivery.packet(label, form, transport.format))

    def connected(self, error: RefusedError | None = None) -> None:
        """Send CONNECTED: the first frame of a websocket, and the answer to AUTH."""
        options = self._options
        limits = options.limits
        details: ConnectionDetails = {
            "connectionKey": self.key,
            "maxMessageSize": limits.max_message_size,
            "maxFrameSize": limits.max_frame_size,
            "maxInboundRate": _NO_RATE if limits.connection_rate is None else limits.connection_rate,
            "connectionStateTtl": options.connection_state_ttl_ms,
            "maxIdleInterval": self._idle_ms,
            "serverId": self._server_id,
        }
        if self.identity.client_id is not None:
            details["clientId"] = self.identity.client_id
        frame: Frame = {
            "action": int(Action.CONNECTED),
            "connectionId": self.id,
            "timestamp": self._clock.now(),
            "connectionDetails": details,
        }
        if error is not None:
            frame["error"] = error.to_wire()
        self.send(frame)

    def disconnect(self, error: RefusedError) -> None:
        """Send DISCONNECTED and close the websocket; the connection can be resumed."""
        self.send({"action": int(Action.DISCONNECTED), "error": error.to_wire()})
        self.finish()

    def finish(self) -> None:
        """Close the websocket once its queue is written."""
        if self.transport is not None:
            self.transport.finish()

    # Transports come and go

    def issue_key(self) -> None:
        """Make the connectionKey for the next CONNECTED."""
        self.key = f"{self.id}!{random_id(16)}"
        self.keys[self.key] = None
        if len(self.keys) > _MAX_KEYS:
            del self.keys[next(iter(self.keys))]

    def start(self, transport: Transport, error: RefusedError | None = None) -> None:
        """Continue over a websocket: send CONNECTED and start the timers."""
        self.transport = transport
        self.connected(error)
        self._watch_idle()
        self._watch_token()

    def transport_lost(self) -> None:
        """Drop the websocket, its pending acks and the timers."""
        self.transport = None
        self.acks.transport_lost()
        for timer in (self._idle, self._renewal, self._expiry):
            if timer is not None:
                timer.cancel()

    # Credentials

    def renew(self, identity: Identity) -> None:
        """Take new credentials for the rest of the connection.

        Raises:
            RefusedError: 40102, they belong to another client or another app.
        """
        current = self.identity.client_id
        if current is not None and current != "*":
            identity = identity.assume(current)
        elif identity.client_id != current:
            raise RefusedError(40102, 401, "credentials renewed for another clientId")
        if identity.key_name.partition(".")[0] != self.identity.key_name.partition(".")[0]:
            raise RefusedError(40102, 401, "credentials renewed for another app")
        self.identity = identity
        self.connected()
        self._watch_token()

    # Timers

    def _watch_idle(self) -> None:
        interval = self._idle_ms

        def check() -> None:
            transport = self.transport
            if transport is None:
                return
            # The wall clock may step back: that must not lengthen the silence.
            idle = max(0, self._clock.now() - transport.last_written)
            if idle >= interval:
                self.send({"action": int(Action.HEARTBEAT)})
                idle = 0
            self._idle = self._clock.call_later(interval - idle, check)

        self._idle = self._clock.call_later(interval, check)

    def _watch_token(self) -> None:
        for timer in (self._renewal, self._expiry):
            if timer is not None:
                timer.cancel()
        expires = self.identity.expires
        if expires is None:
            return
        left = max(expires - self._clock.now(), 0)

        def request_renewal() -> None:
            self.send({"action": int(Action.AUTH)})

        def expire() -> None:
            self.disconnect(RefusedError(40142, 401, "Token expired"))

        if left > _RENEWAL_LEAD_MS:
            # A shorter-lived token just expires; its client renews it when it is disconnected.
            self._renewal = self._clock.call_later(left - _RENEWAL_LEAD_MS, request_renewal)
        self._expiry = self._clock.call_later(left, expire)
