"""The page on HAIP is right: its code runs."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from ably_ai_transport_haip import HaipAuthenticationError
from ably_ai_transport_haip.server import JwtAuthenticator
from ably_ai_transport_haip.utils import parse_jwt
from ably_ai_transport_vercel import UIMessageCodec, text_of

from ably_ai_transport import AgentSession, ChannelClient, ClientSession, Invocation, RunPolicy
from ably_ai_transport.local.web.listener import WebListener
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import reply, stream
from tests.support.haip_bridge import bridged
from tests.support.haip_stand import SECRET, Inbox, token
from tests.support.haip_tools import pay
from tests.support.pages import ROOT, Page, not_installed

PAGE = Page(ROOT / "docs" / "haip.md")


def page() -> dict[str, Any]:
    scope: dict[str, Any] = {}
    for block in PAGE.blocks("python"):
        exec(compile(block, str(PAGE.path), "exec"), scope)  # noqa: S102 - the page is ours
    return scope


def test_what_the_page_installs_is_enough() -> None:
    assert not_installed(PAGE) == set()


@asynccontextmanager
async def listening(application: Any) -> AsyncGenerator[str]:  # noqa: ANN401 - any application
    """Serve an application; yield its address."""
    listener = WebListener(application, "127.0.0.1", 0)
    async with application:
        await listener.start()
        try:
            yield f"ws://127.0.0.1:{listener.port}/"
        finally:
            await listener.stop()


async def talk(url: str) -> str:
    scope = page()
    with anyio.fail_after(20):
        return await scope["talk"](url, scope["make_token"]("alice", "acme", SECRET))


async def test_the_client_and_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HAIP_SECRET", SECRET)
    async with listening(page()["application"]()) as url:
        assert await talk(url) == "It is sunny."


@contextmanager
def typed(directory: Path) -> Generator[str]:
    """Start the server of the page as a reader does, on a free port; yield its address."""
    PAGE.write(directory)
    [command] = [line for line in PAGE.commands() if line.startswith("uvicorn ")]
    arguments = command.replace("--port 8080", "--port 0").split()
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-m", *arguments],
        cwd=directory,
        env={**os.environ, "HAIP_SECRET": SECRET},
        stderr=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        try:
            assert process.stderr is not None
            log = ""
            while not (found := re.search(r"running on http://(\S+)", log)):
                line = process.stderr.readline()
                assert line, log
                log += line
            yield f"ws://{found[1]}/"
        finally:
            process.kill()


async def test_the_factory_of_the_server(tmp_path: Path) -> None:
    with typed(tmp_path) as url:
        assert await talk(url) == "It is sunny."


async def test_the_claims_of_a_token() -> None:
    make = page()["make_token"]
    authenticate = JwtAuthenticator(SECRET, issuer="https://login.example")
    principal = await authenticate(make("alice", "acme", SECRET))
    assert (principal.id, principal.claims["tenant"]) == ("alice", "acme")
    claims = parse_jwt(make("alice", "acme", SECRET))
    signed: Callable[..., str] = token
    # What the table says of each claim.
    refused: list[dict[str, object]] = [
        {"sub": None},
        {"exp": None},
        {"exp": 1},
        {"iss": "https://other.example"},
        {"iss": None},
        {"nbf": claims["exp"]},
        {"iat": claims["exp"]},
    ]
    for changes in refused:
        with pytest.raises(HaipAuthenticationError):
            await authenticate(signed(**{**claims, **changes}))
    assert (await authenticate(signed(**{**claims, "sub": None, "userId": "bob"}))).id == "bob"


async def test_the_client_and_the_gateway() -> None:
    hub = MemoryHub()

    @asynccontextmanager
    async def connect(client_id: str) -> AsyncGenerator[ChannelClient]:
        yield hub.client(client_id)

    async def invoke(invocation: Invocation) -> None:
        async with (
            AgentSession(hub.client("agent"), invocation.session_name, codec=UIMessageCodec()) as session,
            session.create_run(invocation) as run,
        ):
            await run.pipe(stream(reply("It is ", "raining.")))

    async with listening(page()["gateway"](connect, invoke, SECRET)) as url:
        assert await talk(url) == "It is raining."
    async with ClientSession(hub.client("carol"), "haip:acme:thread-1", codec=UIMessageCodec()) as session:
        texts = [text_of(item.message) for item in await session.view.load_all()]
    assert texts == ["How is the weather?", "It is raining."]


@pytest.mark.parametrize(("approved", "said"), [(True, "pay {'eur': 1} for alice"), (False, "Not paid.")])
async def test_the_answer_to_a_request_for_approval(approved: bool, said: str) -> None:
    decide = page()["decide"]
    async with bridged(pay, policy=RunPolicy.owner_only()) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        alice.on("message", lambda message: decide(alice, message, approved))
        await alice.start_run("1")
        await alice.send_text_message("USER", "Please")
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.text() == said
        assert inbox.errors == []
