"""Listeners of a channel: plain functions, called in turn, each on its own risk."""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

logger = logging.getLogger("ably_ai_transport.channel")

T = TypeVar("T")


class Listeners(Generic[T]):
    """A set of listeners. One that raises is logged and does not keep the others from being called."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: tuple[Callable[[T], object], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, call: Callable[[T], object]) -> Callable[[], None]:
        """Add a listener and return what removes it; the same function may be added twice."""

        def registered(value: T) -> None:
            call(value)

        self._calls = (*self._calls, registered)

        def remove() -> None:
            self._calls = tuple(one for one in self._calls if one is not registered)

        return remove

    def clear(self) -> None:
        """Remove all."""
        self._calls = ()

    def emit(self, value: T) -> None:
        """Call all that are registered now."""
        for call in self._calls:
            try:
                call(value)
            except Exception:
                logger.exception("A listener of the channel raised")
