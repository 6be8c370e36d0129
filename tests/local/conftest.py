from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx
import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions
from tests.local.manual_clock import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.local.raw_client import WireFormat

HERE = Path(__file__).parent
TIME_LIMIT = 10


def _limited(test: Callable[..., Awaitable[None]], seconds: float) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def run(*args: object, **kwargs: object) -> None:
        with anyio.fail_after(seconds):
            await test(*args, **kwargs)

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every asynchronous test of this folder a time limit, its module's `TIME_LIMIT` if it has one."""
    for item in items:
        if isinstance(item, pytest.Function) and item.path.is_relative_to(HERE):
            test = cast("Callable[..., Any]", item.obj)
            if inspect.iscoroutinefunction(test):
                item.obj = _limited(test, getattr(item.module, "TIME_LIMIT", TIME_LIMIT))


@pytest.fixture
def server(ably_server: LocalServer) -> LocalServer:
    return ably_server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def timed_server(clock: ManualClock) -> AsyncIterator[LocalServer]:
    """A server whose time stands still unless the test moves it."""
    async with LocalServer(LocalServerOptions(sandbox=True), clock=clock) as server:
        yield server


@pytest.fixture
async def rollup_server(clock: ManualClock) -> AsyncIterator[LocalServer]:
    """A server that rolls appends up over 40 ms of a clock that stands still."""
    async with LocalServer(LocalServerOptions(append_rollup_window_ms=40), clock=clock) as server:
        yield server


@pytest.fixture(params=["json", "msgpack"])
def wire_format(request: pytest.FixtureRequest) -> WireFormat:
    return request.param


@pytest.fixture
async def rest(server: LocalServer) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the server's API key."""
    name, _, secret = server.key.partition(":")
    async with httpx.AsyncClient(base_url=server.url, auth=(name, secret), trust_env=False) as client:
        yield client
