"""Node and its packages are there before the first of these tests runs; and the server they run on."""

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import cast

import pytest

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions
from integration_tests import node
from integration_tests.engines import manifest
from integration_tests.engines.choice import LOCAL, running
from integration_tests.engines.network import Network
from integration_tests.engines.server import RemoteServer, Server
from integration_tests.stage import PAIRINGS, Pairing, Stage


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--ably",
        default=LOCAL,
        metavar="ENGINE",
        help="the server of the cross-language tests: local, sockudo, or a URL, whose key is in ABLY_KEY",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    manifest.apply(cast("str", config.getoption("--ably")), items)


@pytest.fixture(scope="session", autouse=True)
def javascript(request: pytest.FixtureRequest) -> str:
    """The node to run, with the packages in place."""
    reporter = cast(
        "pytest.TerminalReporter | None", request.config.pluginmanager.get_plugin("terminalreporter")
    )

    def announce(line: str) -> None:
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_line(line)

    try:
        path = node.find_node()
        node.install_packages(announce)
    except node.NodeProblemError as problem:
        pytest.fail(str(problem), pytrace=False)
    return path


@pytest.fixture(scope="session")
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server | None]:
    """The server that all tests of a run share; None for the local one, which each test has for itself."""
    with running(cast("str", request.config.getoption("--ably")), tmp_path_factory) as server:
        yield server


@pytest.fixture
async def server(engine: RemoteServer | None, request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A server: a local one of this test's own, or the engine that was chosen."""
    if engine is not None:
        yield engine
        return
    is_ours = True
    if "pairing" in request.fixturenames:
        is_ours = cast("Pairing", request.getfixturevalue("pairing")).agent == "python"
    # The limits of Ably, where the agent survives them.
    async with LocalServer(LocalServerOptions(limits=Limits.ably() if is_ours else Limits())) as server:
        yield server


@pytest.fixture
def local_server(server: Server) -> LocalServer:
    """The local server, for tests that need its fault switch or its clock."""
    if not isinstance(server, LocalServer):
        pytest.skip("only the local server has a fault switch")
    return server


@pytest.fixture
def channel() -> str:
    """The name of a channel that no other test uses."""
    return f"test:{uuid.uuid4()}"


@pytest.fixture(params=PAIRINGS, ids=str)
def pairing(request: pytest.FixtureRequest) -> Pairing:
    """The language of each participant."""
    return request.param


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def stage(request: pytest.FixtureRequest, server: Server, pairing: Pairing) -> Stage:
    """A channel to play a scenario on."""
    return Stage(server, pairing, binary=request.param)


@pytest.fixture
async def network(server: Server) -> AsyncIterator[Network]:
    """The ways to the server, to be cut."""
    async with Network(server) as network:
        yield network
