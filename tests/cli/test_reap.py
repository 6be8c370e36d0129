"""The command that ends runs without agents, as people start it."""

import re
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import IO, cast

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIClientSession

from ably_ai_transport import AgentSession, ClientSession, ErrorCode
from ably_ai_transport.local import LocalServer, LocalServerOptions
from tests.cli.command import run_command, start_command
from tests.session.stage import CODEC, said

NAME = "chat:reaped"


@asynccontextmanager
async def lost_run(server: LocalServer, name: str = NAME) -> AsyncGenerator[tuple[UIClientSession, str]]:
    """Leave a run behind whose agent is gone; yield a session that follows it, and the run's id."""
    clients = [AblyRealtime(**server.python_options(one)) for one in ("alice", "agent")]
    try:
        async with ClientSession(clients[0], name, codec=CODEC) as alice:
            alice.on_error(lambda _: None)
            agent = AgentSession(clients[1], name, codec=CODEC, announce_runs=True)
            await agent.connect()
            asked = await alice.view.send(said("hi"))
            run = agent.create_run(asked.to_invocation())
            await run.start()
            await agent.detach()
            yield alice, run.run_id
    finally:
        for client in clients:
            await client.close()


def arguments(server: LocalServer) -> list[str]:
    return ["--key", server.key, "--endpoint", f"{server.host}:{server.port}"]


async def test_once() -> None:
    async with LocalServer() as server, lost_run(server) as (alice, run_id):
        command = ("reap", NAME, "chat:empty", "--once", "--grace", "0", *arguments(server))
        done = await anyio.to_thread.run_sync(lambda: run_command(*command))
        assert (done.returncode, done.stderr) == (0, "")
        assert f"{NAME}: ended run {run_id}, whose agent was lost" in done.stdout
        assert done.stdout.endswith("Ended 1 run.\n")
        with anyio.fail_after(10):
            async for _ in alice.view.updates():
                [info] = alice.view.runs()
                if info.error is not None:
                    assert info.error.code == ErrorCode.AGENT_LOST
                    break


async def test_until_it_is_stopped() -> None:
    options = LocalServerOptions(presence_grace_ms=0)
    async with LocalServer(options) as server:
        with start_command("reap", NAME, "--grace", "0", *arguments(server)) as process:
            try:
                output = cast("IO[str]", process.stdout)
                assert "Watching" in await anyio.to_thread.run_sync(output.readline)
                async with lost_run(server) as (_, run_id):
                    assert run_id in await anyio.to_thread.run_sync(output.readline)
                process.send_signal(signal.SIGINT)
                rest, errors = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=10))
                assert (process.returncode, errors) == (0, "")
                assert rest == "Ended 1 run.\n"
            finally:
                process.kill()


@pytest.mark.parametrize(
    ("given", "said_why"),
    [
        (("--once",), "A key is needed"),
        (("--once", "--key", "no.key:x", "--endpoint", "127.0.0.1:9"), "unable to connect"),
    ],
)
def test_failures_are_sentences(given: tuple[str, ...], said_why: str) -> None:
    done = run_command("reap", NAME, *given)
    assert done.returncode in (1, 2)
    assert re.search(f"^error: .*{said_why}", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


async def test_a_session_that_is_refused_is_named() -> None:
    async with LocalServer() as server:
        command = ("reap", "[meta]log", "--once", *arguments(server))
        done = await anyio.to_thread.run_sync(lambda: run_command(*command))
        assert done.returncode == 1
        assert "[meta]log" in done.stderr
        assert "Traceback" not in done.stderr
