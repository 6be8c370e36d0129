"""The metrics of sessions: tokens, appends, repairs, refusals, times and reconnects."""

from collections.abc import AsyncIterator

import anyio
import pytest
from ably_ai_transport_vercel import UIMessageChunk

from ably_ai_transport import AgentSession, ClientSession, limit_publish_rate
from ably_ai_transport.local import LocalServer
from ably_ai_transport.testing import MemoryHub
from tests.session.clients import realtime
from tests.session.stage import CODEC, NAME, agent, client, reply, said, stream, texts
from tests.telemetry.seen import Seen

WORDS = [f"word{number} " for number in range(40)]


async def test_a_run_in_figures(seen: Seen) -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub, append_window=2) as session:
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(stream(reply(*WORDS)))
        await hub.settle()
        assert await run.ended == "complete"
    sums = seen.sums()
    assert sums["ably_ai_transport.stream.deltas"] == 40
    assert sums["ably_ai_transport.stream.merged"] > 0
    # One append closes the stream.
    appends = sums["ably_ai_transport.stream.appends"]
    assert appends + sums["ably_ai_transport.stream.merged"] == 40 + 1
    assert sums["gen_ai.invoke_agent.duration"] == 1
    first_tokens = seen.points()["ably_ai_transport.time_to_first_token"]
    roles = [str((point.attributes or {})["ably_ai_transport.role"]) for point in first_tokens]
    assert sorted(roles) == ["agent", "client"]
    assert sums["ably_ai_transport.time_to_first_token"] == 2
    # The start and the end of the run, as Alice received them.
    assert sums["ably_ai_transport.follower.lag"] == 2
    # The send; the starts and the ends of the run and of its step.
    assert sums["messaging.client.operation.duration"] == 1 + 4
    assert "ably_ai_transport.stream.refused" not in sums
    assert "ably_ai_transport.session.reconnects" not in sums


async def test_only_the_first_token_of_a_run_counts(seen: Seen) -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(stream(reply("hello")))
            await work.pipe(stream(reply("again")))
        await hub.settle()
    assert seen.sums()["ably_ai_transport.time_to_first_token"] == 2


async def test_refused_appends_and_their_repairs(seen: Seen) -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        hub.faults.nack(count=2, action="append")
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(stream(reply(*WORDS)))
        await hub.settle()
    sums = seen.sums()
    assert sums["ably_ai_transport.stream.refused"] == 2
    assert sums["ably_ai_transport.stream.repaired"] >= 1


async def test_outputs_of_a_cancelled_pipe_are_counted(seen: Seen) -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))

        async def half() -> AsyncIterator[UIMessageChunk]:
            for chunk in reply("one", "two")[:5]:
                yield chunk
            scope.cancel()
            await anyio.sleep_forever()

        with anyio.CancelScope() as scope:
            async with session.create_run(run.to_invocation()) as work:
                await work.pipe(half())
        await hub.settle()
    sums = seen.sums()
    assert sums["ably_ai_transport.stream.deltas"] == 2
    # The closing one leaves after the pipe was cancelled.
    assert sums["ably_ai_transport.stream.appends"] + sums.get("ably_ai_transport.stream.merged", 0) == 2 + 1


async def test_a_reply_without_text_has_no_first_token(seen: Seen) -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(stream([{"type": "start"}, {"type": "finish"}]))
        await hub.settle()
    assert "ably_ai_transport.time_to_first_token" not in seen.sums()


async def test_publishes_that_are_refused_for_rate(seen: Seen) -> None:
    async def slow() -> AsyncIterator[UIMessageChunk]:
        for chunk in reply(*WORDS):
            yield chunk
            await anyio.sleep(0.002)

    with anyio.fail_after(30):
        async with (
            LocalServer() as server,
            realtime(server, "alice") as alice_client,
            realtime(server, "agent") as agent_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
            AgentSession(agent_client, NAME, codec=CODEC, append_interval=0.001) as session,
        ):
            limit_publish_rate(agent_client, None)
            run = await alice.view.send(said("hi"))
            server.faults.nack(
                NAME, count=1, skip=0, action="append", code=42911, status=429, message="too fast"
            )
            async with session.create_run(run.to_invocation()) as work:
                await work.pipe(slow())
            assert await run.ended == "complete"
            assert texts(alice.view.messages)[-1] == "".join(WORDS)
            sums = seen.sums()  # with the sessions still open
    assert sums["ably_ai_transport.publish.refused"] >= 1
    assert "ably_ai_transport.stream.refused" not in sums


async def test_appends_that_are_merged_while_they_wait(seen: Seen) -> None:
    with anyio.fail_after(30):
        async with (
            LocalServer() as server,
            realtime(server, "alice") as alice_client,
            realtime(server, "agent") as agent_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
            AgentSession(agent_client, NAME, codec=CODEC, append_interval=0, append_window=100) as session,
        ):
            limit_publish_rate(agent_client, 20)
            run = await alice.view.send(said("hi"))
            async with session.create_run(run.to_invocation()) as work:
                await work.pipe(stream(reply(*WORDS)))
            assert await run.ended == "complete"
    sums = seen.sums()
    assert sums["ably_ai_transport.publish.merged"] > 0
    assert sums["ably_ai_transport.stream.deltas"] == len(WORDS)


@pytest.mark.parametrize("dropped", [0, 2])
async def test_reconnects(seen: Seen, dropped: int) -> None:
    with anyio.fail_after(30):
        async with (
            LocalServer() as server,
            realtime(server, "alice") as alice_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
        ):
            for number in range(dropped):
                server.faults.drop()
                await alice.view.send(said(f"{number}"))
    assert seen.sums().get("ably_ai_transport.session.reconnects", 0) == dropped
