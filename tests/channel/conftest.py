from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from tests.channel.fake_ably import FakeAbly, fake_ably

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

HERE = Path(__file__).parent
TIME_LIMIT = 10


def _limited(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*args: object, **kwargs: object) -> None:
        with anyio.fail_after(TIME_LIMIT):
            await test(*args, **kwargs)

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every asynchronous test of this folder a time limit."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.is_relative_to(HERE):
            test = cast("Callable[..., Any]", item.obj)
            if inspect.iscoroutinefunction(test):
                item.obj = _limited(test)


@pytest.fixture
async def ably() -> AsyncIterator[FakeAbly]:
    """A scripted server."""
    async with fake_ably() as server:
        yield server
