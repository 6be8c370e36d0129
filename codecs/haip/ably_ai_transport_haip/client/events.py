"""Named events: the listeners of clients and transports."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from ably_ai_transport.wire.listeners import Listeners

logger = logging.getLogger("ably_ai_transport_haip.client")


class Emitter:
    """The listeners of a fixed set of events.

    A listener is a plain function or a coroutine function. Plain functions run at once, in order. Each call
    of a coroutine function runs in a task of its own. Exceptions in listeners are logged with a traceback.

    Args:
        events: The names of the events.
        on_exception: Called with the exception of a listener, after it was logged. Not called for listeners
            of ``error``.
    """

    def __init__(
        self, events: Iterable[str], on_exception: Callable[[Exception], None] | None = None
    ) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._listeners = {
            event: Listeners[tuple[Any, ...]](
                None if event == "error" else on_exception, spawn=self._spawn, logger=logger
            )
            for event in events
        }

    def on(self, event: str, listener: Callable[..., object]) -> Callable[[], None]:
        """Add a listener.

        Args:
            event: The name of the event.
            listener: A plain function or a coroutine function; its arguments depend on the event.

        Returns:
            A function that removes the listener.

        Raises:
            ValueError: The event is unknown, or the listener is not callable.
        """
        listeners = self._listeners.get(event)
        if listeners is None:
            raise ValueError(
                f"unable to listen; event '{event}' is unknown (known are {', '.join(self._listeners)})"
            )
        if not callable(listener):
            raise ValueError(f"unable to listen; {type(listener).__name__} is not callable")
        return listeners.add(lambda arguments: listener(*arguments))

    def emit(self, event: str, *arguments: Any) -> None:  # noqa: ANN401 - each event has its own arguments
        """Call the listeners of an event."""
        self._listeners[event].emit(arguments)

    def _spawn(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
