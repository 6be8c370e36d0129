"""The same over the Ably SDK and the local server: dropped connections, refusals, and nothing left behind."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIAgentSession, UIClientSession

from ably_ai_transport import AgentSession, ClientSession
from ably_ai_transport.local import LocalServer
from tests.session.stage import CODEC, NAME, Gated, reply, said, stream, texts

WORDS = [f"word{i} " for i in range(200)]


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def binary(request: pytest.FixtureRequest) -> bool:
    return request.param


@asynccontextmanager
async def conversation(
    server: LocalServer, *, binary: bool
) -> AsyncGenerator[tuple[UIClientSession, UIClientSession, UIAgentSession]]:
    """Open a conversation of Alice, Bob and an agent, each with a client of their own."""
    clients = {
        name: AblyRealtime(**server.python_options(client_id=name, use_binary_protocol=binary))
        for name in ("alice", "bob", "agent")
    }
    try:
        async with (
            ClientSession(clients["alice"], NAME, codec=CODEC) as alice,
            ClientSession(clients["bob"], NAME, codec=CODEC) as bob,
            # One append for each token over JSON; at Ably's pace over msgpack.
            AgentSession(
                clients["agent"], NAME, codec=CODEC, append_interval=0.04 if binary else 0.0
            ) as agent,
        ):
            yield alice, bob, agent
    finally:
        for realtime in clients.values():
            await realtime.close()


async def test_nothing_is_left_behind(binary: bool) -> None:
    with anyio.fail_after(20):
        async with LocalServer() as server, conversation(server, binary=binary) as (alice, bob, agent):
            run = await alice.view.send(said("hi"))
            async with agent.create_run(run.to_invocation()) as work:
                await work.pipe(stream(reply(*WORDS)))
            assert await run.ended == "complete"
            assert texts(alice.view.messages) == ["hi", "".join(WORDS)]
            async for messages in bob.view.updates():
                if texts(messages) == ["hi", "".join(WORDS)]:
                    break
        # The SDK lets go of its sockets in tasks of its own, which end by themselves.
        while len(asyncio.all_tasks()) > 1:
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})


@pytest.mark.parametrize("dropped", ["agent", "alice", None])
async def test_a_dropped_connection_loses_and_doubles_nothing(binary: bool, dropped: str | None) -> None:
    with anyio.fail_after(20):
        async with LocalServer() as server, conversation(server, binary=binary) as (alice, bob, agent):
            run = await alice.view.send(said("hi"))
            source = Gated(*WORDS)
            async with anyio.create_task_group() as tasks:

                async def work() -> None:
                    async with agent.create_run(run.to_invocation()) as reply_run:
                        await reply_run.pipe(source.chunks())

                tasks.start_soon(work)
                await source.reached.wait()
                if dropped is None:
                    server.faults.drop()
                else:
                    server.faults.drop(dropped)
                source.gate.set()
            assert await run.ended == "complete"
            for session in (alice, bob):
                async for messages in session.view.updates():
                    if session.view.runs() and session.view.runs()[-1].status == "complete":
                        assert texts(messages) == ["hi", "".join(WORDS)]
                        break


async def test_refused_appends_are_repaired(binary: bool) -> None:
    with anyio.fail_after(20):
        async with LocalServer() as server, conversation(server, binary=binary) as (alice, bob, agent):
            run = await alice.view.send(said("hi"))
            server.faults.nack(NAME, action="append", skip=4, count=3)
            async with agent.create_run(run.to_invocation()) as work:
                await work.pipe(stream(reply(*WORDS)))
            assert await run.ended == "complete"
            assert texts(alice.view.messages) == ["hi", "".join(WORDS)]
            async for messages in bob.view.updates():
                if texts(messages) == ["hi", "".join(WORDS)]:
                    break
