"""Units of work that may be retried, each in a session of its own."""

import pytest

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    Invocation,
    page_until_located,
    with_agent_session,
)
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import CODEC, NAME, agent, client, reply, said, stream, texts


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


async def test_work_that_fails_leaves_its_run_to_the_next_attempt(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        asked = await alice.view.send(said("hi"))
        invocation = asked.to_invocation()
        run_id = ""

        async def work() -> None:
            nonlocal run_id
            async with with_agent_session(hub.client("agent"), invocation, codec=CODEC) as session:
                run = session.create_run(invocation)
                await run.start()
                run_id = run.run_id
                step = run.create_step(step_id="answer")
                await step.start()
                await step.pipe(stream(reply("half a ")[:4]))
                raise ConnectionError

        with pytest.raises(ConnectionError):
            await work()
        await hub.settle()
        assert [info.status for info in alice.view.runs()] == ["active"]
        async with with_agent_session(hub.client("agent"), invocation, codec=CODEC) as session:
            run = session.adopt_run(invocation, run_id=run_id, invocation_id="second")
            await run.load()
            async with run.create_step(step_id="answer") as step:
                await step.pipe(stream(reply("the answer")))
            await run.end()
        await hub.settle()
        assert texts(alice.view.messages) == ["hi", "the answer"]
        assert [info.status for info in alice.view.runs()] == ["complete"]


async def test_the_end_of_a_session_is_the_work_s_to_ask_for(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        asked = await alice.view.send(said("hi"))
        invocation = asked.to_invocation()
        async with with_agent_session(hub.client("agent"), invocation, codec=CODEC) as session:
            await session.create_run(invocation).start()
            await session.end()
        await hub.settle()
        assert [info.status for info in alice.view.runs()] == ["cancelled"]


@pytest.mark.parametrize("later", [0, 25])
async def test_history_is_read_until_the_input_is_found_and_no_further(hub: MemoryHub, later: int) -> None:
    async with client(hub) as alice:
        for i in range(20):
            await alice.view.send(said(f"before {i}"))
        asked = await alice.view.send(said("the question"))
        for i in range(later):
            await alice.view.send(said(f"after {i}"))
    pages: list[None] = []
    async with agent(hub) as session:
        run = session.create_run(asked.to_invocation())
        await page_until_located(run, page_size=10, on_page=lambda: pages.append(None))
        assert run.input_codec_message_id == asked.input_codec_message_id
        assert 1 <= len(pages) <= 1 + later // 10 + 1


async def test_an_input_that_is_not_there(hub: MemoryHub) -> None:
    async with agent(hub) as session:
        run = session.create_run(Invocation(input_event_id="nothing", session_name=NAME))
        with pytest.raises(AITransportError) as caught:
            await page_until_located(run, trigger_wait=0)
        assert caught.value.code == 104010


@pytest.mark.parametrize("later", [0, 5])
@pytest.mark.parametrize("page_size", [1, 100])
async def test_a_run_is_adopted_by_its_id_alone(hub: MemoryHub, page_size: int, later: int) -> None:
    async with client(hub) as alice:
        await alice.view.send(said("an earlier question"))
        asked = await alice.view.send(said("hi"))
        lost = agent(hub)
        await lost.connect()
        first = lost.create_run(asked.to_invocation())
        await first.start()
        await lost.detach()
        for i in range(later):
            await alice.view.send(said(f"after {i}"))
        session = AgentSession(hub.client("agent"), NAME, codec=CODEC, history_page_size=page_size)
        async with session, session.adopt_run(run_id=first.run_id) as run:
            assert run.invocation_id != first.invocation_id
            assert run.input_codec_message_id == asked.input_codec_message_id
            seen = await run.view.load_all()
            assert texts(seen) == ["an earlier question", "hi"]
            await run.pipe(stream(reply("the answer")))
        await hub.settle()
        assert await asked.ended == "complete"
        assert texts(alice.view.messages)[:3] == ["an earlier question", "hi", "the answer"]


async def test_a_run_that_went_on_is_adopted_under_its_latest_input(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        asked = await alice.view.send(said("hi"))
        async with agent(hub) as session:
            first = session.create_run(asked.to_invocation())
            await first.start()
            await first.suspend()
            await hub.settle()
            again = await alice.view.send(said("go on"), run_id=first.run_id)
            second = session.create_run(again.to_invocation())
            await second.start()
            await session.detach()
        async with agent(hub) as session, session.adopt_run(run_id=first.run_id) as run:
            assert run.input_codec_message_id == again.input_codec_message_id
        await hub.settle()
        assert await again.ended == "complete"


async def test_a_run_that_is_not_there_cannot_be_adopted(hub: MemoryHub) -> None:
    async with agent(hub) as session:
        run = session.adopt_run(run_id="nothing")
        with pytest.raises(AITransportError, match="run nothing or its input was not found") as caught:
            await run.load(timeout=0)
        assert caught.value.code == 104010
