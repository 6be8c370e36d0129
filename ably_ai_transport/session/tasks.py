"""An owner for the tasks of a session that may be opened in one task and closed in another."""

import asyncio
from collections.abc import Callable, Coroutine


class TaskOwner:
    """Starts tasks, and awaits every one of them before it lets go.

    A task group would bind a session to the task that entered it; ``connect`` and ``close`` may be called
    from different ones.

    Args:
        on_exception: Called with what a task raised.
    """

    __slots__ = ("_on_exception", "_tasks")

    def __init__(self, on_exception: Callable[[BaseException], None]) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_exception = on_exception

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Run a coroutine in a task of this owner."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def close(self) -> None:
        """Cancel what still runs and wait until all of it has ended."""
        while self._tasks:
            tasks = tuple(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            self._tasks.difference_update(tasks)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_exception(error)
