"""The fixtures of the pytest plugin: a local Ably server, its clients and fault switch, channels in memory.

Every run of pytest loads this module wherever the library is installed. It is outside of the package, since
the package's ``__init__`` imports all sessions; each fixture imports what it needs.
"""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from ably import AblyRealtime

    from ably_ai_transport.local import Faults, LocalServer
    from ably_ai_transport.testing.memory import MemoryHub

AblyClientFactory: TypeAlias = "Callable[..., AblyRealtime]"
"""``ably_client(client_id="alice", **options)``: a client of the Python SDK, closed when the test ends."""


def _async_fixture(function: Callable[..., AsyncIterator[Any]]) -> object:
    """Make an asynchronous fixture, or one that says what it lacks."""
    try:
        import pytest_asyncio
    except ImportError:

        def unavailable() -> None:
            pytest.fail(_missing(function.__name__, "pytest-asyncio"), pytrace=False)

        return pytest.fixture(name=function.__name__)(unavailable)
    return pytest_asyncio.fixture(function)


def _missing(fixture: str, module: str) -> str:
    return f'The fixture {fixture} needs {module}: pip install "ably-ai-transport[testing]"'


@pytest.fixture
def memory_hub() -> "MemoryHub":
    """Channels in memory, for unit tests: no network, no server, everything in the test's hands.

    Example:
        >>> async def test_a_question(memory_hub):
        ...     session = ClientSession(memory_hub.client("alice"), "chat:1", codec=codec)
        ...     memory_hub.faults.nack()  # the next publish
    """
    from ably_ai_transport.testing.memory import MemoryHub

    return MemoryHub()


@_async_fixture
async def ably_server() -> "AsyncIterator[LocalServer]":
    """A local server of the test's own, which speaks Ably's protocol on a free port.

    ``ably_server.python_options(…)`` and ``ably_server.javascript_options(…)`` are what SDKs connect with;
    ``await ably_server.restart()`` restarts it.
    """
    try:
        from ably_ai_transport.local import LocalServer
    except ImportError as error:
        pytest.fail(_missing("ably_server", error.name or str(error)), pytrace=False)

    async with LocalServer() as server:
        yield server


@pytest.fixture
def ably_faults(ably_server: "LocalServer") -> "Faults":
    """The fault switch of the server: drop, cut, delay, nack, forget.

    Example:
        >>> async def test_a_lost_connection(ably_client, ably_faults):
        ...     ably_faults.drop("alice")
    """
    return ably_server.faults


@_async_fixture
async def ably_client(ably_server: "LocalServer") -> "AsyncIterator[AblyClientFactory]":
    """Makes clients of the Python SDK on the server, and closes them when the test ends.

    Example:
        >>> async def test_two_people(ably_client):
        ...     alice, bob = ably_client("alice"), ably_client("bob", use_binary_protocol=True)
    """
    from ably_ai_transport.channel import make_client

    clients: list[AblyRealtime] = []

    def connect(client_id: str | None = None, **options: object) -> "AblyRealtime":
        client = make_client(ably_server.python_options(client_id, **options))
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()
