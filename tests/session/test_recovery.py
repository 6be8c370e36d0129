"""An agent whose channel goes away in the middle of a reply, and comes back."""

from collections.abc import AsyncIterator

import anyio
import pytest
from ably_ai_transport_vercel import UIAgentSession, UIMessageChunk

from ably_ai_transport import AgentSession, AITransportError, ChannelRefusedError, StreamResult
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from tests.session.stage import CODEC, NAME, agent, client, reply, said, stream, texts

WORDS = [f"word{i} " for i in range(20)]


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


class Paused:
    """A reply that stops after some chunks until it is told to go on."""

    def __init__(self, after: int = 10) -> None:
        self.reached = anyio.Event()
        self.gate = anyio.Event()
        self._after = after

    async def chunks(self) -> AsyncIterator[UIMessageChunk]:
        for i, chunk in enumerate(reply(*WORDS)):
            if i == self._after:
                self.reached.set()
                await self.gate.wait()
            yield chunk


def starts_of_steps(hub: MemoryHub) -> int:
    return sum(message.name == names.STEP_START for message in hub.messages(NAME))


def codes_of(session: UIAgentSession) -> list[int]:
    codes: list[int] = []
    session.on_error(lambda error: codes.append(error.code))
    return codes


@pytest.mark.parametrize("how", ["drop_continuity", "suspend", "detach"])
async def test_a_reply_goes_on_after_the_channel_was_lost(hub: MemoryHub, how: str) -> None:
    source = Paused()
    async with client(hub) as alice, agent(hub) as session:
        codes = codes_of(session)
        asked = await alice.view.send(said("hi"))
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                async with session.create_run(asked.to_invocation()) as run:
                    result = await run.pipe(source.chunks())
                    assert result == StreamResult("complete")

            tasks.start_soon(work)
            await source.reached.wait()
            getattr(hub.faults, how)(client_id="agent")
            source.gate.set()
            await hub.settle()
            if how != "drop_continuity":
                assert not asked.ended.is_settled
                hub.faults.reattach(client_id="agent", resumed=False)
        await hub.settle()
        assert codes == [104006]
        assert await asked.ended == "complete"
        assert texts(alice.view.messages) == ["hi", "".join(WORDS)]
        async with client(hub, "bob") as bob:
            await bob.view.load_all()
            assert texts(bob.view.messages) == ["hi", "".join(WORDS)]


async def test_text_that_was_refused_meanwhile_is_published_again(hub: MemoryHub) -> None:
    source = Paused()
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        await hub.settle()
        async with anyio.create_task_group() as tasks:
            # The stream's appends and their repairs are refused, as they are while a connection is suspended.
            hub.faults.nack(NAME, action="append", skip=4, count=100, code=80002)
            hub.faults.nack(NAME, action="update", count=100, code=80002)
            tasks.start_soon(run.pipe, source.chunks())
            await source.reached.wait()
            await hub.settle()
            hub.faults.suspend(client_id="agent")
            await hub.settle()
            hub.faults.reset()
            hub.faults.reattach(client_id="agent", resumed=False)
            await hub.settle()
            source.gate.set()
        await run.end()
        await hub.settle()
        assert starts_of_steps(hub) == 2
        assert texts(alice.view.messages) == ["hi", "".join(WORDS)]
        [info] = alice.view.runs()
        assert (info.status, [step.attempt_count for step in info.steps]) == ("complete", [2])


async def test_a_cancel_that_came_meanwhile_stops_the_reply(hub: MemoryHub) -> None:
    source = Paused()
    results: list[StreamResult] = []
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                async with session.create_run(asked.to_invocation()) as run:
                    results.append(await run.pipe(source.chunks()))

            tasks.start_soon(work)
            await source.reached.wait()
            hub.faults.suspend(client_id="agent")
            await hub.settle()
            await asked.cancel()
            hub.faults.reattach(client_id="agent", resumed=False)
        await hub.settle()
        assert results == [StreamResult("cancelled")]
        assert await asked.ended == "cancelled"


async def test_a_steering_message_that_came_meanwhile_is_taken_in(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            await run.pipe(stream(reply("first")))
            await hub.settle()
            assert not run.has_input()
            hub.faults.suspend(client_id="agent")
            await hub.settle()
            steer = asked.steer(said("and now?"))
            await steer.published
            hub.faults.reattach(client_id="agent", resumed=False)
            await hub.settle()
            assert run.has_input()
            await run.pipe(stream(reply("second")))
        await hub.settle()
        assert (await steer.outcome).consumed


async def test_an_end_waits_for_the_channel(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        await run.pipe(stream(reply("hello")))
        hub.faults.suspend(client_id="agent")
        await hub.settle()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.end)
            await hub.settle()
            assert run.phase == "closing"
            hub.faults.reattach(client_id="agent", resumed=False)
        await hub.settle()
        assert await asked.ended == "complete"


async def test_an_input_that_came_meanwhile_starts_its_run(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        hub.faults.suspend(client_id="agent")
        await hub.settle()
        asked = await alice.view.send(said("hi"))
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                async with session.create_run(asked.to_invocation()) as run:
                    await run.pipe(stream(reply("hello")))

            tasks.start_soon(work)
            await hub.settle()
            hub.faults.reattach(client_id="agent", resumed=False)
        await hub.settle()
        assert texts(alice.view.messages) == ["hi", "hello"]


async def test_a_channel_that_does_not_come_back_ends_the_reply_with_an_error(hub: MemoryHub) -> None:
    source = Paused()
    results: list[StreamResult] = []
    async with client(hub) as alice:
        session = AgentSession(hub.client("agent"), NAME, codec=CODEC, recovery_timeout=0)
        await session.connect()
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                results.append(await run.pipe(source.chunks()))

            tasks.start_soon(work)
            await source.reached.wait()
            hub.faults.suspend(client_id="agent")
            await hub.settle()
            source.gate.set()
        assert [(result.reason, type(result.error)) for result in results] == [("error", ChannelRefusedError)]
        assert "not attached again" in str(results[0].error)
        assert not run.abort_signal.aborted
        with pytest.raises(AITransportError) as caught:
            await run.end("error")
        assert caught.value.code == 104003
        # It is tried again all the same: the run ends as soon as the channel is there.
        hub.faults.reattach(client_id="agent", resumed=False)
        await hub.settle()
        await run.end("error", error=AITransportError("the network was away", 104008))
        await hub.settle()
        assert await asked.ended == "error"
        await session.end()


async def test_a_channel_that_failed_ends_the_reply_with_an_error(hub: MemoryHub) -> None:
    source = Paused()
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()

        async def work() -> None:
            with pytest.raises(ChannelRefusedError, match="channel is failed"):
                await run.pipe(source.chunks(), raise_on_error=True)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await source.reached.wait()
            hub.faults.fail(client_id="agent")
            await hub.settle()
            source.gate.set()
        assert not run.abort_signal.aborted


async def test_a_session_that_ends_does_not_wait_for_the_channel(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        async with agent(hub) as session:
            codes = codes_of(session)
            asked = await alice.view.send(said("hi"))
            run = session.create_run(asked.to_invocation())
            await run.start()
            hub.faults.suspend(client_id="agent")
            await hub.settle()
        assert codes == [104006, 104003]
        assert not run.is_open
