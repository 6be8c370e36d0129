"""The page on logging is right: its code shows one session's records, and keeps access tokens out of logs."""

import logging
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport import ClientSession
from ably_ai_transport.local import LocalServer
from tests.support.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "logging.md")


@pytest.fixture(autouse=True)
def levels_as_before() -> Generator[None]:
    loggers = [
        logging.getLogger(name) for name in ("ably_ai_transport", "ably", "httpx", "httpcore", "websockets")
    ]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    yield
    for logger, level, handlers in before:
        for handler in set(logger.handlers) - set(handlers):
            logger.removeHandler(handler)
            handler.close()
        logger.setLevel(level)


def run_file(name: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(compile(PAGE.files()[name], name, "exec"), scope)  # noqa: S102 - the page is ours
    return scope


def test_the_records_of_one_session(tmp_path: Path) -> None:
    log = tmp_path / "chat.log"
    run_file("logs.py")["log_session"]("chat:1", str(log))
    logger = logging.getLogger("ably_ai_transport.session")
    logger.debug("published", extra={"session": "chat:1", "run": "r1"})
    logger.debug("published", extra={"session": "chat:2", "run": "r2"})
    [line] = log.read_text(encoding="utf-8").splitlines()
    assert line.endswith(" DEBUG ably_ai_transport.session: published session=chat:1 run=r1")


async def test_a_quiet_sdk_logs_no_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    run_file("quiet.py")
    async with LocalServer() as server:
        alice = AblyRealtime(**server.python_options("alice"))
        with anyio.fail_after(10):
            async with ClientSession(alice, "chat:1", codec=UIMessageCodec()):
                pass
        await alice.close()
        secret = server.key.partition(":")[2]
    assert not re.search(rf"eyJ[\w-]+\.|access_?token|{re.escape(secret)}", caplog.text, re.IGNORECASE)


def test_the_loggers_of_the_page_are_those_of_the_library() -> None:
    named = set(re.findall(r"`(ably_ai_transport\.[\w.]+)`", PAGE.path.read_text(encoding="utf-8")))
    sources = ROOT.glob("ably_ai_transport/**/*.py")
    used = {
        name
        for source in sources
        for name in re.findall(r'getLogger\("([\w.]+)"\)', source.read_text(encoding="utf-8"))
    }
    assert {name for name in used if name.count(".")} - {"ably_ai_transport.cli"} <= named
