"""Group commits: acks and deliveries wait until their step is stored."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from ably_ai_transport.local.storage.contract import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.core.steps import Packet
    from ably_ai_transport.local.core.transport import Transport
    from ably_ai_transport.local.storage.contract import Storage

Stored: TypeAlias = "Callable[[StorageError | None], None]"
"""Called once a step is stored, or with the reason why it cannot be."""

_Effect: TypeAlias = "tuple[Stored | None, Transport | None, Packet | None]"


class Commits:
    """Holds effects until the storage has committed their steps.

    With a storage in memory, effects happen at once. With a durable one, the steps that come in while the
    event loop is busy are committed as one group; their effects follow in order. Code that reads the state
    of a channel (attach, history, resume) calls `flush` first, so that no reader sees changes that a crash
    could still undo.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._durable = storage.is_durable
        self._effects: deque[_Effect] = deque()
        self._is_scheduled = False

    def check(self) -> None:
        """Check that the storage works.

        Raises:
            StorageError: The storage has failed before.
        """
        if self._durable:
            self._storage.check()

    def then(self, effect: Stored) -> None:
        """Call `effect` once all steps so far are stored."""
        if not self._durable:
            effect(None)
            return
        self._effects.append((effect, None, None))
        self._schedule()

    def deliver(self, transport: Transport, packet: Packet) -> None:
        """Send a packet once all steps so far are stored; if they cannot be, it is never sent."""
        if not self._durable:
            transport.deliver(packet)
            return
        self._effects.append((None, transport, packet))
        self._schedule()

    def flush(self) -> None:
        """Commit now and run the effects that wait."""
        if not self._durable:
            return
        error = None
        try:
            self._storage.commit()
        except StorageError as caught:
            error = caught
        effects, self._effects = self._effects, deque()
        for effect, transport, packet in effects:
            if effect is not None:
                effect(error)
            elif transport is not None and packet is not None and error is None:
                transport.deliver(packet)

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        self.flush()
