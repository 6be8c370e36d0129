"""Waits for credits."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self, TypeAlias

from ably_ai_transport_haip.client import HaipClient
from ably_ai_transport_haip.protocol import HaipFlowControlError

logger = logging.getLogger("ably_ai_transport_haip")

Sending: TypeAlias = Callable[[], Awaitable[object]]


class CreditAwareQueue:
    """Sends in order as credits allow, so that nothing is refused for lack of them and nothing is lost.

    For clients that raise when there are no credits. Each channel has a queue of its own: one without credits
    does not hold up the others.

    Args:
        client: The client that sends.
        on_error: Called with what a send raised for another reason than credits; the queue goes on.

    Example:
        >>> async with CreditAwareQueue(client) as queue:  # doctest: +SKIP
        ...     queue.enqueue("USER", lambda: client.send_text_message("USER", "Hello"))
        ...     await queue.join()
    """

    def __init__(self, client: HaipClient, on_error: Callable[[Exception], object] | None = None) -> None:
        self._client = client
        self._on_error = on_error
        self._queues: dict[str, deque[Sending]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._more: dict[str, asyncio.Event] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._off: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        self._off = self._client.on("credits", self._wake)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send what is queued, unless the block failed; whatever is left then is dropped."""
        try:
            if kind is None:
                await self.join()
        finally:
            self._off()
            workers = tuple(self._workers.values())
            for worker in workers:
                worker.cancel()
            if workers:
                await asyncio.wait(workers)

    def enqueue(self, channel: str, send: Sending) -> None:
        """Put something at the end of a channel's queue.

        Args:
            channel: The channel.
            send: Sends it. It is called again where there turn out to be no credits for it.
        """
        self._idle.clear()
        self._queues.setdefault(channel, deque()).append(send)
        self._more.setdefault(channel, asyncio.Event()).set()
        if channel not in self._workers:
            self._workers[channel] = asyncio.get_running_loop().create_task(self._work(channel))

    def get_queue_length(self, channel: str) -> int:
        """Return how much waits on a channel."""
        return len(self._queues.get(channel, ()))

    def clear_queue(self, channel: str) -> None:
        """Drop what waits on a channel."""
        self._queues.pop(channel, None)
        self._settle()

    async def join(self) -> None:
        """Return when nothing waits any more."""
        await self._idle.wait()

    async def _work(self, channel: str) -> None:
        more = self._more[channel]
        while True:
            more.clear()
            queue = self._queues.get(channel)
            if not queue:
                self._settle()
                await more.wait()
                continue
            send = queue[0]
            try:
                await send()
            except HaipFlowControlError:
                await more.wait()
                continue
            except Exception as error:
                logger.exception("A queued message of channel %s could not be sent", channel)
                if self._on_error is not None:
                    self._on_error(error)
            if queue and queue[0] is send:
                queue.popleft()

    def _wake(self, channel: str) -> None:
        more = self._more.get(channel)
        if more is not None:
            more.set()

    def _settle(self) -> None:
        if not any(self._queues.values()):
            self._idle.set()
