"""Standby: the open connections of a session besides the one that it uses.

The reference client connects twice after each lost connection. It listens on both connections and sends on
the newer one. It drops no duplicates, so the newer connection may only repeat what the older one did not
deliver. And it connects twice again when any of its connections is closed, whatever the code: so the older
one stays open, without traffic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from ably_ai_transport_haip.protocol import HaipMessage
from ably_ai_transport_haip.server.outlet import Outlet

HANDOVER_SECONDS: Final = 5.0
"""The time for the reply to the last frame on the older connection."""
MOST_IDLE: Final = 16
"""The largest number of connections of one session that stay open without traffic."""


@dataclass(slots=True)
class Handover:
    """A connection that waits until the one before it has delivered its frames.

    Attributes:
        outlet: The connection.
        handshake: Its handshake.
        nonce: The nonce of the ping that is the last frame on the connection before it.
        number: The sequence number of the ping.
        left: The number of frames that are still to be written on the connection before it.
        deadline: The time when it takes over without a reply, on the clock of the event loop.
    """

    outlet: Outlet
    handshake: HaipMessage
    nonce: str
    number: int
    left: int
    deadline: float


class Standby:
    """The connection that waits to take over, and those that are no longer used.

    Attributes:
        handover: The connection that waits; None if there is none.
    """

    def __init__(self) -> None:
        self.handover: Handover | None = None
        self._idle: list[Outlet] = []
        self._changed = anyio.Event()

    def __contains__(self, outlet: object) -> bool:
        waiting = None if self.handover is None else self.handover.outlet
        return outlet is waiting or any(outlet is idle for idle in self._idle)

    def begin(self, handover: Handover) -> None:
        """Let a connection wait. One that waited before is no longer used."""
        before, self.handover = self.handover, handover
        if before is not None:
            self.retire(before.outlet)
        self.notify()

    def finish(self) -> Handover | None:
        """Return the connection that waits, and end its wait."""
        handover, self.handover = self.handover, None
        return handover

    def retire(self, outlet: Outlet) -> None:
        """Keep a connection open that is no longer used. If there are too many, the oldest is released."""
        self._idle.append(outlet)
        del self._idle[:-MOST_IDLE]
        self.notify()

    def remove(self, outlet: Outlet) -> None:
        """Forget a connection that is lost or closed."""
        self._idle = [idle for idle in self._idle if idle is not outlet]
        if self.handover is not None and self.handover.outlet is outlet:
            self.handover = None
        self.notify()

    def clear(self) -> Sequence[Outlet]:
        """Forget all connections; return them."""
        waiting = self.finish()
        outlets = [*self._idle, *(() if waiting is None else (waiting.outlet,))]
        self._idle.clear()
        self.notify()
        return outlets

    def may_write(self) -> bool:
        """Tell whether the connection in use may write one more frame, and count it."""
        if self.handover is None:
            return True
        self.handover.left -= 1
        return self.handover.left >= 0

    def notify(self) -> None:
        """Wake the connections that wait for a change."""
        self._changed.set()
        self._changed = anyio.Event()

    async def wait(self, outlet: Outlet) -> Handover | None:
        """Wait for a change.

        Args:
            outlet: The connection that waits for it.

        Returns:
            The handover of the connection if its time is over.
        """
        handover = self.handover
        if handover is None or handover.outlet is not outlet:
            await self._changed.wait()
            return None
        with anyio.CancelScope(deadline=handover.deadline):
            await self._changed.wait()
        return handover if anyio.current_time() >= handover.deadline else None
