"""Fixtures for pytest: a local Ably server, clients on it, faults, and channels in memory.

Name the module in a ``conftest.py``; ``pytest-asyncio`` runs the asynchronous ones::

    pytest_plugins = ["ably_ai_transport.testing.plugin"]
"""

from typing import TYPE_CHECKING, TypeAlias

import pytest
import pytest_asyncio

from ably_ai_transport.channel.memory import MemoryHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ably import AblyRealtime

    from ably_ai_transport.local import Faults, LocalServer

AblyClientFactory: TypeAlias = "Callable[..., AblyRealtime]"
"""``ably_client(client_id="alice", **options)``: a client of the Python SDK, closed when the test ends."""


@pytest.fixture
def memory_hub() -> MemoryHub:
    """Channels in memory, for unit tests: no network, no server, everything in the test's hands.

    Example:
        >>> async def test_a_question(memory_hub):
        ...     session = ClientSession(memory_hub.client("alice"), "chat:1", codec=codec)
        ...     memory_hub.faults.refuse()  # the next publish
    """
    return MemoryHub()


@pytest_asyncio.fixture
async def ably_server() -> "AsyncIterator[LocalServer]":
    """A local server of the test's own, which speaks Ably's protocol on a free port.

    ``ably_server.python_options(…)`` and ``ably_server.javascript_options(…)`` are what SDKs connect with;
    ``await ably_server.restart()`` restarts it.
    """
    from ably_ai_transport.local import LocalServer

    async with LocalServer() as server:
        yield server


@pytest.fixture
def ably_faults(ably_server: "LocalServer") -> "Faults":
    """The fault switch of the server: drop, cut, delay, refuse, forget.

    Example:
        >>> async def test_a_lost_connection(ably_client, ably_faults):
        ...     ably_faults.drop("alice")
    """
    return ably_server.faults


@pytest_asyncio.fixture
async def ably_client(ably_server: "LocalServer") -> "AsyncIterator[AblyClientFactory]":
    """Makes clients of the Python SDK on the server, and closes them when the test ends.

    Example:
        >>> async def test_two_people(ably_client):
        ...     alice, bob = ably_client("alice"), ably_client("bob", use_binary_protocol=True)
    """
    from ably import AblyRealtime

    clients: list[AblyRealtime] = []

    def connect(client_id: str | None = None, **options: object) -> AblyRealtime:
        client = AblyRealtime(**ably_server.python_options(client_id, **options))
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()
