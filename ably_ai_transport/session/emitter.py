"""Listeners: each is called in turn, and none can stop another or the session."""

import logging
from collections.abc import Callable
from typing import Generic

from typing_extensions import TypeVar

E = TypeVar("E")

logger = logging.getLogger("ably_ai_transport.session")


class Emitter(Generic[E]):
    """Calls plain functions with each event, in the order in which they were added.

    Args:
        on_exception: Called with what a listener raised, after it was logged.
    """

    __slots__ = ("_listeners", "_on_exception")

    def __init__(self, on_exception: Callable[[Exception], None] | None = None) -> None:
        self._listeners: dict[object, Callable[[E], object]] = {}
        self._on_exception = on_exception

    def on(self, listener: Callable[[E], object]) -> Callable[[], None]:
        """Add a listener.

        Args:
            listener: The function. What it returns is ignored; what it raises is logged.

        Returns:
            A function that takes the listener away again.
        """
        token = object()
        self._listeners[token] = listener

        def remove() -> None:
            self._listeners.pop(token, None)

        return remove

    def emit(self, event: E) -> None:
        """Call the listeners."""
        if not self._listeners:
            return
        for listener in tuple(self._listeners.values()):
            try:
                listener(event)
            except Exception as error:
                logger.exception("A listener raised")
                if self._on_exception is not None:
                    self._on_exception(error)

    def clear(self) -> None:
        """Take all listeners away."""
        self._listeners.clear()
