"""Queue of sends that wait for credits."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

from ably_ai_transport_haip.client import HaipClient
from ably_ai_transport_haip.endpoint.hooks import call
from ably_ai_transport_haip.protocol import HaipError, HaipErrorCode, HaipFlowControlError
from ably_ai_transport_haip.protocol.credits import DEFAULT_CREDITS

logger = logging.getLogger("ably_ai_transport_haip.flow")

Sending: TypeAlias = Callable[[], object]
"""A plain or coroutine function that sends."""


class CreditAwareQueue:
    """Makes sends in order, as credits allow. No message is refused for lack of credits, and none is lost.

    For clients whose ``on_exhausted`` is ``raise``. Each channel has its own queue, so a channel without
    credits does not block the others. A queue without credits requests some; the server grants them as it
    reads.

    Args:
        client: The client that sends.
        on_error: A plain or coroutine function, called with the exception of a send that failed for another
            reason than credits. The exception is logged with its traceback, and the queue continues.

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
        self._requested: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._off: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        off_credits = self._client.on("credits", self._take_grant)
        off_closed = self._client.on("closed", self._wake_all)

        def off() -> None:
            off_credits()
            off_closed()

        self._off = off
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Make the queued sends. If the block raised, drop them."""
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
        """Add a send to the queue of a channel.

        Args:
            channel: The channel.
            send: A plain or coroutine function that sends. It is called again if the credits did not suffice.
        """
        self._idle.clear()
        self._queues.setdefault(channel, deque()).append(send)
        self._more.setdefault(channel, asyncio.Event()).set()
        if channel not in self._workers:
            self._workers[channel] = asyncio.get_running_loop().create_task(self._work(channel))

    def get_queue_length(self, channel: str) -> int:
        """Return the number of queued sends of a channel."""
        return len(self._queues.get(channel, ()))

    def clear_queue(self, channel: str) -> None:
        """Drop the queued sends of a channel."""
        self._queues.pop(channel, None)
        self._settle()

    async def join(self) -> None:
        """Wait until no send is queued."""
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
                await call(send)
            except HaipFlowControlError as error:
                await self._request(channel, error)
                await more.wait()
                continue
            except Exception as error:  # a send is a user's code; one that fails must not stop the queue
                logger.exception("Unable to make a queued send on channel %s", channel)
                await self._report(error)
            if queue and queue[0] is send:
                queue.popleft()

    async def _report(self, error: Exception) -> None:
        if self._on_error is None:
            return
        try:
            await call(self._on_error, error)
        except Exception:  # a user's code
            logger.exception("The on_error function of a queue raised")

    async def _request(self, channel: str, error: HaipFlowControlError) -> None:
        """Request the credits that are missing, once until some arrive."""
        if error.code == HaipErrorCode.CHANNEL_PAUSED or channel in self._requested:
            return
        self._requested.add(channel)
        missing = [
            max(most, needed - left) if needed > left else 0
            for most, needed, left in (
                (DEFAULT_CREDITS, _count(error, "needed_messages"), _count(error, "messages")),
                (1, _count(error, "needed_bytes"), _count(error, "bytes")),
            )
        ]
        try:
            await self._client.send_flow_update(channel, *missing)
        except HaipError as failed:
            # The next send fails, too, and is reported.
            logger.debug("Unable to request credits for channel %s: %s", channel, failed)
            self._wake(channel)

    def _take_grant(self, channel: str) -> None:
        self._requested.discard(channel)
        self._wake(channel)

    def _wake_all(self) -> None:
        """Let the queued sends fail: the client is closed, and there will be no credits."""
        for channel in self._more:
            self._take_grant(channel)

    def _wake(self, channel: str) -> None:
        more = self._more.get(channel)
        if more is not None:
            more.set()

    def _settle(self) -> None:
        if not any(self._queues.values()):
            self._idle.set()


def _count(error: HaipFlowControlError, name: str) -> int:
    number = error.details.get(name)
    return number if isinstance(number, int) else 0
