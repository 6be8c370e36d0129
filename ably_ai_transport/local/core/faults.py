"""The fault switch: faults that tests order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ably_ai_transport.local.core.fault_rules import FaultAction, Rule
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.refusals import RefusedError

if TYPE_CHECKING:
    from ably_ai_transport.local.core.attachments import Attachments
    from ably_ai_transport.local.core.channels import Channels
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.connections import Connections
    from ably_ai_transport.local.core.fault_rules import FaultRules


class Faults:
    """The fault switch of a server.

    A connection is named by its `conn` query parameter (`transportParams`), its clientId or its
    connectionId; None means all connections.
    """

    def __init__(
        self, rules: FaultRules, connections: Connections, channels: Channels, attachments: Attachments
    ) -> None:
        self._rules = rules
        self._connections = connections
        self._channels = channels
        self._attachments = attachments

    # Connections

    def drop(self, conn: str | None = None) -> None:
        """Cut websockets without a closing handshake."""
        for connection in self._named(conn):
            self._connections.cut(connection)

    def cut_mid_frame(self, conn: str | None = None) -> None:
        """Cut websockets in the middle of the next frame that is written to them."""
        for connection in self._named(conn):
            if connection.transport is not None:
                connection.transport.cut_next()

    def black_hole(self, conn: str | None = None) -> None:
        """Turn websockets into black holes: they stay open, but what either side sends is lost.

        Clients can connect and resume on new websockets.
        """
        for connection in self._named(conn):
            if connection.transport is not None:
                connection.transport.become_black_hole()

    def disconnected(self, conn: str | None = None, code: int = 80003, status: int = 400) -> None:
        """Send DISCONNECTED and close, as Ably does when it moves connections to another server."""
        for connection in self._named(conn):
            connection.disconnect(RefusedError(code, status, "Connection disconnected by a fault"))

    def forget(self, conn: str | None = None) -> None:
        """Forget connections, so that the next resume fails with 80018. Their websockets stay."""
        for connection in self._connections.named(conn):
            self._connections.forget(connection)

    def error(self, conn: str | None = None, code: int = 40101, status: int = 401) -> None:
        """Fail connections with a connection-level ERROR."""
        for connection in self._named(conn):
            self._connections.fail(connection, RefusedError(code, status, "Connection failed by a fault"))

    def refuse_connections(self, on: bool = True) -> None:
        """Answer websocket upgrades with 503; `on=False` ends it."""
        self._rules.refuses_connections = on

    @property
    def refuses_connections(self) -> bool:
        """Whether websocket upgrades are answered with 503."""
        return self._rules.refuses_connections

    # Channels

    def trim(self, channel: str) -> None:
        """Forget a channel's backlog: a resume by channelSerial is then refused (90003). History stays."""
        self._channels.open(channel).forget_backlog()

    def detach(
        self, channel: str, code: int = 50000, status: int = 500, message: str = "Detached by a fault"
    ) -> None:
        """Detach all connections from a channel, unasked."""
        error = RefusedError(code, status, message).to_wire()
        for attachment in self._attachments.on(self._channels.open(channel)):
            connection, label = attachment.connection, attachment.label
            self._attachments.drop(connection, label)
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
        """Refuse the next `count` publishes, after letting `skip` pass.

        Args:
            channel: The channel; None for all.
            count: How many publishes to refuse.
            skip: How many publishes pass before.
            action: The kind of publish; None for all.
            code: Ably's error code.
            status: The HTTP status that goes with it.
            message: The text of the error.
        """
        self._rules.nacks.append(Rule(channel, action, count, skip, RefusedError(code, status, message)))

    def cut_before_ack(
        self,
        channel: str | None = None,
        *,
        count: int = 1,
        skip: int = 0,
        action: FaultAction | None = None,
        forget: bool = False,
    ) -> None:
        """Take the next `count` publishes but cut the websocket before their ack.

        Args:
            channel: The channel; None for all.
            count: How many publishes lose their ack.
            skip: How many publishes pass before.
            action: The kind of publish; None for all.
            forget: Whether the connection is forgotten, too, as after a long outage: its resume fails with
                80018.
        """
        on_cut = self._connections.forget if forget else None
        self._rules.cuts.append(Rule(channel, action, count, skip, on_cut=on_cut))

    def hold_acks(self) -> None:
        """Hold all ACKs and NACKs back."""
        self._hold(held=True)

    def release_acks(self) -> None:
        """Send the ACKs and NACKs that were held back."""
        self._hold(held=False)

    def delay(self, seconds: float) -> None:
        """Deliver messages and presence to subscribers this much later; 0 ends it."""
        self._rules.delay_ms = seconds * 1000
        for connection in self._connections.resumable():
            self._rules.affect(connection)

    def reset(self) -> None:
        """Switch all faults off."""
        self._rules.nacks.clear()
        self._rules.cuts.clear()
        self._rules.refuses_connections = False
        self.delay(0)
        self.release_acks()

    def _hold(self, *, held: bool) -> None:
        self._rules.holds_acks = held
        for connection in self._connections.resumable():
            self._rules.affect(connection)
            connection.acks.flush()

    def _named(self, conn: str | None) -> list[Connection]:
        return [c for c in self._connections.named(conn) if c.transport is not None]
