"""Latches and abort signals: things that happen once, and can be awaited by many."""

from collections.abc import Callable, Generator
from typing import Generic

import anyio
from typing_extensions import TypeVar

from ably_ai_transport.wire.listeners import Listeners

T = TypeVar("T")


class Latch(Generic[T]):
    """A value or an error that becomes known once. Await it as often as you like.

    Unlike a future, it survives the cancellation of a waiter, and an error that is never awaited is silent.

    Example:
        >>> await run.started  # doctest: +SKIP
    """

    __slots__ = ("_error", "_event", "_value")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._value: list[T] = []
        self._error: BaseException | None = None

    def __repr__(self) -> str:
        if not self.is_settled:
            return "<Latch pending>"
        return f"<Latch {self._value[0]!r}>" if self._value else f"<Latch failed: {self._error}>"

    @property
    def is_settled(self) -> bool:
        """Whether the value or the error is known."""
        return self._event.is_set()

    @property
    def error(self) -> BaseException | None:
        """The error; None while the latch is pending, and when it has a value."""
        return self._error

    def resolve(self, value: T) -> None:
        """Set the value. A latch that is settled stays as it is."""
        if not self.is_settled:
            self._value.append(value)
            self._event.set()

    def reject(self, error: BaseException) -> None:
        """Set the error. A latch that is settled stays as it is."""
        if not self.is_settled:
            self._error = error
            self._event.set()

    async def wait(self) -> T:
        """Wait for the value.

        Returns:
            The value.

        Raises:
            BaseException: The error of the latch.
        """
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._value[0]

    def __await__(self) -> Generator[object, None, T]:
        return self.wait().__await__()


class AbortSignal:
    """A request to stop. It is set once, by a cancel message or by its owner.

    Example:
        >>> signal = AbortSignal()
        >>> signal.abort()
        >>> signal.aborted
        True
    """

    __slots__ = ("_event", "_listeners")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._listeners = Listeners[None]()

    def __repr__(self) -> str:
        return f"<AbortSignal {'aborted' if self.aborted else 'not aborted'}>"

    @property
    def aborted(self) -> bool:
        """Whether the signal is set."""
        return self._event.is_set()

    def abort(self) -> None:
        """Set the signal. Setting it twice is fine."""
        if not self.aborted:
            self._event.set()
            self._listeners.emit(None)

    async def wait(self) -> None:
        """Wait until the signal is set."""
        await self._event.wait()

    def on_abort(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call a plain function when the signal is set; at once if it is set already.

        Args:
            listener: The function. An exception in it is logged.

        Returns:
            A function that removes the listener.
        """
        remove = self._listeners.add(lambda _: listener())
        if self.aborted:
            self._listeners.emit(None)
            self._listeners.clear()
        return remove
