"""Listeners: each is called in turn, and none can stop another or the emitter."""

import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeAlias, cast

from typing_extensions import TypeVar

from ably_ai_transport.wire.errors import InvalidArgumentError

E = TypeVar("E")

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine in a task that the caller owns."""

_LOGGER = logging.getLogger("ably_ai_transport")


class Listeners(Generic[E]):
    """A set of listeners for one kind of event.

    A listener is a plain function or a coroutine function. Plain functions run at once, in the order in which
    they were added. Each call of a coroutine function runs in a task of its own. An exception in a listener
    is logged with its traceback.

    Args:
        on_exception: Called with each exception in a listener, after it was logged.
        spawn: Runs the coroutines of listeners. Without it, coroutine functions are refused.
        logger: Logs exceptions in listeners; the library's own logger by default.
    """

    __slots__ = ("_calls", "_logger", "_on_exception", "_spawn")

    def __init__(
        self,
        on_exception: Callable[[Exception], object] | None = None,
        *,
        spawn: Spawn | None = None,
        logger: logging.Logger = _LOGGER,
    ) -> None:
        self._calls: tuple[tuple[object, Callable[[E], object]], ...] = ()
        self._on_exception = on_exception
        self._spawn = spawn
        self._logger = logger

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, listener: Callable[[E], object]) -> Callable[[], None]:
        """Add a listener. A function that is added twice is called twice.

        Args:
            listener: A function, or a coroutine function, of one event. Its result is ignored.

        Returns:
            A function that removes the listener again.

        Raises:
            InvalidArgumentError: It is not callable, or it is a coroutine function and there is no ``spawn``.
        """
        if not callable(listener):
            raise InvalidArgumentError(f"unable to add listener; {type(listener).__name__} is not callable")
        if self._spawn is None and is_async(listener):
            raise InvalidArgumentError(
                "unable to add listener; it is a coroutine function (pass a plain function here)"
            )
        entry = (object(), listener)
        self._calls = (*self._calls, entry)

        def remove() -> None:
            self._calls = tuple(one for one in self._calls if one is not entry)

        return remove

    def emit(self, event: E) -> None:
        """Call the listeners that are registered now."""
        for _, listener in self._calls:
            try:
                result = listener(event)
                if result is not None and inspect.iscoroutine(result):
                    self._start(cast("Coroutine[Any, Any, object]", result))
            except Exception as error:  # noqa: BLE001 - a user's code
                self._report(error)

    def clear(self) -> None:
        """Remove all listeners."""
        self._calls = ()

    def _start(self, call: Coroutine[Any, Any, object]) -> None:
        if self._spawn is None:
            call.close()
            raise InvalidArgumentError(
                "unable to run listener; it returned a coroutine (pass a plain function here)"
            )
        run = self._run(call)
        try:
            self._spawn(run)
        except BaseException:  # Python warns of coroutines that are never awaited, so any failure closes them
            run.close()
            call.close()
            raise

    async def _run(self, call: Coroutine[Any, Any, object]) -> None:
        try:
            await call
        except Exception as error:  # noqa: BLE001 - a user's code
            self._report(error)

    def _report(self, error: Exception) -> None:
        self._logger.error("A listener raised %s", type(error).__name__, exc_info=error)
        if self._on_exception is not None:
            self._on_exception(error)


def is_async(function: Callable[..., object]) -> bool:
    """Tell whether a callable is a coroutine function.

    Args:
        function: A function, a method, a ``functools.partial`` or an object with ``__call__``.

    Returns:
        True when each call returns a coroutine.
    """
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004
    )
