"""A signal that something should stop."""

from collections.abc import Callable

import anyio


class AbortSignal:
    """Set once, by a cancel request or by whoever owns it.

    Example:
        >>> signal = AbortSignal()
        >>> signal.abort()
        >>> signal.aborted
        True
    """

    __slots__ = ("_event", "_listeners")

    def __init__(self) -> None:
        self._event = anyio.Event()
        self._listeners: list[Callable[[], None]] = []

    @property
    def aborted(self) -> bool:
        """Whether the signal is set."""
        return self._event.is_set()

    def abort(self) -> None:
        """Set the signal. Setting it twice is fine."""
        if not self.aborted:
            self._event.set()
            for listener in self._listeners.copy():
                listener()

    async def wait(self) -> None:
        """Wait until the signal is set."""
        await self._event.wait()

    def on_abort(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call a function when the signal is set, at once if it is set already.

        Args:
            listener: The function; must not raise.

        Returns:
            A function that takes the listener away again.
        """
        if self.aborted:
            listener()
            return _nothing
        self._listeners.append(listener)

        def remove() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return remove


def _nothing() -> None:
    pass
