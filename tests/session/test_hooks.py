"""Failing pipes, retried steps and repeated cancels, as an application sees them."""

from collections.abc import AsyncIterator

import pytest
from ably_ai_transport_vercel import UIMessageChunk

from ably_ai_transport import AITransportError, RunHooks
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import agent, client, reply, said, stream, texts


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


async def failing() -> AsyncIterator[UIMessageChunk]:
    for chunk in reply("half ")[:4]:
        yield chunk
    raise ValueError("the model is gone")


@pytest.mark.parametrize("in_step", [False, True], ids=["run", "step"])
async def test_a_pipe_that_fails_is_reported(hub: MemoryHub, in_step: bool) -> None:
    reported: list[AITransportError] = []
    hooks = RunHooks[UIMessageChunk](on_error=reported.append)
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation(), hooks=hooks) as run:
            if in_step:
                async with run.create_step() as step:
                    result = await step.pipe(failing())
            else:
                result = await run.pipe(failing())
        assert result.reason == "error"
        assert [error.code for error in reported] == [104008]
        assert isinstance(reported[0].__cause__ or reported[0].cause, ValueError)


async def test_a_step_that_failed_before_it_began_is_tried_again_under_its_name(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            first = run.create_step()
            await first.end("failed")
            again = run.create_step()
            assert again.step_id == first.step_id
            async with again:
                await again.pipe(stream(reply("done")))
        await hub.settle()
        assert texts(alice.view.messages) == ["hi", "done"]


async def test_cancelling_twice_is_cancelling_once(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        for _ in range(3):
            await asked.cancel()
            await alice.cancel(run.run_id)
            await hub.settle()
        assert run.abort_signal.aborted
        assert (await run.pipe(stream(reply("too late")))).reason == "cancelled"
        await run.end("cancelled")
        await asked.cancel()
        await hub.settle()
        assert await asked.ended == "cancelled"
        assert [info.status for info in alice.view.runs()] == ["cancelled"]
        assert texts(alice.view.messages) == ["hi"]


async def test_a_cancel_reaches_each_handle_on_a_run(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        first = session.create_run(asked.to_invocation())
        await first.start()
        second = session.adopt_run(asked.to_invocation(), run_id=first.run_id, invocation_id="second")
        await second.load()
        third = session.adopt_run(asked.to_invocation(), run_id=first.run_id, invocation_id="third")
        await third.load()
        await third.suspend()
        await asked.cancel()
        await hub.settle()
        assert first.abort_signal.aborted
        assert second.abort_signal.aborted
