"""The engine of an app: builds its parts, starts and closes them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ably_ai_transport.local.auth.credentials import Authority
from ably_ai_transport.local.auth.keys import keys_of
from ably_ai_transport.local.auth.tokens import TokenDesk
from ably_ai_transport.local.clock import Clock, SystemClock
from ably_ai_transport.local.core.attachments import Attachments
from ably_ai_transport.local.core.channels import Channels
from ably_ai_transport.local.core.commits import Commits
from ably_ai_transport.local.core.connections import Connections
from ably_ai_transport.local.core.fault_rules import FaultRules
from ably_ai_transport.local.core.faults import Faults
from ably_ai_transport.local.core.limits import Quota
from ably_ai_transport.local.core.publishing import Publishing
from ably_ai_transport.local.core.steps import Publisher
from ably_ai_transport.local.protocol.refusals import bad_request
from ably_ai_transport.local.protocol.serials import SerialMinter
from ably_ai_transport.local.stats import Stats
from ably_ai_transport.local.storage.memory import MemoryStorage

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ably_ai_transport.local.auth.credentials import Identity
    from ably_ai_transport.local.auth.keys import ApiKey
    from ably_ai_transport.local.core.steps import Outcome
    from ably_ai_transport.local.core.transport import FrameObserver
    from ably_ai_transport.local.options import LocalServerOptions
    from ably_ai_transport.local.protocol.messages import Submission
    from ably_ai_transport.local.storage.contract import Storage, StorageError

logger = logging.getLogger("ably_ai_transport.local")


class Engine:
    """One app: its composition root.

    The parts get one another here, and none of them gets the engine. Everything runs in one event loop, each
    frame as one step.
    """

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
        clock = clock or SystemClock()
        self.options = options
        self.clock: Clock = clock
        self.storage: Storage = storage or MemoryStorage()
        self.stats = stats if stats is not None else Stats()
        self.observers: list[FrameObserver] = observers if observers is not None else []
        self.authority = Authority(keys if keys is not None else keys_of(options.keys), clock)
        self.tokens = TokenDesk(self.authority, clock)
        self.commits = Commits(self.storage, clock)
        self.rules = FaultRules()
        self._keeps_key = keys is None and not options.keys
        self._minter = SerialMinter(clock)
        self.quota = Quota(options.limits)
        self.channels = Channels(
            self.storage,
            self._minter,
            self.quota,
            self.commits,
            options=options,
            clock=clock,
            stats=self.stats,
        )
        self.attachments = Attachments(
            self.channels, self._minter, self.commits, options=options, clock=clock
        )
        self._publishing = Publishing(
            self.channels,
            self.attachments,
            self.commits,
            self.quota,
            self.rules,
            options=options,
            clock=clock,
            stats=self.stats,
        )
        self.connections = Connections(
            self.channels,
            self.attachments,
            self._publishing,
            self.commits,
            self.quota,
            self.storage,
            self.authority,
            self.rules,
            options=options,
            clock=clock,
            server_id=f"local-{self._minter.series}",
        )
        self.faults = Faults(self.rules, self.connections, self.channels, self.attachments)

    def start(self, fixtures: Collection[str] = ()) -> None:
        """Open the storage and load the data of an earlier process. Needs a running event loop.

        Args:
            fixtures: Connections that never leave, though no client has them.

        Raises:
            StorageUnusableError: The storage cannot be opened.
            StorageDamagedError: The storage has lost content.
        """
        storage = self.storage
        if not storage.is_durable:
            return
        storage.open()
        if storage.series is not None:
            self._minter.go_on(*storage.series)
        if self._keeps_key:
            if storage.saved_key is None:
                storage.save_key(self.authority.key)
            self.authority.replace(keys_of([storage.saved_key or self.authority.key]))
        self.connections.recall()
        self.channels.reload()
        self.connections.recall_presence(fixtures)
        self.commits.flush()

    def publish(self, name: str, identity: Identity, submissions: Sequence[Submission]) -> Outcome:
        """Publish over REST; the messages are stored when this returns.

        Args:
            name: The channel.
            identity: The credentials of the request.
            submissions: The messages. A connectionKey in the first one publishes on behalf of its connection
                (Ably specification TM2h).

        Raises:
            RefusedError: The publish breaks a rule.
        """
        self.quota.check_size(submissions)
        key = submissions[0].connection_key if submissions else None
        if key is None:
            return self._publishing.rest(name, Publisher(identity), submissions)
        connection = self.connections.find(key)
        if connection is None:
            raise bad_request("Malformed message; invalid connectionKey", 40006)
        return self._publishing.rest(name, Publisher(identity, connection.id), submissions)

    def commit(self) -> None:
        """Store every step so far.

        Raises:
            RefusedError: 50000, they cannot be stored.
        """
        failures: list[StorageError] = []
        self.commits.then(lambda error: failures.append(error) if error is not None else None)
        self.commits.flush()
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Cut all websockets, cancel all timers and close the storage."""
        self.commits.flush()
        self.connections.cut_all()
        self.channels.close()
        self.commits.flush()
        self.commits.close()
        self.storage.close()
