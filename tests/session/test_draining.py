"""An agent whose process is told to stop: no new runs, and what becomes of those under way."""

import anyio
import pytest
from ably_ai_transport_vercel import UIAgentSession

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    InvalidArgumentError,
    Invocation,
    SessionClosedError,
    StreamResult,
)
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from tests.session.stage import CODEC, NAME, Gated, agent, client, reply, said, stream, texts


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


class Working:
    """An agent in the middle of a reply."""

    def __init__(self, session: UIAgentSession, invocation: Invocation) -> None:
        self.source = Gated(*[f"word{i} " for i in range(10)])
        self.result: StreamResult | None = None
        self.run = session.create_run(invocation)

    async def work(self) -> None:
        with anyio.fail_after(20):
            async with self.run:
                self.result = await self.run.pipe(self.source.chunks())


def names_of(hub: MemoryHub) -> list[str | None]:
    return [message.name for message in hub.messages(NAME)]


async def test_runs_under_way_finish_and_no_new_ones_begin(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        working = Working(session, asked.to_invocation())
        early = session.create_run(asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(working.work)
            await working.source.reached.wait()
            tasks.start_soon(session.drain)
            await hub.settle()
            for begin in (session.create_run, session.adopt_run):
                with pytest.raises(SessionClosedError, match="draining"):
                    begin(asked.to_invocation(), run_id="another")
            with pytest.raises(SessionClosedError, match="draining"):
                await early.start()
            working.source.gate.set()
        await hub.settle()
        assert await asked.ended == "complete"


@pytest.mark.parametrize(
    ("then", "status"), [("suspend", "suspended"), ("cancel", "cancelled"), ("detach", "active")]
)
async def test_runs_that_take_too_long_are_let_go_of(hub: MemoryHub, then: str, status: str) -> None:
    async with client(hub) as alice, agent(hub) as session:
        errors: list[AITransportError] = []
        session.on_error(errors.append)
        asked = await alice.view.send(said("hi"))
        working = Working(session, asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(working.work)
            await working.source.reached.wait()
            await session.drain(0, then=then)  # type: ignore[arg-type]
        await session.end()
        await hub.settle()
        assert working.source.closed
        assert working.run.phase == "closed"
        [info] = alice.view.runs()
        assert info.status == status
        assert info.end_message == ("the agent's process was stopped" if then == "cancel" else None)
        assert [step.status for step in info.steps] == ["active" if then == "detach" else "cancelled"]
        assert names_of(hub).count(names.RUN_END) == (then == "cancel")
        assert errors == []


async def test_a_run_that_was_left_is_finished_by_another_process(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        async with agent(hub) as session:
            asked = await alice.view.send(said("hi"))
            working = Working(session, asked.to_invocation())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(working.work)
                await working.source.reached.wait()
                await session.drain(0, then="detach")
        async with agent(hub) as other, other.adopt_run(run_id=working.run.run_id) as run:
            [step] = alice.view.runs()[0].steps
            async with run.create_step(step_id=step.step_id) as again:
                await again.pipe(stream(reply("all of it")))
        await hub.settle()
        assert await asked.ended == "complete"
        assert texts(alice.view.messages) == ["hi", "all of it"]


async def test_a_suspended_run_goes_on_when_it_is_asked_to(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        async with agent(hub) as session:
            asked = await alice.view.send(said("hi"))
            working = Working(session, asked.to_invocation())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(working.work)
                await working.source.reached.wait()
                await session.drain(0)
        await hub.settle()
        again = await alice.view.send(said("please go on"), run_id=working.run.run_id)
        async with agent(hub) as other, other.create_run(again.to_invocation()) as run:
            assert run.run_id == working.run.run_id
            await run.pipe(stream(reply("all of it")))
        await hub.settle()
        assert await asked.ended == "complete"


@pytest.mark.parametrize("then", ["suspend", "cancel"])
async def test_an_application_that_does_not_let_go(hub: MemoryHub, then: str) -> None:
    async with client(hub) as alice:
        session = AgentSession(hub.client("agent"), NAME, codec=CODEC, close_timeout=0)
        await session.connect()
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        await session.drain(0, then=then)  # type: ignore[arg-type]
        await hub.settle()
        assert [info.status for info in alice.view.runs()] == [
            "suspended" if then == "suspend" else "cancelled"
        ]
        await session.end()


async def test_a_reply_that_is_complete_in_time_is_not_cancelled(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        await run.pipe(stream(reply("done")))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.drain, 0)
            await run.abort_signal.wait()
            await run.end("complete")
        await hub.settle()
        assert await asked.ended == "complete"


async def test_what_is_out_of_bounds_is_refused(hub: MemoryHub) -> None:
    async with agent(hub) as session:
        with pytest.raises(InvalidArgumentError, match="timeout"):
            await session.drain(-1)
        with pytest.raises(InvalidArgumentError, match="then must be one of"):
            await session.drain(1, then="complete")  # type: ignore[arg-type]
