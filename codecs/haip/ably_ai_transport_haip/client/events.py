"""Named events: the listeners of clients and transports."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeAlias

from ably_ai_transport.wire.listeners import Listeners

logger = logging.getLogger("ably_ai_transport_haip.client")

_Removal: TypeAlias = tuple[Callable[..., object], Callable[[], None]]


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
        self._removals: defaultdict[str, list[_Removal]] = defaultdict(list)
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
        return self._add(event, listener, lambda _remove, arguments: listener(*arguments))

    def once(self, event: str, listener: Callable[..., object]) -> Callable[[], None]:
        """Add a listener that is removed before its first call; see :meth:`on`."""

        def call(remove: Callable[[], None], arguments: tuple[Any, ...]) -> object:
            remove()
            return listener(*arguments)

        return self._add(event, listener, call)

    def off(self, event: str, listener: Callable[..., object]) -> None:
        """Remove a listener. Of a listener that was added twice, the later one is removed.

        Args:
            event: The name of the event.
            listener: The listener. An unknown one is ignored.

        Raises:
            ValueError: The event is unknown.
        """
        self._of(event)
        for known, remove in reversed(self._removals[event]):
            if known == listener:
                remove()
                return

    def emit(self, event: str, *arguments: Any) -> None:  # noqa: ANN401 - each event has its own arguments
        """Call the listeners of an event."""
        self._listeners[event].emit(arguments)

    def _add(
        self,
        event: str,
        listener: Callable[..., object],
        call: Callable[[Callable[[], None], tuple[Any, ...]], object],
    ) -> Callable[[], None]:
        listeners = self._of(event)
        if not callable(listener):
            raise ValueError(f"unable to listen; {type(listener).__name__} is not callable")
        removals = self._removals[event]

        def remove() -> None:
            take_out()
            if entry in removals:
                removals.remove(entry)

        take_out = listeners.add(lambda arguments: call(remove, arguments))
        entry = (listener, remove)
        removals.append(entry)
        return remove

    def _of(self, event: str) -> Listeners[tuple[Any, ...]]:
        listeners = self._listeners.get(event)
        if listeners is None:
            raise ValueError(
                f"unable to listen; event '{event}' is unknown (known are {', '.join(self._listeners)})"
            )
        return listeners

    def _spawn(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(call)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
