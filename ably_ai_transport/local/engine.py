"""The server without its sockets: channels, connections and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ably_ai_transport.local.attaching import Attaching
from ably_ai_transport.local.auth import Authority, Identity
from ably_ai_transport.local.channel import Channel
from ably_ai_transport.local.clock import Clock, SystemClock, Timer
from ably_ai_transport.local.connection import Connection
from ably_ai_transport.local.faults import Faults
from ably_ai_transport.local.publishing import Publishing
from ably_ai_transport.local.refusals import resume_failed
from ably_ai_transport.local.serials import SerialMinter
from ably_ai_transport.local.stats import Stats
from ably_ai_transport.local.storage import MemoryStorage, Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ably_ai_transport.local.options import LocalServerOptions
    from ably_ai_transport.local.transport import FrameObserver, Transport

_MAX_ROLLUP_MS = 500


class Engine:
    """All state of a server. Everything runs in one event loop, each frame as one step."""

    def __init__(
        self, options: LocalServerOptions, *, clock: Clock | None = None, storage: Storage | None = None
    ) -> None:
        self.options = options
        self.clock: Clock = clock or SystemClock()
        self.storage: Storage = storage or MemoryStorage()
        self.minter = SerialMinter(self.clock)
        self.authority = Authority(options.keys, self.clock)
        self.stats = Stats()
        self.observers: list[FrameObserver] = []
        self.faults = Faults(self)
        self.attaching = Attaching(self)
        self.publishing = Publishing(self)
        self.server_id = f"local-{self.minter.series}"
        self.channels: dict[str, Channel] = {}
        self.connections: dict[str, Connection] = {}
        """Connections that are alive or can be resumed, by connectionId."""
        self._live: dict[Connection, None] = {}
        self._farewells: dict[Connection, list[Timer]] = {}

    def channel(self, name: str) -> Channel:
        """Return a channel, made when missing."""
        channel = self.channels.get(name)
        if channel is None:
            channel = self.channels[name] = Channel(
                name,
                self.storage.channel(name),
                self.minter,
                mutable=not name.startswith(self.options.immutable_prefixes),
                retention_ms=self.options.retention_ms,
            )
            self.stats.channels += 1
        return channel

    # Connections

    def connect(self, transport: Transport, identity: Identity, params: Mapping[str, str]) -> Connection:
        """Begin or resume a connection over a websocket and send CONNECTED."""
        key = params.get("resume") or params.get("recover")
        connection = self._resumable(key, identity) if key else None
        error = resume_failed() if key and connection is None else None
        if connection is None:
            connection = Connection(
                self,
                identity,
                label=params.get("conn"),
                echo=params.get("echo") != "false",
                rollup_ms=self._rollup_window(params),
            )
            self.connections[connection.id] = connection
        else:
            connection.identity = identity
            for timer in self._farewells.pop(connection, ()):
                timer.cancel()
        connection.start(transport, error)
        self._live[connection] = None
        self.faults.affect(connection)
        return connection

    def transport_lost(self, connection: Connection, transport: Transport) -> None:
        """Note the end of a websocket: the connection's state is kept for a while, if it is still known."""
        if connection.transport is not transport:
            return
        connection.transport_lost(transport)
        self._live.pop(connection, None)
        if connection.id not in self.connections:
            self.leave(connection)
            return
        self._farewells[connection] = [
            self.clock.call_later(self.options.presence_grace_ms, lambda: self.leave(connection)),
            self.clock.call_later(self.options.connection_state_ttl_ms, lambda: self._expire(connection)),
        ]

    def forget(self, connection: Connection) -> None:
        """Make a connection impossible to resume."""
        self.connections.pop(connection.id, None)
        if self._farewells.get(connection):
            self._expire(connection)

    def leave(self, connection: Connection) -> None:
        """Take a connection's presence members out of all channels."""
        for channel in self.channels.values():
            self.publishing.leave(connection, channel)

    def connections_named(self, name: str | None) -> list[Connection]:
        """Return the connections that a fault is meant for."""
        everyone = {**self._live, **dict.fromkeys(self.connections.values())}
        return [connection for connection in everyone if connection.is_named(name)]

    def close(self) -> None:
        """Cut everything and cancel every timer."""
        for connection in self.connections_named(None):
            connection.cut()
        for timers in self._farewells.values():
            for timer in timers:
                timer.cancel()
        self._farewells.clear()
        self.connections.clear()
        self._live.clear()
        self.storage.close()

    def _expire(self, connection: Connection) -> None:
        for timer in self._farewells.pop(connection, ()):
            timer.cancel()
        self.connections.pop(connection.id, None)
        self.leave(connection)

    def _resumable(self, key: str, identity: Identity) -> Connection | None:
        connection = self.connections.get(key.partition("!")[0])
        if connection is None or key not in connection.keys:
            return None
        same = (connection.identity.client_id, connection.identity.key_name)
        return connection if same == (identity.client_id, identity.key_name) else None

    def _rollup_window(self, params: Mapping[str, str]) -> int:
        text = params.get("appendRollupWindow", "")
        if not text.isdigit():
            return self.options.append_rollup_window_ms
        return min(int(text), _MAX_ROLLUP_MS)
