"""A result that many may wait for, and that makes no noise when nobody does."""

from collections.abc import Generator
from typing import Generic

import anyio
from typing_extensions import TypeVar

T = TypeVar("T")


class Settled(Generic[T]):
    """Becomes a value or an error, once. Await it as often as you like.

    Unlike a future it survives that a waiter is cancelled.

    Example:
        >>> await run.started  # doctest: +SKIP
    """

    __slots__ = ("_error", "_event", "_value")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._value: list[T] = []
        self._error: BaseException | None = None

    @property
    def is_settled(self) -> bool:
        """Whether waiting is over."""
        return self._event.is_set()

    @property
    def error(self) -> BaseException | None:
        """The error that it became, if it did."""
        return self._error

    def resolve(self, value: T) -> None:
        """Become a value; ignored when it is settled already."""
        if not self.is_settled:
            self._value.append(value)
            self._event.set()

    def reject(self, error: BaseException) -> None:
        """Become an error; ignored when it is settled already."""
        if not self.is_settled:
            self._error = error
            self._event.set()

    async def wait(self) -> T:
        """Wait for the value.

        Returns:
            The value.

        Raises:
            BaseException: The error that it became.
        """
        await self._event.wait()
        if self._error is not None:
            raise self._error
        return self._value[0]

    def __await__(self) -> Generator[object, None, T]:
        return self.wait().__await__()
