"""Acks: the futures of one channel's unanswered publishes."""

import asyncio
from typing import Any, TypeVar

from ably_ai_transport.wire import AITransportError

T = TypeVar("T")


class Acks:
    """Counts the publishes that have no ack yet, so that a channel can be flushed."""

    __slots__ = ("_drained", "_waiting")

    def __init__(self) -> None:
        self._waiting = 0
        self._drained: list[asyncio.Future[None]] = []

    def expect(self) -> asyncio.Future[Any]:
        """Return the future of one more publish; ``resolve`` or ``refuse`` ends it, once."""
        self._waiting += 1
        return asyncio.get_running_loop().create_future()

    def resolve(self, ack: asyncio.Future[T], value: T) -> None:
        """Ack a publish, unless its caller has given up."""
        if not ack.done():
            ack.set_result(value)
        self._count_down()

    def refuse(self, ack: asyncio.Future[Any], error: AITransportError) -> None:
        """Refuse a publish. A refusal that is never awaited is not logged."""
        if not ack.done():
            ack.set_exception(error)
            ack.exception()
        self._count_down()

    async def drained(self) -> None:
        """Return when every publish has its ack, even those of cancelled callers."""
        if self._waiting:
            drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._drained.append(drained)
            await drained

    def _count_down(self) -> None:
        self._waiting -= 1
        if not self._waiting and self._drained:
            waiters, self._drained = self._drained, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


def refused(error: AITransportError) -> asyncio.Future[Any]:
    """Return a failed future, which is not logged if it is never awaited."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    future.set_exception(error)
    future.exception()
    return future
