"""Ably clients for tests, which leave nothing behind."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ably import AblyRealtime

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ably_ai_transport.channel.contract import Channel, ChannelStateChange
    from ably_ai_transport.wire import InboundMessage

_PUBLISHES = "ably publishes"
_OURS = (_PUBLISHES, "ably attach", "ably detach", "ably heartbeat", "ably pool close")
_open: set[AblyRealtime] = set()


@asynccontextmanager
async def realtime(options: dict[str, Any]) -> AsyncGenerator[AblyRealtime]:
    """Make a client and close it; nothing that the channel room started may be left then.

    The SDK itself leaves tasks behind when it is closed (timers, and callers that wait in vain). They are
    cancelled here, so that they cannot disturb later tests.
    """
    before = asyncio.all_tasks()
    client = AblyRealtime(**options)
    _open.add(client)
    try:
        yield client
    finally:
        _open.discard(client)
        await client.close()
        left = asyncio.all_tasks() - before - {asyncio.current_task()}
        ours = {task for task in left if task.get_name() in _OURS}
        # Clients that are still open have one task each, which waits for publishes.
        while len(ours) > len(_open):
            done, ours = await asyncio.wait(ours, timeout=1, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
        kept = sorted(task.get_name() for task in ours)
        for task in left:
            if "/ably/" in task.get_coro().cr_code.co_filename:  # type: ignore[union-attr]
                task.cancel()
        await asyncio.gather(*(task for task in left if task.cancelling()), return_exceptions=True)
        assert kept.count(_PUBLISHES) == len(kept) <= len(_open), kept


def sdk(client: AblyRealtime) -> Any:  # noqa: ANN401
    """Return a client as what it is to type checkers: anything."""
    return client


class Seen:
    """Records the messages and the state changes of a channel."""

    def __init__(self, channel: Channel) -> None:
        self.messages: list[InboundMessage] = []
        self.changes: list[ChannelStateChange] = []
        self._arrived = asyncio.Event()
        channel.subscribe(self._on_message)
        channel.on_state(self._on_state)

    @property
    def states(self) -> list[str]:
        """The states that were reported."""
        return [str(change.current) for change in self.changes]

    async def first(self, count: int) -> list[InboundMessage]:
        """Return the messages once there are so many."""
        while len(self.messages) < count:
            await self._next()
        return self.messages

    async def change(self, state: str, count: int = 1) -> ChannelStateChange:
        """Return a change to a state, once it has been reported so many times."""
        while self.states.count(state) < count:
            await self._next()
        return [change for change in self.changes if change.current == state][count - 1]

    def _on_message(self, message: InboundMessage) -> None:
        self.messages.append(message)
        self._arrived.set()

    def _on_state(self, change: ChannelStateChange) -> None:
        self.changes.append(change)
        self._arrived.set()

    async def _next(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()
