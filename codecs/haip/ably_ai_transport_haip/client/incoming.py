"""Incoming messages as an asynchronous iterator."""

from collections import deque
from typing import Final, Self

import anyio

from ably_ai_transport_haip.client.events import Emitter
from ably_ai_transport_haip.protocol import HaipError, HaipErrorCode, HaipMessage

KEPT: Final = 10_000
"""The largest number of messages that wait for the reader."""


class IncomingMessages:
    """The messages of a client, from the creation of this iterator until the client is closed.

    Args:
        events: The events of the client.
    """

    def __init__(self, events: Emitter) -> None:
        self._waiting: deque[HaipMessage] = deque()
        self._news = anyio.Event()
        self._is_over = False
        self._overran = False
        self._offs = [events.on("message", self._take), events.on("closed", self._end)]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> HaipMessage:
        while not self._waiting:
            if self._overran:
                raise HaipError(
                    f"unable to iterate over messages; more than {KEPT} were waiting for the reader",
                    HaipErrorCode.FLOW_CONTROL,
                )
            if self._is_over:
                raise StopAsyncIteration
            await self._news.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Drop the waiting messages and end the iteration."""
        self._waiting.clear()
        self._end()

    def _take(self, message: HaipMessage) -> None:
        if len(self._waiting) >= KEPT:
            self._overran = True
            self._end()
            return
        self._waiting.append(message)
        self._wake()

    def _end(self) -> None:
        self._is_over = True
        for off in self._offs:
            off()
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()
