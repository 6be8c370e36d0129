"""Messages that were missed live come out of history, for latches and cancels as for views."""

from collections.abc import AsyncGenerator

import anyio
import pytest
from ably_ai_transport_vercel import UIMessageChunk, is_text_delta_chunk

from ably_ai_transport import AITransportError
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import CODEC, Gated, agent, client, reply, said, stream, texts


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.mark.parametrize("away_from", ["start", "middle"])
@pytest.mark.parametrize("loads", [False, True], ids=["waits", "loads"])
async def test_a_run_that_ended_while_its_client_was_away(
    hub: MemoryHub, away_from: str, loads: bool
) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        source = Gated("hello", " there")
        if away_from == "start":
            hub.faults.suspend(client_id="alice")
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                async with session.create_run(asked.to_invocation()) as run:
                    await run.pipe(source.chunks())

            tasks.start_soon(work)
            await source.reached.wait()
            await hub.settle()
            hub.faults.suspend(client_id="alice")
            source.gate.set()
        await hub.settle()
        assert not asked.ended.is_settled
        hub.faults.reattach(client_id="alice", resumed=False)
        if loads:
            await alice.view.load_all()
        with anyio.fail_after(5):
            await asked.started
            assert await asked.ended == "complete"
        assert asked.run_id
        assert asked.status == "complete"
        assert texts(alice.view.messages) == ["hi", "hello there"]


async def test_the_error_of_a_run_that_failed_while_its_client_was_away(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        told: list[int] = []
        alice.on_error(lambda error: told.append(error.code))
        asked = await alice.view.send(said("hi"))
        await hub.settle()
        hub.faults.suspend(client_id="alice")
        run = session.create_run(asked.to_invocation())
        await run.start()
        await run.end("error", error=AITransportError("unable to think; out of tokens", 40003))
        hub.faults.reattach(client_id="alice", resumed=False)
        with anyio.fail_after(5):
            assert await asked.ended == "error"
        assert asked.error is not None
        assert asked.error.message == "unable to think; out of tokens"
        assert told[-1] == 40003


async def test_history_tells_no_old_errors(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        await run.end("error")
        await hub.settle()
    async with client(hub, "bob") as bob:
        told: list[AITransportError] = []
        bob.on_error(told.append)
        await bob.view.load_all()
        assert [info.status for info in bob.view.runs()] == ["error"]
        assert told == []


async def test_a_cancel_that_only_history_brings(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        asked = await alice.view.send(said("hi"))
        await asked.cancel()
        for i in range(5):
            await alice.view.send(said(f"after {i}"))
        async with agent(hub) as session, session.create_run(asked.to_invocation()) as run:
            assert run.abort_signal.aborted
            assert not run.has_input()
        await hub.settle()
        assert await asked.ended == "cancelled"


async def test_reading_state_calls_no_listener(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        source = Gated("a", "b", "c", "d")
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                async with session.create_run(asked.to_invocation()) as run:
                    calls: list[str] = []
                    for listen in (run.view.on_update, session.tree.on_update):
                        listen(lambda: calls.append("update"))
                    session.tree.on_output(lambda _: calls.append("output"))

                    async def reading() -> AsyncGenerator[UIMessageChunk]:
                        async for chunk in source.chunks():
                            yield chunk
                            before = len(calls)
                            for _ in range(3):
                                assert run.status == "active"
                                assert run.messages is not None
                                assert session.tree.nodes
                                assert run.view.messages is not None
                                assert run.view.runs() is not None
                            assert len(calls) == before

                    await run.pipe(reading())

            source.gate.set()
            tasks.start_soon(work)
        await hub.settle()
        assert await asked.ended == "complete"


async def test_an_agent_sees_its_reply_when_it_has_been_piped(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            await run.pipe(stream(reply("a", "b", "c", "d")))
            await hub.settle()
            assert texts(run.view.messages) == ["hi", "abcd"]
            node = session.tree.get_run_node(run.run_id)
            assert node is not None
            assert texts(CODEC.get_messages(node.projection)) == ["abcd"]


async def test_a_listener_of_an_agent_gets_each_token(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            deltas: list[str] = []
            session.tree.on_output(
                lambda folded: deltas.extend(
                    chunk["delta"] for chunk in folded.events if is_text_delta_chunk(chunk)
                )
            )
            await run.pipe(stream(reply(*"abcdefgh")))
            await hub.settle()
            assert "".join(deltas) == "abcdefgh"
            assert len(deltas) > 1
