"""The page on Ably describes the failure without the channel rule correctly."""

import re
from collections.abc import Awaitable, Callable
from typing import cast

from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessageCodec, text_message

from ably_ai_transport import AgentSession, AITransportError, ClientSession
from ably_ai_transport.local import LocalServer
from tests.session.stage import reply, stream
from tests.support.pages import ROOT, Page

PATH = ROOT / "docs" / "on-ably.md"
PAGE = PATH.read_text(encoding="utf-8")


def messages(error: BaseException | None) -> dict[int, str]:
    """Return the messages of an error and its causes, by code."""
    found: dict[int, str] = {}
    while isinstance(error, AITransportError):
        found[error.code] = error.message
        error = error.cause
    return found


async def test_without_the_rule_the_reply_is_refused_and_the_run_fails() -> None:
    [namespace] = re.findall(r"except in the namespace `(\w+)`", PAGE)
    codec, name = UIMessageCodec(), f"{namespace}:1"
    async with LocalServer() as server:
        alice = AblyRealtime(**server.python_options("alice"))
        agent = AblyRealtime(**server.python_options("agent"))
        async with (
            ClientSession(alice, name, codec=codec) as client,
            AgentSession(agent, name, codec=codec) as replying,
        ):
            asked = await client.view.send(codec.create_user_message(text_message("How is the weather?")))
            async with replying.create_run(asked.to_invocation()) as run:
                result = await run.pipe(stream(reply("It is ", "sunny.")))
            assert await asked.ended == "error"
        await alice.close()
        await agent.close()
    told = messages(result.error)[93002]
    assert "mutableMessages" in told
    assert f"namespace '{namespace}'" in told


async def test_the_pool_serves_as_written() -> None:
    [program] = [block for block in Page(PATH).blocks("python") if "AblyPool" in block]
    async with LocalServer() as server:
        names = {"options": server.python_options("agent"), "codec": UIMessageCodec()}
        exec(program, names)  # noqa: S102 - a program of our own pages
        await cast("Callable[[], Awaitable[None]]", names["serve"])()
        assert server.stats.connections_opened == 1
