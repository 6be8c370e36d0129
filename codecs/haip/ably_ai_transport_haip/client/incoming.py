"""Messages to iterate over."""

from collections import deque
from typing import TYPE_CHECKING, Final, Self

import anyio

from ably_ai_transport_haip.client.emitter import Emitter
from ably_ai_transport_haip.protocol import HaipError, HaipErrorCode, HaipMessage

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT: Final = 10_000
"""Messages that may wait for who reads them."""


class IncomingMessages:
    """What comes from the moment on at which it was made, until the client is disconnected for good.

    Args:
        events: The client's events.
    """

    def __init__(self, events: Emitter) -> None:
        self._waiting: deque[HaipMessage] = deque()
        self._news = anyio.Event()
        self._is_over = False
        self._overran = False
        self._offs: list[Callable[[], None]] = [
            events.on("message", self._take),
            events.on("closed", self._end),
        ]

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> HaipMessage:
        while not self._waiting:
            if self._overran:
                raise HaipError(
                    f"unable to go on; {KEPT} messages were waiting for who reads them",
                    HaipErrorCode.FLOW_CONTROL,
                )
            if self._is_over:
                raise StopAsyncIteration
            await self._news.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Take no more messages."""
        self._waiting.clear()
        self._end()

    def _take(self, message: HaipMessage) -> None:
        if len(self._waiting) >= KEPT:
            self._overran = True
            self._end()
            return
        self._waiting.append(message)
        self._tell()

    def _end(self) -> None:
        self._is_over = True
        for off in self._offs:
            off()
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()
