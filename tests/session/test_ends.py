"""Tests of starts and ends of runs that are cancelled or refused."""

import anyio
import pytest

from ably_ai_transport import AITransportError
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from tests.session.stage import NAME, agent, client, reply, said, stream


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


def published(hub: MemoryHub, name: str) -> int:
    return sum(message.name == name for message in hub.messages(NAME))


async def test_a_start_that_is_cancelled_leaves_no_run_that_nobody_works_on(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await hub.settle()
        hub.faults.hold_acks()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.start)
            while not published(hub, names.RUN_START):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
            hub.faults.release_acks()
        await hub.settle()
        assert await asked.ended == "cancelled"
        assert published(hub, names.RUN_END) == 1


async def test_an_end_that_is_refused_can_be_tried_again(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        await run.pipe(stream(reply("hello")))
        await hub.settle()
        hub.faults.nack()
        with pytest.raises(AITransportError) as caught:
            await run.end()
        assert caught.value.code == 104003
        await run.end()
        await hub.settle()
        assert await asked.ended == "complete"
        assert published(hub, names.RUN_END) == 1


async def test_a_refused_end_is_tried_again_when_the_session_ends(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        async with agent(hub) as session:
            asked = await alice.view.send(said("hi"))
            run = session.create_run(asked.to_invocation())
            await run.start()
            await hub.settle()
            hub.faults.nack()
            with pytest.raises(AITransportError):
                await run.end("error")
        await hub.settle()
        assert await asked.ended == "cancelled"
        assert published(hub, names.RUN_END) == 1
