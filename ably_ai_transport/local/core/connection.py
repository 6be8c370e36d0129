"""A connection: what outlives the websockets that carry it, and the frames it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.core.acks import AckQueue
from ably_ai_transport.local.core.rollup import Rollup
from ably_ai_transport.local.protocol.frames import Action, ConnectionDetails, Flag, Frame
from ably_ai_transport.local.protocol.refusals import RefusedError
from ably_ai_transport.local.protocol.serials import random_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.clock import Timer
    from ably_ai_transport.local.core.acks import Slot
    from ably_ai_transport.local.core.attachment import Attachment
    from ably_ai_transport.local.core.engine import Engine
    from ably_ai_transport.local.core.limits import RateLimit
    from ably_ai_transport.local.core.steps import Delivery, Form
    from ably_ai_transport.local.core.transport import Transport
    from ably_ai_transport.local.protocol.messages import Submission

_RENEWAL_LEAD_MS: Final = 30_000
_MAX_KEYS: Final = 100


class Connection:
    """A client's connection.

    Attributes:
        id: The connectionId; stays the same when the connection is resumed.
        keys: Every connectionKey handed out; each of them resumes it.
        identity: The credentials in force.
        label: How faults, transcripts and figures name it: the `conn` parameter, the clientId or the id.
        echo: Whether it gets what it published itself.
        transport: The websocket it has now, if any.
        remain_ms: How long its presence members outlive a drop.
        frame_size: Bytes of the frame that is being answered.
        rate: Limits what it publishes, if anything does.
        attachments: Its channels, by the name as the client spells it.
    """

    def __init__(
        self, engine: Engine, identity: Identity, *, id_: str | None = None, keys: Sequence[str] = ()
    ) -> None:
        self.engine = engine
        self.id = id_ or random_id(10)
        self.key = ""
        self.keys: dict[str, None] = dict.fromkeys(keys)
        self.identity = identity
        self.param: str | None = None
        self.echo = True
        self.remain_ms = engine.options.presence_grace_ms
        self.frame_size = 0
        self.rate: RateLimit | None = None
        self.transport: Transport | None = None
        self.attachments: dict[str, Attachment] = {}
        self.acks = AckQueue(self.send, engine.options.limits.retained_results)
        self.rollup = Rollup(0, engine.clock, self._publish_append)
        self._idle: Timer | None = None
        self._renewal: Timer | None = None
        self._expiry: Timer | None = None

    def configure(self, *, label: str | None, echo: bool, rollup_ms: int, remain_ms: int) -> None:
        """Take what the query of a websocket asks for.

        Args:
            label: The `conn` parameter.
            echo: Whether the client wants what it publishes itself.
            rollup_ms: The window of its appends.
            remain_ms: How long its presence members outlive a drop.
        """
        self.param = label
        self.echo = echo
        self.rollup.window_ms = rollup_ms
        self.remain_ms = remain_ms

    @property
    def label(self) -> str:
        """The name that people know the connection by."""
        return self.param or self.identity.client_id or self.id

    def is_named(self, name: str | None) -> bool:
        """Tell whether a fault for `name` is meant for this connection; None is for all."""
        return name is None or name in (self.param, self.identity.client_id, self.id)

    # Frames out

    def send(self, frame: Frame) -> None:
        """Send a frame, if there is a websocket to send it on."""
        if self.transport is not None:
            self.transport.send(frame)

    def deliver(self, delivery: Delivery, label: str, form: Form) -> None:
        """Send a step of a channel."""
        transport = self.transport
        if transport is not None and transport.is_open:
            packet = delivery.packet(label, form, transport.format)
            self.engine.commits.deliver(transport, packet)

    def connected(self, error: RefusedError | None = None) -> None:
        """Send CONNECTED: the first frame of a websocket, and the answer to AUTH."""
        options = self.engine.options
        details: ConnectionDetails = {
            "connectionKey": self.key,
            "maxMessageSize": options.limits.max_message_size,
            "maxFrameSize": options.limits.max_frame_size,
            "maxInboundRate": options.limits.max_inbound_rate,
            "connectionStateTtl": options.connection_state_ttl_ms,
            "maxIdleInterval": options.max_idle_interval_ms,
            "serverId": self.engine.server_id,
        }
        if self.identity.client_id is not None:
            details["clientId"] = self.identity.client_id
        frame: Frame = {
            "action": int(Action.CONNECTED),
            "connectionId": self.id,
            "timestamp": self.engine.clock.now(),
            "connectionDetails": details,
        }
        if error is not None:
            frame["error"] = error.to_wire()
        self.send(frame)

    def disconnect(self, error: RefusedError) -> None:
        """Say DISCONNECTED and close the websocket; the connection can be resumed."""
        self.send({"action": int(Action.DISCONNECTED), "error": error.to_wire()})
        self._finish()

    def fail(self, error: RefusedError) -> None:
        """Say ERROR and close the websocket; the client does not come back."""
        self.send({"action": int(Action.ERROR), "error": error.to_wire()})
        self.engine.forget(self)
        self._finish()

    def close(self) -> None:
        """Answer CLOSE: the state goes at once."""
        self.flush()
        self.engine.forget(self)
        self.engine.leave(self)
        self.send({"action": int(Action.CLOSED)})
        self._finish()

    def cut(self) -> None:
        """Cut the websocket without a word; the connection can be resumed."""
        if self.transport is not None:
            transport = self.transport
            self.engine.transport_lost(self, transport)
            transport.abort()

    def hang_up(self) -> None:
        """Close the websocket and keep the state: the client asked for it."""
        self.flush()
        self._finish()

    def _finish(self) -> None:
        if self.transport is not None:
            self.transport.finish()

    # Transports come and go

    def issue_key(self) -> None:
        """Make the connectionKey that the next CONNECTED tells."""
        self.key = f"{self.id}!{random_id(16)}"
        self.keys[self.key] = None
        if len(self.keys) > _MAX_KEYS:
            del self.keys[next(iter(self.keys))]

    def start(self, transport: Transport, error: RefusedError | None = None) -> None:
        """Carry on over a websocket; one that still carries the connection is superseded."""
        if self.transport is not None:
            superseded = self.transport
            self.transport_lost(superseded)
            superseded.finish()
        self.transport = transport
        self.connected(error)
        self._watch_idle()
        self._watch_token()

    def transport_lost(self, transport: Transport) -> None:
        """Note that a websocket is gone; attachments go with it, the client attaches again."""
        if transport is not self.transport:
            return
        self.flush()
        self.transport = None
        self.acks.transport_lost()
        self.detach_all()
        for timer in (self._idle, self._renewal, self._expiry):
            if timer is not None:
                timer.cancel()

    def detach_all(self) -> None:
        """Drop all attachments without a word."""
        for attachment in self.attachments.values():
            attachment.channel.attachments.pop(attachment, None)
        self.attachments.clear()

    def flush(self) -> None:
        """Publish appends that wait to be rolled up: order is kept with whatever comes next."""
        if not self.rollup.is_idle:
            self.rollup.flush()

    def _publish_append(self, label: str, submission: Submission, slots: list[Slot]) -> None:
        self.engine.publishing.publish(self, label, [submission], slots)

    # Credentials

    def renew(self, identity: Identity) -> None:
        """Take new credentials for the rest of the connection.

        Raises:
            RefusedError: 40102, they are for another client.
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
        self.engine.attaching.renew(self)

    def may(self, label: str, mode: Flag) -> bool:
        """Tell whether the modes of an attachment cover something; without one there are none to break."""
        attachment = self.attachments.get(label)
        return attachment is None or bool(attachment.modes & mode)

    # Timers

    def _watch_idle(self) -> None:
        interval = self.engine.options.max_idle_interval_ms

        def check() -> None:
            transport = self.transport
            if transport is None:
                return
            # The wall clock may step back: that must not lengthen the silence.
            idle = max(0, self.engine.clock.now() - transport.last_written)
            if idle >= interval:
                self.send({"action": int(Action.HEARTBEAT)})
                idle = 0
            self._idle = self.engine.clock.call_later(interval - idle, check)

        self._idle = self.engine.clock.call_later(interval, check)

    def _watch_token(self) -> None:
        for timer in (self._renewal, self._expiry):
            if timer is not None:
                timer.cancel()
        expires = self.identity.expires
        if expires is None:
            return
        left = max(expires - self.engine.clock.now(), 0)

        def ask() -> None:
            self.send({"action": int(Action.AUTH)})

        def expire() -> None:
            self.disconnect(RefusedError(40142, 401, "Token expired"))

        if left > _RENEWAL_LEAD_MS:
            # Tokens of a shorter life just expire, and clients renew them when they are told so.
            self._renewal = self.engine.clock.call_later(left - _RENEWAL_LEAD_MS, ask)
        self._expiry = self.engine.clock.call_later(left, expire)
