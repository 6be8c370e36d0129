"""The page on HAIP is right: its code runs."""

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport import AgentSession, ChannelClient, Invocation
from ably_ai_transport.local.web.listener import WebListener
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import reply, stream
from tests.support.haip_stand import SECRET, token

PAGE = Path(__file__).parents[2] / "docs" / "haip.md"


def page() -> dict[str, Any]:
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), scope)  # noqa: S102 - the page is ours
    return scope


async def talk(scope: dict[str, Any], application: Any) -> str:  # noqa: ANN401 - any application
    listener = WebListener(application, "127.0.0.1", 0)
    async with application:
        await listener.start()
        try:
            with anyio.fail_after(10):
                return await scope["talk"](f"ws://127.0.0.1:{listener.port}/", token())
        finally:
            await listener.stop()


async def test_the_client_and_the_server() -> None:
    scope = page()
    assert await talk(scope, scope["application"](SECRET)) == "It is sunny."


async def test_the_client_and_the_gateway() -> None:
    scope, hub = page(), MemoryHub()

    @asynccontextmanager
    async def connect(client_id: str) -> AsyncGenerator[ChannelClient]:
        yield hub.client(client_id)

    async def invoke(invocation: Invocation) -> None:
        async with (
            AgentSession(hub.client("agent"), invocation.session_name, codec=UIMessageCodec()) as session,
            session.create_run(invocation) as run,
        ):
            await run.pipe(stream(reply("It is ", "raining.")))

    assert await talk(scope, scope["gateway"](connect, invoke, SECRET)) == "It is raining."
