"""The same over the Ably SDK and the local server: dropped connections, refusals, and nothing left behind."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIAgentSession, UIClientSession

from ably_ai_transport import AgentSession, ClientSession, ErrorCode
from ably_ai_transport.local import LocalServer, LocalServerOptions
from tests.session.stage import CODEC, NAME, Gated, reply, said, stream, texts

WORDS = [f"word{i} " for i in range(200)]


@pytest.fixture(params=[False, True], ids=["json", "msgpack"])
def binary(request: pytest.FixtureRequest) -> bool:
    return request.param


@asynccontextmanager
async def conversation(
    server: LocalServer, *, binary: bool, **options: object
) -> AsyncGenerator[tuple[UIClientSession, UIClientSession, UIAgentSession]]:
    """Open a conversation of Alice, Bob and an agent, each with a client of their own."""
    clients = {
        name: AblyRealtime(**server.python_options(client_id=name, use_binary_protocol=binary, **options))
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


@pytest.mark.parametrize("how", ["trim", "offline"])
async def test_an_agent_whose_channel_was_lost_goes_on(
    binary: bool, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The SDK gives a connection up after two minutes; not so long here.
    monkeypatch.setattr("ably.transport.defaults.Defaults.connection_state_ttl", 300)
    options = {"disconnected_retry_timeout": 50, "suspended_retry_timeout": 50}
    with anyio.fail_after(30):
        async with LocalServer() as server, conversation(server, binary=binary, **options) as parts:
            alice, bob, agent = parts
            errors: list[int] = []
            agent.on_error(lambda error: errors.append(error.code))
            run = await alice.view.send(said("hi"))
            source = Gated(*WORDS)
            async with anyio.create_task_group() as tasks:

                async def work() -> None:
                    async with agent.create_run(run.to_invocation()) as reply_run:
                        result = await reply_run.pipe(source.chunks())
                        assert result.error is None

                tasks.start_soon(work)
                await source.reached.wait()
                if how == "offline":
                    lost = anyio.Event()
                    agent.on_error(lambda _: lost.set())
                    server.faults.refuse_connections()
                    server.faults.drop("agent")
                    source.gate.set()
                    await lost.wait()
                    server.faults.trim(NAME)
                    server.faults.refuse_connections(on=False)
                else:
                    server.faults.drop("agent")
                    server.faults.trim(NAME)
                    source.gate.set()
            assert await run.ended == "complete"
            assert errors == [104006]
            for session in (alice, bob):
                async for messages in session.view.updates():
                    if session.view.runs() and session.view.runs()[-1].status == "complete":
                        assert texts(messages) == ["hi", "".join(WORDS)]
                        break


async def test_an_agent_that_was_cut_off_for_too_long_finds_its_run_ended(binary: bool) -> None:
    options = LocalServerOptions(presence_grace_ms=50)
    sdk = {"disconnected_retry_timeout": 50}
    with anyio.fail_after(30):
        async with LocalServer(options) as server, conversation(server, binary=binary, **sdk) as parts:
            alice, bob, quiet_agent = parts
            alice.on_error(lambda _: None)
            ably = AblyRealtime(**server.python_options("worker", use_binary_protocol=binary, **sdk))
            agent = AgentSession(ably, NAME, codec=CODEC, announce_runs=True)
            errors: list[int] = []
            agent.on_error(lambda error: errors.append(error.code))
            await agent.connect()
            run = await alice.view.send(said("hi"))
            source = Gated(*WORDS)
            async with anyio.create_task_group() as tasks:

                async def work() -> None:
                    async with agent.create_run(run.to_invocation()) as reply_run:
                        await reply_run.pipe(source.chunks())

                async def reap() -> None:
                    await bob.reap(grace=0)

                tasks.start_soon(reap)
                async with anyio.create_task_group() as working:
                    working.start_soon(work)
                    await source.reached.wait()
                    await alice.follow_agents()
                    async for _ in alice.view.updates():
                        if [info.agent_present for info in alice.view.runs()] == [True]:
                            break
                    server.faults.refuse_connections()
                    server.faults.drop("worker")
                    assert await run.ended == "error"
                    server.faults.refuse_connections(on=False)
                    # The model is stopped as soon as the agent is back.
                assert source.closed
                tasks.cancel_scope.cancel()
            assert errors == [ErrorCode.RUN_LOST]
            assert [info.status for info in alice.view.runs()] == ["error"]
            await agent.end()
            await ably.close()
            assert quiet_agent.tree.get_run_node(run.run_id) is not None
