"""Faults on demand: what tests switch on to see how clients take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.refusals import RefusedError

if TYPE_CHECKING:
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.engine import Engine

FaultAction: TypeAlias = Literal["create", "update", "delete", "append", "presence"]


@dataclass(slots=True)
class _Rule:
    """A fault for some of the publishes to come."""

    channel: str | None
    action: FaultAction | None
    count: int
    skip: int
    error: RefusedError | None = None

    def takes(self, channel: str, action: FaultAction) -> bool:
        if self.channel not in (None, channel) or self.action not in (None, action) or not self.count:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count -= 1
        return True


class Faults:
    """The fault switch of a server.

    Connections are named by their `conn` query parameter (`transportParams`), their clientId or their
    connectionId; None means all of them.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._nacks: list[_Rule] = []
        self._cuts: list[_Rule] = []
        self._held = False
        self._delay_ms = 0.0
        self._refusing = False

    # Connections

    def drop(self, conn: str | None = None) -> None:
        """Cut websockets without a closing handshake."""
        for connection in self._named(conn):
            connection.cut()

    def cut_mid_frame(self, conn: str | None = None) -> None:
        """Cut websockets in the middle of the next frame that is written to them."""
        for connection in self._named(conn):
            if connection.transport is not None:
                connection.transport.cut_next()

    def disconnected(self, conn: str | None = None, code: int = 80003, status: int = 400) -> None:
        """Say DISCONNECTED and close, as Ably does when it moves connections to another server."""
        for connection in self._named(conn):
            connection.disconnect(RefusedError(code, status, "Connection disconnected by a fault"))

    def forget(self, conn: str | None = None) -> None:
        """Forget connections, so that the next resume fails with 80018. Their websockets stay."""
        for connection in self._engine.connections_named(conn):
            self._engine.forget(connection)

    def error(self, conn: str | None = None, code: int = 40101, status: int = 401) -> None:
        """Fail connections with a connection-level ERROR."""
        for connection in self._named(conn):
            connection.fail(RefusedError(code, status, "Connection failed by a fault"))

    def refuse_connections(self, on: bool = True) -> None:
        """Answer websocket upgrades with 503 from now on, or no longer."""
        self._refusing = on

    @property
    def refuses_connections(self) -> bool:
        """Whether websocket upgrades are answered with 503."""
        return self._refusing

    # Channels

    def trim(self, channel: str) -> None:
        """Forget a channel's backlog: a resume by channelSerial is then refused (90003). History stays."""
        self._engine.channel(channel).forget_backlog()

    def detach(
        self, channel: str, code: int = 50000, status: int = 500, message: str = "Detached by a fault"
    ) -> None:
        """Detach everybody from a channel, unasked."""
        error = RefusedError(code, status, message).to_wire()
        for attachment in list(self._engine.channel(channel).attachments):
            connection, label = attachment.connection, attachment.label
            self._engine.attaching.drop(connection, label)
            connection.send({"action": int(Action.DETACHED), "channel": label, "error": error})

    # Publishes

    def nack(
        self,
        channel: str | None = None,
        *,
        count: int = 1,
        skip: int = 0,
        action: FaultAction | None = None,
        code: int = 50000,
        status: int = 500,
        message: str = "Publish refused by a fault",
    ) -> None:
        """Refuse the next `count` publishes, after letting `skip` pass."""
        self._nacks.append(_Rule(channel, action, count, skip, RefusedError(code, status, message)))

    def cut_before_ack(
        self,
        channel: str | None = None,
        *,
        count: int = 1,
        skip: int = 0,
        action: FaultAction | None = None,
    ) -> None:
        """Take the next `count` publishes but cut the websocket before their ACK; `skip` pass first."""
        self._cuts.append(_Rule(channel, action, count, skip))

    def hold_acks(self) -> None:
        """Keep all ACKs and NACKs back."""
        self._hold(held=True)

    def release_acks(self) -> None:
        """Send what was held back."""
        self._hold(held=False)

    def delay(self, seconds: float) -> None:
        """Deliver messages and presence to subscribers this much later; 0 ends it."""
        self._delay_ms = seconds * 1000
        for connection in self._engine.connections.values():
            if connection.transport is not None:
                connection.transport.delay_ms = self._delay_ms

    def reset(self) -> None:
        """Switch all faults off."""
        self._nacks.clear()
        self._cuts.clear()
        self._refusing = False
        self.delay(0)
        self.release_acks()

    # What the server asks

    def check_nack(self, channel: str, action: FaultAction) -> None:
        """Refuse a publish if it is one's turn.

        Raises:
            RefusedError: the one that was ordered.
        """
        for rule in self._nacks:
            if rule.takes(channel, action) and rule.error is not None:
                raise rule.error

    def takes_ack(self, channel: str, action: FaultAction) -> bool:
        """Tell whether the connection is to be cut instead of acknowledging."""
        return bool(self._cuts) and any(rule.takes(channel, action) for rule in self._cuts)

    def affect(self, connection: Connection) -> None:
        """Apply what is in force to a connection that (re)appears."""
        connection.acks.held = self._held
        if connection.transport is not None:
            connection.transport.delay_ms = self._delay_ms

    def _hold(self, *, held: bool) -> None:
        self._held = held
        for connection in self._engine.connections.values():
            connection.acks.held = held
            connection.acks.flush()

    def _named(self, conn: str | None) -> list[Connection]:
        return [c for c in self._engine.connections_named(conn) if c.transport is not None]
