"""Futures for the answers of a channel."""

import asyncio
from typing import Any, TypeVar

from ably_ai_transport.wire import AITransportError

T = TypeVar("T")


def resolve(future: asyncio.Future[T], value: T) -> None:
    """Give an answer, unless nobody waits any more."""
    if not future.done():
        future.set_result(value)


def refuse(future: asyncio.Future[Any], error: AITransportError) -> None:
    """Fail a future without noise if nobody ever awaits it."""
    if not future.done():
        future.set_exception(error)
        future.exception()


def refused(error: AITransportError) -> asyncio.Future[Any]:
    """Return a future that has failed."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    refuse(future, error)
    return future
