"""The server without its sockets: channels, connections and what they share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.auth.credentials import Authority, keys_of
from ably_ai_transport.local.auth.tokens import TokenDesk
from ably_ai_transport.local.clock import Clock, SystemClock, Timer
from ably_ai_transport.local.core.attaching import Attaching
from ably_ai_transport.local.core.channel import Channel
from ably_ai_transport.local.core.commits import Commits
from ably_ai_transport.local.core.connection import Connection
from ably_ai_transport.local.core.dispatch import Dispatcher
from ably_ai_transport.local.core.faults import Faults
from ably_ai_transport.local.core.limits import Quota, RateLimit
from ably_ai_transport.local.core.publishing import Publishing
from ably_ai_transport.local.protocol.refusals import (
    RefusedError,
    connection_expired,
    invalid_connection_key,
    too_many_channels,
    too_many_connections,
)
from ably_ai_transport.local.protocol.serials import SerialMinter
from ably_ai_transport.local.stats import Stats
from ably_ai_transport.local.storage.contract import ConnectionRecord, Storage
from ably_ai_transport.local.storage.memory import MemoryStorage
from ably_ai_transport.local.storage.sweep import Sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.auth.keys import ApiKey
    from ably_ai_transport.local.core.transport import FrameObserver, Transport
    from ably_ai_transport.local.options import LocalServerOptions

_MAX_ROLLUP_MS: Final = 500
_CONNECTION_KEY: Final = re.compile(r"[A-Za-z0-9]{10}![A-Za-z0-9]{16}")


class Engine:
    """All state of an app. Everything runs in one event loop, each frame as one step."""

    def __init__(
        self,
        options: LocalServerOptions,
        *,
        keys: Sequence[ApiKey] | None = None,
        clock: Clock | None = None,
        storage: Storage | None = None,
        stats: Stats | None = None,
        observers: list[FrameObserver] | None = None,
    ) -> None:
        self.options = options
        self.clock: Clock = clock or SystemClock()
        self.storage: Storage = storage or MemoryStorage()
        self.minter = SerialMinter(self.clock)
        self.authority = Authority(keys if keys is not None else keys_of(options.keys), self.clock)
        self.tokens = TokenDesk(self.authority, self.clock)
        self.quota = Quota(options.limits)
        self.commits = Commits(self.storage)
        self.sweep = Sweep(self.clock, options.retention_ms)
        self.stats = stats if stats is not None else Stats()
        self.observers: list[FrameObserver] = observers if observers is not None else []
        self.faults = Faults(self)
        self.attaching = Attaching(self)
        self.publishing = Publishing(self)
        self.dispatcher = Dispatcher(self)
        self.server_id = f"local-{self.minter.series}"
        self.channels: dict[str, Channel] = {}
        self.connections: dict[str, Connection] = {}
        """Connections that are alive or can be resumed, by connectionId."""
        self._live: dict[Connection, None] = {}
        self._farewells: dict[Connection, list[Timer]] = {}
        self._revocations: dict[Timer, None] = {}

    def start(self) -> None:
        """Take up what a process before has left behind. Needs a running event loop.

        Raises:
            StorageUnusableError: The storage cannot be opened.
        """
        storage = self.storage
        if not storage.is_durable:
            return
        storage.open()
        if storage.series is not None:
            self.minter.go_on(*storage.series)
        if not self.options.keys:
            if storage.saved_key is None:
                storage.save_key(self.authority.key)
            self.authority.replace(keys_of([storage.saved_key or self.authority.key]))
        self.channels.clear()
        for record in self.storage.connections():
            identity = self.authority.recall(record.key_name, record.client_id)
            connection = Connection(self, identity, id_=record.id, keys=record.keys)
            connection.acks.recall(self.storage.results(record.id))
            self.connections[connection.id] = connection
            self._bid_farewell(connection)
        for name in storage.names():
            channel = self.channel(name)
            self.sweep.note(channel.storage)
            for connection_id in channel.presence.connections() - self.connections.keys():
                self.publishing.leave(connection_id, channel)
        self.commits.flush()

    def channel(self, name: str) -> Channel:
        """Return a channel, made when missing.

        Raises:
            RefusedError: 40114, there are as many as there may be.
        """
        channel = self.channels.get(name)
        if channel is None:
            limits = self.options.limits
            if len(self.channels) >= limits.max_channels:
                raise too_many_channels(limits.max_channels)
            channel = self.channels[name] = Channel(
                name,
                self.storage.channel(name),
                self.minter,
                self.quota,
                mutable=self.options.is_mutable(name),
                retention_ms=self.options.retention_ms,
                max_members=limits.max_members,
                on_step=self.sweep.note,
                rate=self._rate(limits.channel_rate, 42913, "channel.maxRate"),
                # All that was ever on a channel of this storage came after its beginning.
                origin=self.minter.origin if self.storage.is_durable else None,
            )
            self.stats.channels += 1
        return channel

    # Connections

    def admit(self) -> None:
        """Let one more connection in.

        Raises:
            RefusedError: 80021, there are as many as there may be.
        """
        limit = self.options.limits.max_connections
        if len(self._live) >= limit:
            raise too_many_connections(limit)

    def connect(self, transport: Transport, identity: Identity, params: Mapping[str, str]) -> Connection:
        """Begin or resume a connection over a websocket and send CONNECTED."""
        self.commits.flush()
        key = params.get("resume") or params.get("recover")
        connection = self._resumable(key, identity) if key else None
        error: RefusedError | None = None
        if key and connection is None:
            error = connection_expired() if _CONNECTION_KEY.fullmatch(key) else invalid_connection_key()
        if connection is None:
            connection = Connection(self, identity)
            connection.rate = self._rate(self.options.limits.connection_rate, 42911, "connection.inboundRate")
            self.connections[connection.id] = connection
        else:
            connection.identity = identity
            for timer in self._farewells.pop(connection, ()):
                timer.cancel()
        options = self.options
        connection.configure(
            label=params.get("conn"),
            echo=params.get("echo") != "false",
            rollup_ms=_number(params, "appendRollupWindow", options.append_rollup_window_ms, _MAX_ROLLUP_MS),
            remain_ms=_number(
                params, "remainPresentFor", options.presence_grace_ms, options.connection_state_ttl_ms
            ),
        )
        connection.issue_key()
        # A key that a crash took back would make the client publish again what is stored.
        self.storage.save_connection(
            ConnectionRecord(connection.id, tuple(connection.keys), identity.key_name, identity.client_id)
        )
        self.commits.flush()
        connection.start(transport, error)
        self._live[connection] = None
        self.faults.affect(connection)
        return connection

    def connection_of(self, key: str) -> Connection | None:
        """Return the connection that a connectionKey was handed out for."""
        connection = self.connections.get(key.partition("!")[0])
        return connection if connection is not None and key in connection.keys else None

    def transport_lost(self, connection: Connection, transport: Transport) -> None:
        """Note the end of a websocket: the connection's state is kept for a while, if it is still known."""
        if connection.transport is not transport:
            return
        connection.transport_lost(transport)
        self._live.pop(connection, None)
        if connection.id not in self.connections:
            self.leave(connection)
            return
        self._bid_farewell(connection)

    def forget(self, connection: Connection) -> None:
        """Make a connection impossible to resume."""
        self.connections.pop(connection.id, None)
        self.storage.forget_connection(connection.id)
        if self._farewells.get(connection):
            self._expire(connection)

    def leave(self, connection: Connection) -> None:
        """Take a connection's presence members out of all channels."""
        for channel in self.channels.values():
            self.publishing.leave(connection.id, channel)

    def revoke(self, key_name: str, after_ms: int) -> None:
        """Disconnect whoever holds a token that has been revoked."""

        def disconnect() -> None:
            for connection in list(self._live):
                if connection.identity.key_name == key_name and self.authority.is_revoked(
                    connection.identity
                ):
                    connection.disconnect(RefusedError(40141, 401, "Token revoked"))

        if after_ms:
            self._revocations[self.clock.call_later(after_ms, disconnect)] = None
        else:
            disconnect()

    def connections_named(self, name: str | None) -> list[Connection]:
        """Return the connections that a fault is meant for."""
        everyone = {**self._live, **dict.fromkeys(self.connections.values())}
        return [connection for connection in everyone if connection.is_named(name)]

    def close(self) -> None:
        """Cut everything and cancel every timer."""
        self.commits.flush()
        for connection in self.connections_named(None):
            connection.cut()
        for timers in self._farewells.values():
            for timer in timers:
                timer.cancel()
        self._farewells.clear()
        for timer in self._revocations:
            timer.cancel()
        self._revocations.clear()
        self.sweep.close()
        self.connections.clear()
        self._live.clear()
        self.commits.flush()
        self.storage.close()

    def _expire(self, connection: Connection) -> None:
        for timer in self._farewells.pop(connection, ()):
            timer.cancel()
        self.connections.pop(connection.id, None)
        self.storage.forget_connection(connection.id)
        self.leave(connection)

    def _bid_farewell(self, connection: Connection) -> None:
        self._farewells[connection] = [
            self.clock.call_later(connection.remain_ms, lambda: self.leave(connection)),
            self.clock.call_later(self.options.connection_state_ttl_ms, lambda: self._expire(connection)),
        ]

    def _rate(self, rate: int | None, code: int, metric: str) -> RateLimit | None:
        if rate is None:
            return None
        text = f"Rate limit exceeded; request rejected (nonfatal); metric = {metric}; permitted = {rate}/s"
        return RateLimit(rate, self.clock, RefusedError(code, 429, text))

    def _resumable(self, key: str, identity: Identity) -> Connection | None:
        connection = self.connection_of(key)
        if connection is None:
            return None
        same = (connection.identity.client_id, connection.identity.key_name)
        return connection if same == (identity.client_id, identity.key_name) else None


def _number(params: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Return a number of milliseconds from the query of a websocket."""
    text = params.get(name, "")
    return min(int(text), most) if text.isdecimal() else default
