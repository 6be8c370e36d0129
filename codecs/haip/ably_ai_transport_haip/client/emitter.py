"""Listeners: each is called in turn, and none can stop another."""

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("ably_ai_transport_haip")

Listener = Callable[..., object]


class Emitter:
    """Calls plain functions by the name of an event.

    Args:
        on_exception: Called with what a listener raised, after it was logged.
    """

    def __init__(self, on_exception: Callable[[Exception], None] | None = None) -> None:
        self._listeners: defaultdict[str, dict[object, Listener]] = defaultdict(dict)
        self._on_exception = on_exception

    def on(self, event: str, listener: Listener) -> Callable[[], None]:
        """Add a listener; returns a function that takes it away again."""
        token = object()
        self._listeners[event][token] = listener
        return lambda: self._listeners[event].pop(token, None) and None

    def emit(self, event: str, *args: Any) -> None:  # noqa: ANN401 - events have arguments of their own
        """Call the listeners of an event."""
        for listener in tuple(self._listeners[event].values()):
            try:
                listener(*args)
            except Exception as error:
                logger.exception("A listener of %s raised", event)
                if self._on_exception is not None and event != "error":
                    self._on_exception(error)
