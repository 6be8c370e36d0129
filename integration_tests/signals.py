"""Moments that one side brings about and the other waits for."""

import anyio

from integration_tests.js_process import TIMEOUT


class Signals:
    """Named moments that one side brings about and the other waits for, each time anew."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._news = anyio.Event()

    def emit(self, name: str) -> None:
        """Say that a moment has come."""
        self._counts[name] = self._counts.get(name, 0) + 1
        self._news.set()
        self._news = anyio.Event()

    async def take(self, name: str) -> None:
        """Wait for a moment, or take one that has been."""
        with anyio.fail_after(TIMEOUT):
            while not self._counts.get(name):
                await self._news.wait()
        self._counts[name] -= 1
