"""Runs that somebody else ends or takes over: the agent that worked on them stops."""

from collections.abc import AsyncIterator

import anyio
import pytest
from ably_ai_transport_vercel import UIAgentRun, UIAgentSession, UIMessageChunk

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    ErrorCode,
    InvalidArgumentError,
    RunLostError,
    StreamResult,
)
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import OutboundMessage, names
from ably_ai_transport.wire.messages import ai_extras
from tests.session.stage import CODEC, NAME, agent, client, reply, said, stream, texts

WORDS = [f"word{i} " for i in range(20)]


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


def second_agent(hub: MemoryHub) -> UIAgentSession:
    return AgentSession(hub.client("second"), NAME, codec=CODEC)


def published(hub: MemoryHub, name: str) -> int:
    return sum(message.name == name for message in hub.messages(NAME))


def versions(hub: MemoryHub) -> list[str | None]:
    return [message.version for message in hub.messages(NAME)]


class Endless:
    """A reply without an end; it notes when it is closed."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.closed = anyio.Event()

    async def chunks(self) -> AsyncIterator[UIMessageChunk]:
        try:
            for chunk in reply(*WORDS)[:10]:
                yield chunk
            self.reached.set()
            await anyio.sleep_forever()
        finally:
            self.closed.set()


class Piping:
    """An agent in the middle of a reply that has no end."""

    def __init__(self, run: UIAgentRun) -> None:
        self.run = run
        self.source = Endless()
        self.result: StreamResult | None = None

    async def pipe(self) -> None:
        with anyio.fail_after(20):
            self.result = await self.run.pipe(self.source.chunks())


async def test_a_run_that_was_left_open_is_ended_for_everybody(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob:
        asked = await alice.view.send(said("hi"))
        lost = agent(hub)
        await lost.connect()
        run = lost.create_run(asked.to_invocation())
        await run.start()
        await run.pipe(stream(reply("half a ")[:4]))
        await lost.detach()
        await hub.settle()
        assert [info.status for info in bob.view.runs()] == ["active"]
        await bob.end_run(run.run_id)
        await hub.settle()
        assert await asked.ended == "error"
        for session in (alice, bob):
            [info] = session.view.runs()
            assert info.status == "error"
            assert info.error is not None
            assert info.error.code == ErrorCode.AGENT_LOST
            assert "lost" in info.error.message
        assert texts(alice.view.messages) == ["hi", "half a "]


async def test_the_end_has_the_headers_of_the_runs_own_agent(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob:
        asked = await alice.view.send(said("hi"))
        lost = agent(hub)
        await lost.connect()
        run = lost.create_run(asked.to_invocation())
        await run.start()
        await lost.detach()
        await bob.end_run(run.run_id, "error", error=AITransportError("the machine is gone", 104008))
    [end] = [message for message in hub.messages(NAME) if message.name == names.RUN_END]
    assert end.transport_headers == {
        "run-id": run.run_id,
        "run-client-id": "alice",
        "run-reason": "error",
        "invocation-id": run.invocation_id,
        "input-client-id": "alice",
        "input-codec-message-id": asked.input_codec_message_id,
        "error-code": "104008",
        "error-message": "the machine is gone",
    }


async def test_an_end_that_many_publish_is_taken_once(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob, second_agent(hub) as other:
        asked = await alice.view.send(said("hi"))
        lost = agent(hub)
        await lost.connect()
        run = lost.create_run(asked.to_invocation())
        await run.start()
        await lost.detach()
        await hub.settle()
        async with anyio.create_task_group() as tasks:
            for session in (alice, bob, other):
                tasks.start_soon(session.end_run, run.run_id, "cancelled")
        assert published(hub, names.RUN_END) == 1
        assert await asked.ended == "cancelled"


async def test_an_end_is_found_in_history_and_refused_where_there_is_none(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        asked = await alice.view.send(said("hi"))
        lost = agent(hub)
        await lost.connect()
        run = lost.create_run(asked.to_invocation())
        await run.start()
        await lost.detach()
    async with client(hub, "late", history_page_size=1) as late:
        with pytest.raises(InvalidArgumentError, match="is no run of"):
            await late.end_run("nothing")
    async with client(hub, "later", history_page_size=1) as later:
        await later.end_run(run.run_id)
        with pytest.raises(InvalidArgumentError, match="already error"):
            await later.end_run(run.run_id)
        with pytest.raises(InvalidArgumentError, match="reason must be one of"):
            await later.end_run(run.run_id, "suspended")  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["ended", "resumed", "retried"])
async def test_an_agent_stops_when_its_run_is_not_its_own_any_more(hub: MemoryHub, how: str) -> None:
    async with client(hub) as alice, agent(hub) as first, second_agent(hub) as second:
        errors: list[AITransportError] = []
        first.on_error(errors.append)
        asked = await alice.view.send(said("hi"))
        run = first.create_run(asked.to_invocation())
        await run.start()
        piping = Piping(run)
        before: list[str | None] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(piping.pipe)
            await piping.source.reached.wait()
            await hub.settle()
            if how == "ended":
                await alice.end_run(run.run_id, "cancelled")
            elif how == "resumed":
                headers = {names.RUN_ID: run.run_id, names.INVOCATION_ID: "second"}
                channel = hub.client("second").open_channel(NAME)
                await channel.publish([OutboundMessage(names.RUN_RESUME, extras=ai_extras(headers))])
            else:
                adopted = second.adopt_run(asked.to_invocation(), run_id=run.run_id, invocation_id="second")
                await adopted.load()
                await adopted.pipe(stream(reply("by another")))
            await hub.settle()
            before = versions(hub)
        assert piping.source.closed.is_set()
        assert run.abort_signal.aborted
        assert run.phase == "closed"
        assert [type(error) for error in errors] == [RunLostError]
        assert run.run_id in str(errors[0])
        assert piping.result == StreamResult("error", errors[0])
        await run.end()
        with pytest.raises(RunLostError):
            await run.pipe(stream(reply("too late")))
        with pytest.raises(RunLostError):
            await run.create_step().start()
        await hub.settle()
        assert versions(hub) == before
        if how == "retried":
            assert texts(alice.view.messages) == [
                "hi",
                "word0 word1 word2 word3 word4 word5 word6 ",
                "by another",
            ]


async def test_an_agent_that_comes_back_learns_that_its_run_has_ended(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        errors: list[AITransportError] = []
        session.on_error(errors.append)
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        piping = Piping(run)
        before: list[str | None] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(piping.pipe)
            await piping.source.reached.wait()
            await hub.settle()
            hub.faults.suspend(client_id="agent")
            await hub.settle()
            await alice.end_run(run.run_id)
            before = versions(hub)
            hub.faults.reattach(client_id="agent", resumed=False)
        await hub.settle()
        assert [error.code for error in errors] == [ErrorCode.CHANNEL_CONTINUITY_LOST, ErrorCode.RUN_LOST]
        assert versions(hub) == before
        assert await asked.ended == "error"


async def test_a_process_that_only_starts_and_ends_a_run_shares_it(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as workflow, second_agent(hub) as worker:
        errors: list[AITransportError] = []
        workflow.on_error(errors.append)
        asked = await alice.view.send(said("hi"))
        run = workflow.create_run(asked.to_invocation())
        await run.start()
        step = worker.adopt_run(asked.to_invocation(), run_id=run.run_id, invocation_id="worker")
        await step.load()
        await step.pipe(stream(reply("the work")))
        await hub.settle()
        await run.end()
        await hub.settle()
        assert await asked.ended == "complete"
        assert errors == []


async def test_a_step_is_not_begun_beside_one_of_another_invocation(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as first, second_agent(hub) as second:
        first.on_error(lambda _: None)
        asked = await alice.view.send(said("hi"))
        run = first.create_run(asked.to_invocation())
        await run.start()
        adopted = second.adopt_run(asked.to_invocation(), run_id=run.run_id, invocation_id="second")
        await adopted.load()
        async with adopted.create_step() as step:
            await hub.settle()
            with pytest.raises(RunLostError, match="taken over by invocation second"):
                await run.pipe(stream(reply("a rival")), raise_on_error=True)
            assert run.phase == "closed"
            await step.pipe(stream(reply("the work")))
        await adopted.end()
        await hub.settle()
        assert texts(alice.view.messages) == ["hi", "the work"]
        assert await asked.ended == "complete"


async def test_of_two_that_claim_a_run_at_once_the_later_one_keeps_it(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as first, second_agent(hub) as second:
        lost: list[str] = []
        first.on_error(lambda _: lost.append("first"))
        second.on_error(lambda _: lost.append("second"))
        asked = await alice.view.send(said("hi"))
        run = first.create_run(asked.to_invocation())
        await run.start()
        rival = second.adopt_run(asked.to_invocation(), run_id=run.run_id, invocation_id="second")
        await rival.load()
        await hub.settle()
        hub.faults.hold_acks()
        async with anyio.create_task_group() as tasks:
            for one in (run, rival):
                tasks.start_soon(one.create_step(step_id="answer").start)
            await hub.settle()
            hub.faults.release_acks()
        await hub.settle()
        starts = [m for m in hub.messages(NAME) if m.name == names.STEP_START]
        newest = starts[-1].transport_headers[names.INVOCATION_ID]
        assert lost == ["first" if newest == "second" else "second"]
        assert rival.is_open == (newest == "second")
        assert run.is_open == (newest != "second")


async def test_two_handles_of_one_process_that_are_cancelled_report_nothing(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        errors: list[AITransportError] = []
        session.on_error(errors.append)
        asked = await alice.view.send(said("hi"))
        first = session.create_run(asked.to_invocation())
        await first.start()
        second = session.adopt_run(asked.to_invocation(), run_id=first.run_id, invocation_id="second")
        await second.load()
        await asked.cancel()
        await hub.settle()
        await first.end("cancelled")
        await hub.settle()
        assert second.phase == "closed"
        assert errors == []
