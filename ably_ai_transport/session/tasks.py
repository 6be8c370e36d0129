"""The tasks of a session, with an owner that awaits them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ably_ai_transport.wire import SessionClosedError

T = TypeVar("T")


class TaskOwner:
    """Starts tasks, and awaits all of them before it closes.

    A task group would bind a session to the task that entered it, but ``connect`` and ``close`` may be
    called from different tasks.

    Args:
        on_exception: Called with an exception of a task that no caller received.
    """

    __slots__ = ("_on_exception", "_started", "_to_finish")

    def __init__(self, on_exception: Callable[[BaseException], None]) -> None:
        self._started: set[asyncio.Task[Any]] = set()
        self._to_finish: set[asyncio.Task[Any]] = set()
        self._on_exception = on_exception

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a task. It is cancelled when the owner closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._started.add(task)
        task.add_done_callback(self._on_done)

    def finish_later(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine in a task. The owner waits for its end when it closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._to_finish.add(task)
        task.add_done_callback(self._on_done)

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, even when the caller is cancelled meanwhile.

        The caller's cancellation takes effect at once; the work goes on, and its failure is reported.

        Args:
            work: The coroutine.

        Returns:
            The result of the work.

        Raises:
            BaseException: The exception of the work.
            SessionClosedError: The owner closed before the work was done (104004).
        """
        task = asyncio.get_running_loop().create_task(work)
        self._to_finish.add(task)
        try:
            await asyncio.wait((task,))
        except BaseException:  # the caller was cancelled; the owner now reports the task's failure
            task.add_done_callback(self._on_done)
            raise
        self._to_finish.discard(task)
        if task.cancelled():
            raise SessionClosedError("unable to finish the operation; the session was closed")
        return task.result()

    async def close(self, grace: float | None = 0) -> None:
        """Wait for the tasks that must finish, and cancel the others.

        Args:
            grace: How long to wait, in seconds, before the rest is cancelled; None waits for ever.
        """
        if grace != 0 and (finishing := self._others(self._to_finish)):
            await asyncio.wait(finishing, timeout=grace)
        while tasks := self._others(self._started | self._to_finish):
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            # Their callbacks run in the next turn of the loop.
            self._started.difference_update(tasks)
            self._to_finish.difference_update(tasks)

    @staticmethod
    def _others(tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
        """Leave out the task that closes the owner, which may be one of its own."""
        return tasks - {asyncio.current_task()}

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._started.discard(task)
        self._to_finish.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_exception(error)
