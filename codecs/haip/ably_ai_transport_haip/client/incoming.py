"""Incoming messages as an asynchronous iterator."""

import weakref
from collections import deque
from collections.abc import Callable
from typing import Final, Self

import anyio

from ably_ai_transport_haip.protocol import HaipError, HaipErrorCode, HaipMessage

KEPT: Final = 10_000
"""The largest number of messages that wait for the reader."""


class _Delivery:
    """A message for some iterators, and its report once all of them have read it."""

    __slots__ = ("_note_read", "_readers", "message")

    def __init__(self, message: HaipMessage, readers: int, note_read: Callable[[HaipMessage], None]) -> None:
        self.message = message
        self._readers = readers
        self._note_read = note_read

    def read(self) -> None:
        self._readers -= 1
        if not self._readers:
            self._note_read(self.message)


class IncomingMessages:
    """The messages of a client, from the creation of this iterator until the client is closed."""

    def __init__(self) -> None:
        self._waiting: deque[_Delivery] = deque()
        self._news = anyio.Event()
        self._is_over = False
        self._overran = False
        # An iterator that is dropped halfway does not hold back credits for ever.
        weakref.finalize(self, _read_all, self._waiting)

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
        delivery = self._waiting.popleft()
        delivery.read()
        return delivery.message

    async def aclose(self) -> None:
        """Drop the waiting messages and end the iteration."""
        self.end()
        _read_all(self._waiting)

    @property
    def is_over(self) -> bool:
        """Whether no further message is added."""
        return self._is_over

    def add(self, delivery: _Delivery) -> None:
        """Add a message."""
        if len(self._waiting) >= KEPT:
            self._overran = True
            self.end()
            delivery.read()
            return
        self._waiting.append(delivery)
        self._wake()

    def end(self) -> None:
        """End the iteration after the messages that wait."""
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()


class Readers:
    """The iterators over the messages of a client. The slowest sets the pace: it holds back the credits.

    Args:
        note_read: Called with each message once every iterator has read it, or at once without iterators.
    """

    def __init__(self, note_read: Callable[[HaipMessage], None]) -> None:
        self._note_read = note_read
        self._open: weakref.WeakSet[IncomingMessages] = weakref.WeakSet()

    def open(self) -> IncomingMessages:
        """Return a new iterator."""
        messages = IncomingMessages()
        self._open.add(messages)
        return messages

    def add(self, message: HaipMessage) -> None:
        """Deliver a message to all iterators."""
        readers = [one for one in self._open if not one.is_over] if self._open else None
        if not readers:
            self._note_read(message)
            return
        delivery = _Delivery(message, len(readers), self._note_read)
        for reader in readers:
            reader.add(delivery)

    def end(self) -> None:
        """End all iterators."""
        for reader in tuple(self._open):
            reader.end()
        self._open.clear()


def _read_all(waiting: deque[_Delivery]) -> None:
    while waiting:
        waiting.popleft().read()
