"""Node and its packages are there before the first of these tests runs."""

from collections.abc import AsyncIterator
from typing import cast

import pytest

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions
from integration_tests import node
from integration_tests.stage import PAIRINGS, Pairing, Stage


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


@pytest.fixture
async def server(pairing: Pairing) -> AsyncIterator[LocalServer]:
    """A local server of this test's own, with the limits of Ably where the agent survives them."""
    limits = Limits.ably() if pairing.agent == "python" else Limits()
    async with LocalServer(LocalServerOptions(limits=limits)) as server:
        yield server


@pytest.fixture(params=PAIRINGS, ids=str)
def pairing(request: pytest.FixtureRequest) -> Pairing:
    """The language of each participant."""
    return request.param


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def stage(request: pytest.FixtureRequest, server: LocalServer, pairing: Pairing) -> Stage:
    """A channel to play a scenario on."""
    return Stage(server, pairing, binary=request.param)
