"""Strategies for HAIP credits: when a client requests more, before it has none left.

Clients whose ``on_exhausted`` is ``wait`` or ``queue`` request credits by themselves. These strategies are
for clients whose ``on_exhausted`` is ``raise``.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from ably_ai_transport_haip import HaipClient, HaipMessage

CHANNELS = ("USER", "AGENT", "SYSTEM")


class AutomaticFlowControl:
    """Checks the credits before each text, and requests more below a threshold."""

    def __init__(
        self, client: HaipClient, *, message_threshold: int = 5, byte_threshold: int = 512 * 1024
    ) -> None:
        self._client = client
        self._message_threshold = message_threshold
        self._byte_threshold = byte_threshold

    async def send_text_message(
        self, channel: str, text: str, author: str | None = None, run_id: str | None = None
    ) -> str:
        """Request credits if needed, then send a text."""
        await self.ensure_credits(channel)
        return await self._client.send_text_message(channel, text, author, run_id)

    async def ensure_credits(self, channel: str) -> None:
        """Request credits below the thresholds."""
        state = self._client.get_connection_state()
        messages, size = state.credits.get(channel, 0), state.byte_credits.get(channel, 0)
        if messages < self._message_threshold:
            await self._client.send_flow_update(channel, max(10, self._message_threshold - messages))
        if size < self._byte_threshold:
            await self._client.send_flow_update(channel, 0, max(1024 * 1024, self._byte_threshold - size))


class _Strategy:
    """Requests credits in its own tasks, for as long as its block runs."""

    def __init__(self, client: HaipClient) -> None:
        self._client = client
        self._tasks: asyncio.TaskGroup

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Follow the strategy."""
        async with asyncio.TaskGroup() as self._tasks:
            offs = self._listen()
            ticking = self._tasks.create_task(self._tick())
            try:
                yield
            finally:
                ticking.cancel()
                for off in offs:
                    off()

    def _listen(self) -> list[Callable[[], None]]:
        return []

    async def _tick(self) -> None:
        pass

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.create_task(work)


class ConservativeFlowControl(_Strategy):
    """Requests the last grant again if half of it is spent soon after it arrived."""

    def __init__(self, client: HaipClient, delay: float = 1.0) -> None:
        super().__init__(client)
        self._delay = delay

    def _listen(self) -> list[Callable[[], None]]:
        return [self._client.on("message", self._take)]

    def _take(self, message: HaipMessage) -> None:
        granted = message.payload.get("add_messages")
        if message.type == "FLOW_UPDATE" and isinstance(granted, int):
            self._start(self._ask(str(message.payload["channel"]), granted))

    async def _ask(self, channel: str, granted: int) -> None:
        await asyncio.sleep(self._delay)
        if self._client.get_connection_state().credits.get(channel, 0) <= granted / 2:
            await self._client.send_flow_update(channel, granted)


class AggressiveFlowControl(_Strategy):
    """Requests many credits as soon as the client is connected."""

    def _listen(self) -> list[Callable[[], None]]:
        return [self._client.on("connect", lambda: self._start(self._ask()))]

    async def _ask(self) -> None:
        for channel in CHANNELS:
            await self._client.send_flow_update(channel, 100, 10 * 1024 * 1024)


class AdaptiveFlowControl(_Strategy):
    """Requests credits for channels with many texts, at most once per pause."""

    def __init__(self, client: HaipClient, period: float = 5.0, pause: float = 10.0) -> None:
        super().__init__(client)
        self._period = period
        self._pause = pause
        self._rates: dict[str, float] = {}
        self._asked: dict[str, float] = {}

    def _listen(self) -> list[Callable[[], None]]:
        return [self._client.on("message", self._take)]

    def _take(self, message: HaipMessage) -> None:
        channel = message.envelope.channel
        if message.type == "MESSAGE_START" and channel is not None:
            # A moving average, near 1 for a channel with many texts.
            self._rates[channel] = self._rates.get(channel, 0) * 0.9 + 0.1

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self._period)
            now = asyncio.get_running_loop().time()
            for channel in CHANNELS:
                rate = self._rates.get(channel, 0)
                if rate > 0.5 and now - self._asked.get(channel, float("-inf")) > self._pause:
                    self._asked[channel] = now
                    await self._client.send_flow_update(channel, min(50, int(rate * 100)))
