"""Answers of the channel that must not get lost."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def note_answer(answer: asyncio.Future[T], note: Callable[[T], None]) -> None:
    """Wait for an answer, and take note of it even where the task is cancelled meanwhile.

    What was published is on its way, whatever becomes of the task that published it.

    Args:
        answer: The answer.
        note: Called with it.

    Raises:
        Exception: What the answer failed with.
    """
    try:
        value = await asyncio.shield(answer)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait([answer])
        if not answer.cancelled() and answer.exception() is None:
            note(answer.result())
        raise
    note(value)
