"""The engine that a run of the tests has chosen."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import pytest

from integration_tests.engines.server import RemoteServer
from integration_tests.engines.sockudo import KEY as SOCKUDO_KEY
from integration_tests.engines.sockudo import EngineProblemError, Sockudo

LOCAL: Final = "local"


@contextmanager
def running(engine: str, directories: pytest.TempPathFactory) -> Generator[RemoteServer | None]:
    """Run an engine until the block ends.

    Args:
        engine: Its name, or the address of one that runs already.
        directories: Makes directories for what it writes.

    Yields:
        The server; None for the local one.
    """
    if engine == LOCAL:
        yield None
    elif engine == "sockudo":
        try:
            node = Sockudo(directories.mktemp("sockudo")).__enter__()
        except EngineProblemError as problem:
            pytest.skip(str(problem))
        try:
            yield RemoteServer([node.url], SOCKUDO_KEY)
        finally:
            node.__exit__()
    elif "://" in engine:
        key = os.environ.get("ABLY_KEY")
        if key is None:
            pytest.fail(f"the key of {engine} is needed in ABLY_KEY", pytrace=False)
        yield RemoteServer([engine], key)
    else:
        pytest.fail(f"there is no engine {engine!r}: local, sockudo, or a URL", pytrace=False)
