"""The connections of an app: admitted, answered, resumed, cut, expired."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.auth.credentials import Credentials
from ably_ai_transport.local.core.connection import Connection
from ably_ai_transport.local.protocol.frames import Action, Frame
from ably_ai_transport.local.protocol.refusals import (
    RefusedError,
    bad_request,
    connection_expired,
    internal_error,
    invalid_connection_key,
    too_many_connections,
)
from ably_ai_transport.local.storage.contract import ConnectionRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ably_ai_transport.local.auth.credentials import Authority, Identity
    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.core.attachments import Attachments
    from ably_ai_transport.local.core.channels import Channels
    from ably_ai_transport.local.core.commits import Commits
    from ably_ai_transport.local.core.fault_rules import FaultRules
    from ably_ai_transport.local.core.limits import Quota
    from ably_ai_transport.local.core.publishing import Publishing
    from ably_ai_transport.local.core.transport import Transport
    from ably_ai_transport.local.options import LocalServerOptions
    from ably_ai_transport.local.protocol.query import ConnectQuery
    from ably_ai_transport.local.storage.contract import Storage

logger = logging.getLogger("ably_ai_transport.local")

_PUBLISHES: Final = frozenset({Action.MESSAGE, Action.PRESENCE})
_CONNECTION_KEY: Final = re.compile(r"[A-Za-z0-9]{10}![A-Za-z0-9]{16}")


class Connections:
    """The connections of an app: those with a websocket, and those that can be resumed."""

    def __init__(
        self,
        channels: Channels,
        attachments: Attachments,
        publishing: Publishing,
        commits: Commits,
        quota: Quota,
        storage: Storage,
        authority: Authority,
        rules: FaultRules,
        *,
        options: LocalServerOptions,
        clock: Clock,
        server_id: str,
    ) -> None:
        self._channels = channels
        self._attachments = attachments
        self._publishing = publishing
        self._commits = commits
        self._quota = quota
        self._storage = storage
        self._authority = authority
        self._rules = rules
        self._options = options
        self._clock = clock
        self._server_id = server_id
        self._resumable: dict[str, Connection] = {}
        self._live: dict[Connection, None] = {}
        self._farewells: dict[Connection, list[Timer]] = {}
        self._revocations: dict[Timer, None] = {}
        self._handlers: dict[int, Callable[[Connection, Frame], None]] = {
            Action.MESSAGE: publishing.message,
            Action.PRESENCE: publishing.presence,
            Action.OBJECT: publishing.unsupported,
            Action.ANNOTATION: publishing.unsupported,
            Action.ATTACH: attachments.attach,
            Action.DETACH: attachments.detach,
            Action.SYNC: attachments.sync,
            Action.HEARTBEAT: _heartbeat,
            Action.AUTH: self._auth,
            Action.CLOSE: self._close,
            Action.DISCONNECT: _disconnect,
        }

    # Finding

    def find(self, key: str) -> Connection | None:
        """Return the connection that a connectionKey belongs to."""
        connection = self._resumable.get(key.partition("!")[0])
        return connection if connection is not None and key in connection.keys else None

    def resumable(self) -> Collection[Connection]:
        """Return the connections that are live or can be resumed."""
        return self._resumable.values()

    def named(self, name: str | None) -> list[Connection]:
        """Return the connections that a fault for `name` hits."""
        everyone = {**self._live, **dict.fromkeys(self._resumable.values())}
        return [connection for connection in everyone if connection.is_named(name)]

    # Frames

    def handle(self, connection: Connection, frame: Frame, size: int) -> None:
        """Answer one frame of `size` bytes. A malformed frame fails the connection, as on Ably."""
        action = frame.get("action", -1)
        handler = self._handlers.get(action)
        if handler is None:
            return
        connection.frame_size = size
        if action not in _PUBLISHES:
            if action != Action.HEARTBEAT:
                self._publishing.flush(connection)
            self._commits.flush()
        try:
            handler(connection, frame)
        except RefusedError as refusal:
            self.fail(connection, refusal)
        except Exception:
            logger.exception("unable to answer a frame", extra={"connection": connection.id})
            self.fail(connection, internal_error())

    def _auth(self, connection: Connection, frame: Frame) -> None:
        token = (frame.get("auth") or {}).get("accessToken")
        if not isinstance(token, str):
            raise bad_request("an AUTH frame must carry an accessToken", 40101)
        connection.renew(self._authority.identify(Credentials(token=token)))
        self._attachments.renew(connection)

    def _close(self, connection: Connection, _frame: Frame) -> None:
        """Answer CLOSE: the connection's state is dropped at once."""
        self.forget(connection)
        self._leave(connection)
        connection.send({"action": int(Action.CLOSED)})
        connection.finish()

    # Websockets come and go

    def admit(self) -> None:
        """Check that one more connection fits.

        Raises:
            RefusedError: 80021, there are too many.
        """
        limit = self._options.limits.max_connections
        if len(self._live) >= limit:
            raise too_many_connections(limit)

    def connect(self, transport: Transport, identity: Identity, query: ConnectQuery) -> Connection:
        """Start or resume a connection over a websocket and send CONNECTED."""
        self._commits.flush()
        key = query.resume
        connection = self._resume(key, identity) if key else None
        resumed = connection is not None
        error: RefusedError | None = None
        if key and connection is None:
            error = connection_expired() if _CONNECTION_KEY.fullmatch(key) else invalid_connection_key()
        if connection is None:
            connection = self._create(identity)
        else:
            connection.identity = identity
            for timer in self._farewells.pop(connection, ()):
                timer.cancel()
        try:
            self._continue(connection, transport, query, error)
        except BaseException:
            # Nobody would end a connection without a websocket and without timers.
            self._live.pop(connection, None)
            self._expire(connection)
            raise
        logger.debug(
            "connected %s (%s)",
            connection.label,
            "resumed" if resumed else "new" if error is None else f"resume failed with {error.code}",
            extra={"connection": connection.id},
        )
        return connection

    def _continue(
        self, connection: Connection, transport: Transport, query: ConnectQuery, error: RefusedError | None
    ) -> None:
        """Carry a connection over a websocket from now on."""
        options, identity = self._options, connection.identity
        rollup_ms, remain_ms = query.rollup_ms, query.remain_ms
        default_ms = options.append_rollup_window_ms
        connection.configure(
            param=query.param,
            echo=query.echo,
            rollup_ms=default_ms if rollup_ms is None else rollup_ms,
            counted_ms=(default_ms or options.limits.append_window_ms) if rollup_ms is None else rollup_ms,
            remain_ms=(
                options.presence_grace_ms
                if remain_ms is None
                else min(remain_ms, options.connection_state_ttl_ms)
            ),
            idle_ms=query.heartbeat(options.max_idle_interval_ms),
        )
        connection.issue_key()
        # If a crash lost the new key, the client could not resume and would publish stored messages again.
        self._storage.save_connection(
            ConnectionRecord(connection.id, tuple(connection.keys), identity.key_name, identity.client_id)
        )
        self._commits.flush()
        superseded = connection.transport
        if superseded is not None:
            self._release(connection)
            superseded.finish()
        connection.start(transport, error)
        self._live[connection] = None
        self._rules.affect(connection)

    def transport_lost(self, connection: Connection, transport: Transport) -> None:
        """Take the end of a websocket: a connection that can be resumed keeps its state for a while."""
        if connection.transport is not transport:
            return
        self._release(connection)
        self._live.pop(connection, None)
        logger.debug("websocket of %s ended", connection.label, extra={"connection": connection.id})
        if connection.id not in self._resumable:
            self._leave(connection)
            return
        self._bid_farewell(connection)

    def cut(self, connection: Connection) -> None:
        """Cut the websocket without a closing handshake; the connection can be resumed."""
        transport = connection.transport
        if transport is not None:
            self.transport_lost(connection, transport)
            transport.abort()

    def fail(self, connection: Connection, error: RefusedError) -> None:
        """Send ERROR and close the websocket; the client does not come back."""
        logger.debug(
            "connection %s failed: %s",
            connection.label,
            error.message,
            extra={"connection": connection.id, "code": error.code},
        )
        connection.send({"action": int(Action.ERROR), "error": error.to_wire()})
        self.forget(connection)
        connection.finish()

    def forget(self, connection: Connection) -> None:
        """Make a connection impossible to resume."""
        if self._resumable.pop(connection.id, None) is not None:
            connection.acks.release()
        self._storage.forget_connection(connection.id)
        if self._farewells.get(connection):
            self._expire(connection)

    def revoke(self, key_name: str, after_ms: int) -> None:
        """Disconnect the connections whose tokens have been revoked."""

        def disconnect() -> None:
            for connection in list(self._live):
                identity = connection.identity
                if identity.key_name == key_name and self._authority.is_revoked(identity):
                    connection.disconnect(RefusedError(40141, 401, "Token revoked"))

        if after_ms:
            self._revocations[self._clock.call_later(after_ms, disconnect)] = None
        else:
            disconnect()

    # The life of the server

    def recall(self) -> None:
        """Load the connections of an earlier process, so that their clients can resume them."""
        for record in self._storage.connections():
            identity = self._authority.recall(record.key_name, record.client_id)
            connection = self._create(identity, record)
            connection.acks.recall(self._storage.results(record.id))
            self._bid_farewell(connection)

    def recall_presence(self, fixtures: Collection[str]) -> None:
        """Give the presence members of an earlier process back to their connections.

        Members whose connection is forgotten leave, except fixtures.
        """
        for channel in self._channels.all():
            for connection_id in channel.presence.connections():
                connection = self._resumable.get(connection_id)
                if connection is None and connection_id not in fixtures:
                    self._attachments.leave(connection_id, channel)
                elif connection is not None:
                    connection.entered[channel.name] = None

    def cut_all(self) -> None:
        """Cut all websockets and cancel all timers."""
        for connection in self.named(None):
            self.cut(connection)
        for timers in self._farewells.values():
            for timer in timers:
                timer.cancel()
        self._farewells.clear()
        for timer in self._revocations:
            timer.cancel()
        self._revocations.clear()
        self._resumable.clear()
        self._live.clear()

    def _create(self, identity: Identity, record: ConnectionRecord | None = None) -> Connection:
        connection = Connection(
            identity,
            options=self._options,
            clock=self._clock,
            commits=self._commits,
            quota=self._quota,
            server_id=self._server_id,
            id_=None if record is None else record.id,
            keys=() if record is None else record.keys,
        )
        self._resumable[connection.id] = connection
        return connection

    def _resume(self, key: str, identity: Identity) -> Connection | None:
        connection = self.find(key)
        if connection is None:
            return None
        same = (connection.identity.client_id, connection.identity.key_name)
        return connection if same == (identity.client_id, identity.key_name) else None

    def _release(self, connection: Connection) -> None:
        """Take the websocket from a connection; the client attaches its channels again on the next one."""
        self._publishing.flush(connection)
        connection.transport_lost()
        self._attachments.drop_all(connection)

    def _expire(self, connection: Connection) -> None:
        for timer in self._farewells.pop(connection, ()):
            timer.cancel()
        if self._resumable.pop(connection.id, None) is not None:
            connection.acks.release()
        self._storage.forget_connection(connection.id)
        self._leave(connection)

    def _leave(self, connection: Connection) -> None:
        """Remove the presence members of a connection from all channels."""
        entered, connection.entered = connection.entered, {}
        for name in entered:
            channel = self._channels.find(name)
            if channel is not None:
                self._attachments.leave(connection.id, channel)

    def _bid_farewell(self, connection: Connection) -> None:
        self._farewells[connection] = [
            self._clock.call_later(connection.remain_ms, lambda: self._leave(connection)),
            self._clock.call_later(self._options.connection_state_ttl_ms, lambda: self._expire(connection)),
        ]
        if len(self._farewells) > self._options.limits.max_connections:
            self._expire(next(iter(self._farewells)))


def _heartbeat(connection: Connection, frame: Frame) -> None:
    echo: Frame = {"action": int(Action.HEARTBEAT)}
    id_ = frame.get("id")
    if id_ is not None:
        echo["id"] = id_
    connection.send(echo)


def _disconnect(connection: Connection, _frame: Frame) -> None:
    connection.finish()
