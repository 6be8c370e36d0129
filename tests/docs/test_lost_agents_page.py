"""The page on agents that stop is right: its programs announce, reap, and shut down."""

from typing import Any

import anyio
from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport import AgentSession, ClientSession, ErrorCode
from ably_ai_transport.testing import MemoryHub
from tests.cli.command import run_command
from tests.session.stage import Gated, said
from tests.support.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "lost-agents.md")
NAME = "chat:42"


def run_file(name: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(compile(PAGE.files()[name], name, "exec"), scope)  # noqa: S102 - the page is ours
    return scope


async def test_a_lost_run_is_ended() -> None:
    hub = MemoryHub()
    source = Gated("a", "b")
    with anyio.fail_after(20):
        async with (
            ClientSession(hub.client("alice"), NAME, codec=UIMessageCodec()) as alice,
            anyio.create_task_group() as reaping,
        ):
            alice.on_error(lambda _: None)
            reaping.start_soon(run_file("reaper.py")["reap"], hub.client("reaper"), NAME, 0)
            asked = await alice.view.send(said("hi"))
            agent = hub.client("agent")
            async with anyio.create_task_group() as tasks:
                answer = run_file("agent.py")["answer"]
                tasks.start_soon(answer, agent, asked.to_invocation(), source.chunks())
                await source.reached.wait()
                await hub.settle()
                await alice.follow_agents()
                assert [info.agent_present for info in alice.view.runs()] == [True]
                # As if the process had ended: its member leaves, and its run stays open.
                await agent.open_channel(NAME).presence.leave()
                assert await asked.ended == "error"
            [info] = alice.view.runs()
            assert info.error is not None
            assert info.error.code == ErrorCode.AGENT_LOST
            reaping.cancel_scope.cancel()


async def test_shutting_down() -> None:
    hub = MemoryHub()
    session = AgentSession(hub.client("agent"), NAME, codec=UIMessageCodec())
    await session.connect()
    await run_file("shutdown.py")["shut_down"](session)
    assert "closed" in repr(session)


def test_the_commands_have_the_options_that_the_page_names() -> None:
    done = run_command("reap", "--help")
    commands = [command for command in PAGE.commands() if command.startswith("ably-ai-transport")]
    assert len(commands) == 2
    for command in commands:
        assert command.split()[1] == "reap"
        assert all(word in done.stdout for word in command.split() if word.startswith("--"))
