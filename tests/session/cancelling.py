"""Cancels a coroutine at its n-th step."""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any


@types.coroutine
def _stepped(work: Coroutine[Any, Any, object], step: int) -> Generator[Any, Any, None]:
    task = asyncio.current_task()
    assert task is not None
    steps = work.__await__()
    error: BaseException | None = None
    count = 0
    while True:
        try:
            waits_for = steps.send(None) if error is None else steps.throw(error)
        except StopIteration:
            return
        count += 1
        if count == step:
            task.cancel()
        error = None
        try:
            yield waits_for
        except BaseException as raised:  # noqa: BLE001 - handed on to the coroutine
            error = raised


async def cancel_at(work: Coroutine[Any, Any, object], step: int) -> bool:
    """Run a coroutine and cancel it when it waits for the n-th time.

    Returns:
        Whether it was cancelled; False where it was done before that, or failed by itself.
    """

    async def run() -> None:
        await _stepped(work, step)

    task = asyncio.get_running_loop().create_task(run())
    await asyncio.wait((task,))
    if task.cancelled():
        return True
    task.exception()
    return False
