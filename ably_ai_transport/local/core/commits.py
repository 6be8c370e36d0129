"""Group commits: acks and deliveries wait until their step is stored; a step that is not stored is undone."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, TypeAlias

from ably_ai_transport.local.storage.contract import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.core.steps import Packet
    from ably_ai_transport.local.core.transport import Transport
    from ably_ai_transport.local.storage.contract import Storage

logger = logging.getLogger("ably_ai_transport.local")

_RETRY_MS: Final = 1000

Stored: TypeAlias = "Callable[[StorageError | None], None]"
"""Called once a step is stored, or with the reason why it cannot be."""

_Effect: TypeAlias = "tuple[Stored | None, Transport | None, Packet | None]"


class Commits:
    """Holds effects until the storage has committed their steps.

    With a storage in memory, effects happen at once. With a durable one, the steps that come in while the
    event loop is busy are committed as one group; their effects follow in order. Code that reads the state
    of a channel (attach, history, resume) calls `flush` first, so that no reader sees changes that a crash
    could still undo. A group that cannot be stored is undone as a whole: what can be read is what is stored.

    Args:
        storage: The storage.
        clock: The clock, for retries.
    """

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock
        self.is_durable = storage.is_durable
        self._effects: deque[_Effect] = deque()
        self._undos: list[Callable[[], None]] = []
        self._retries: list[Callable[[], None]] = []
        self._owed: list[Callable[[], None]] = []
        self._is_scheduled = False
        self._is_failing = False
        self._timer: Timer | None = None

    def undo(self, action: Callable[[], None]) -> None:
        """Call `action` if the steps so far cannot be stored; the latest action comes first."""
        if self.is_durable:
            self._undos.append(action)

    def retry(self, action: Callable[[], None]) -> None:
        """Call `action` once the storage works again, if the steps so far cannot be stored now."""
        if self.is_durable:
            self._retries.append(action)

    def then(self, effect: Stored) -> None:
        """Call `effect` once all steps so far are stored."""
        if not self.is_durable:
            effect(None)
            return
        self._effects.append((effect, None, None))
        self._schedule()

    def deliver(self, transport: Transport, packet: Packet) -> None:
        """Send a packet once all steps so far are stored; if they cannot be, it is never sent."""
        if not self.is_durable:
            transport.deliver(packet)
            return
        self._effects.append((None, transport, packet))
        self._schedule()

    def flush(self) -> None:
        """Commit now and run the effects that wait."""
        if not self.is_durable:
            return
        error = None
        undos, self._undos = self._undos, []
        retries, self._retries = self._retries, []
        try:
            self._storage.commit()
        except StorageError as caught:
            error = caught
            for undo in reversed(undos):
                undo()
            self._owed += retries
        self._report(error)
        effects, self._effects = self._effects, deque()
        for effect, transport, packet in effects:
            if effect is not None:
                effect(error)
            elif transport is not None and packet is not None and error is None:
                transport.deliver(packet)

        if error is None and self._owed:
            owed, self._owed = self._owed, []
            for action in owed:
                action()

    def close(self) -> None:
        """Cancel the retry."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _report(self, error: StorageError | None) -> None:
        """Log when the storage fails and when it works again; until then, try again now and then."""
        if error is None:
            if self._is_failing:
                logger.warning("the storage works again")
            self._is_failing = False
            self.close()
            return
        if not self._is_failing:
            logger.error("%s; publishes are refused until it works again", error.message)
        self._is_failing = True
        if self._timer is None:
            self._timer = self._clock.call_later(_RETRY_MS, self._try_again)

    def _try_again(self) -> None:
        self._timer = None
        self.flush()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        self.flush()
