"""Two questions at once: agents in two processes take turns, as their policy says."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from ably_ai_transport_vercel import UIAgentRun, UIAgentSession, UIClientRun, UIClientSession, UIMessageChunk

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    ConcurrencyPolicy,
    ErrorCode,
    InvalidArgumentError,
    NotFoundInTimeError,
    RunHooks,
    RunLostError,
    RunPolicy,
    RunRejectedError,
    RunSteeredError,
    SessionClosedError,
)
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import CODEC, NAME, client, reply, said, stream, texts


@dataclass
class Process:
    """An agent's process: its session, and what it has started.

    Attributes:
        failed: The exceptions of starts that failed.
        told: The errors that the session reported.
    """

    session: UIAgentSession
    failed: list[BaseException] = field(default_factory=list[BaseException])
    told: list[AITransportError] = field(default_factory=list[AITransportError])

    async def start(self, run: UIAgentRun) -> None:
        """Start a run, and keep the exception where that fails."""
        try:
            await run.start()
        except AITransportError as error:
            self.failed.append(error)


@dataclass
class Scene:
    hub: MemoryHub
    alice: UIClientSession
    first: Process
    second: Process

    async def ask(self, text: str) -> UIClientRun:
        asked = await self.alice.view.send(said(text))
        await self.hub.settle()
        return asked

    def statuses(self) -> list[str]:
        return [info.status for info in self.alice.view.runs()]


@asynccontextmanager
async def process(hub: MemoryHub, **options: object) -> AsyncGenerator[Process]:
    async with AgentSession(hub.client("agent"), NAME, codec=CODEC, **options) as session:  # type: ignore[arg-type]
        made = Process(session)
        session.on_error(made.told.append)
        yield made


@asynccontextmanager
async def scene(concurrency: ConcurrencyPolicy, **options: object) -> AsyncGenerator[Scene]:
    """Open a conversation of Alice and of an agent in two processes."""
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with (
            client(hub) as alice,
            process(hub, concurrency=concurrency, **options) as first,
            process(hub, concurrency=concurrency, **options) as second,
        ):
            alice.on_error(lambda _: None)
            yield Scene(hub, alice, first, second)


async def running(stage: Scene, text: str = "one") -> UIAgentRun:
    """Start the first run, in the first process."""
    asked = await stage.ask(text)
    run = stage.first.session.create_run(asked.to_invocation())
    await run.start()
    await run.pipe(stream(reply(f"to {text}")))
    await stage.hub.settle()
    return run


# Queue


async def test_a_run_waits_for_the_run_before_it() -> None:
    async with scene("queue") as stage, anyio.create_task_group() as tasks:
        before = await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        tasks.start_soon(stage.second.start, run)
        await asked.started
        await stage.hub.settle()
        assert (run.phase, stage.statuses()) == ("opening", ["active", "active"])
        await before.end()
        await run.start()
        assert texts(await run.view.load_all()) == ["one", "to one", "two"]
        await run.pipe(stream(reply("to two")))
        await run.end()
        assert await asked.ended == "complete"
        assert texts(stage.alice.view.messages) == ["one", "to one", "two", "to two"]
        assert stage.second.failed == []


@pytest.mark.parametrize("how", ["end", "suspend", "end from outside", "end of the session"])
async def test_the_queue_moves_on(how: str) -> None:
    async with scene("queue") as stage, anyio.create_task_group() as tasks:
        before = await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        tasks.start_soon(stage.second.start, run)
        await asked.started
        match how:
            case "end":
                await before.end("error", error=AITransportError("no", 50000))
            case "suspend":
                await before.suspend()
            case "end from outside":
                await stage.alice.end_run(before.run_id)
            case _:
                await stage.first.session.end()
        await run.start()
        assert run.is_open


async def test_a_run_that_is_resumed_takes_its_place_at_the_end() -> None:
    async with scene("reject") as stage, anyio.create_task_group() as tasks:
        before = await running(stage)
        await before.suspend()
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        await run.start()
        answer = await stage.alice.view.send(said("go on"), run_id=before.run_id)
        resumed = stage.first.session.create_run(answer.to_invocation())
        tasks.start_soon(stage.first.start, resumed)
        await answer.started
        await stage.hub.settle()
        assert (resumed.run_id, resumed.phase) == (before.run_id, "opening")
        await run.end()
        await resumed.start()
        assert resumed.is_open, "an answer is not rejected"
        await resumed.end()
        assert stage.first.failed == []


async def test_three_runs_go_in_the_order_of_their_starts() -> None:
    order: list[str] = []
    async with scene("queue") as stage, anyio.create_task_group() as tasks:
        questions = [await stage.ask(text) for text in ("one", "two", "three")]

        async def serve(worker: Process, place: int) -> None:
            async with worker.session.create_run(questions[place].to_invocation()) as run:
                order.append(run.run_id)
                await run.pipe(stream(reply("said")))
                order.append(run.run_id)

        started: list[str] = []
        stage.alice.tree.on_run(lambda event: started.append(event.run_id) if event.type == "start" else None)
        for place, worker in enumerate((stage.second, stage.first, stage.second)):
            tasks.start_soon(serve, worker, place)
        for asked in questions:
            assert await asked.ended == "complete"
        assert order == [run_id for run_id in started for _ in range(2)]


async def test_a_cancel_ends_the_wait() -> None:
    async with scene("queue") as stage:
        before = await running(stage)
        asked = await stage.ask("two")
        async with anyio.create_task_group() as tasks:

            async def serve() -> None:
                async with stage.second.session.create_run(asked.to_invocation()) as run:
                    assert run.abort_signal.aborted
                    assert not run.has_input()

            tasks.start_soon(serve)
            await asked.started
            await asked.cancel()
            assert await asked.ended == "cancelled"
        assert before.is_open


async def test_the_task_that_waits_can_be_cancelled() -> None:
    async with scene("queue") as stage:
        await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.start)
            await asked.started
            await stage.hub.settle()
            tasks.cancel_scope.cancel()
        assert await asked.ended == "cancelled"
        assert run.phase == "closed"
        assert stage.statuses() == ["active", "cancelled"]


async def test_a_session_that_ends_gives_up_the_run_that_waits() -> None:
    async with scene("queue") as stage, anyio.create_task_group() as tasks:
        await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        tasks.start_soon(stage.second.start, run)
        await asked.started
        await stage.hub.settle()
        await stage.second.session.end()
        assert await asked.ended == "cancelled"
        await stage.hub.settle()
        assert [type(error) for error in stage.second.failed] == [SessionClosedError]


async def test_a_run_that_waits_is_suspended_when_its_process_is_drained() -> None:
    async with scene("queue") as stage:
        before = await running(stage)
        asked = await stage.ask("two")
        async with anyio.create_task_group() as tasks:

            async def serve() -> None:
                async with stage.second.session.create_run(asked.to_invocation()):
                    pass

            tasks.start_soon(serve)
            await asked.started
            await stage.hub.settle()
            await stage.second.session.drain(0.0)
        await stage.hub.settle()
        assert stage.statuses() == ["active", "suspended"]
        assert before.is_open


async def test_a_run_that_waits_can_be_ended_by_somebody_else() -> None:
    async with scene("queue") as stage:
        await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.second.start, run)
            await asked.started
            await stage.alice.end_run(asked.run_id)
        assert [type(error) for error in stage.second.failed] == [RunLostError]
        ends = [m for m in stage.hub.messages(NAME) if m.name == "ai-run-end"]
        assert len(ends) == 1


async def test_a_lost_run_holds_the_queue_until_it_is_reaped() -> None:
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with client(hub) as alice, process(hub, concurrency="queue") as second:
            alice.on_error(lambda _: None)
            killed = AgentSession(hub.client("killed"), NAME, codec=CODEC, announce_runs=True)
            await killed.connect()
            await killed.create_run((await alice.view.send(said("one"))).to_invocation()).start()
            await killed.detach()
            await hub.settle()
            asked = await alice.view.send(said("two"))
            run = second.session.create_run(asked.to_invocation())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(second.start, run)
                await asked.started
                await hub.settle()
                assert run.phase == "opening"
                await alice.reap_once()
            assert run.is_open


async def test_runs_of_before_are_known_from_history() -> None:
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with client(hub) as alice, process(hub) as first:
            asked = await alice.view.send(said("one"))
            before = first.session.create_run(asked.to_invocation())
            await before.start()
            for number in range(5):
                await before.pipe(stream(reply(f"{number}")))
            asked = await alice.view.send(said("two"))
            async with process(hub, concurrency="reject", history_page_size=2) as second:
                run = second.session.create_run(asked.to_invocation())
                with pytest.raises(RunRejectedError, match=before.run_id):
                    await run.start()


async def test_runs_may_go_on_at_once_by_default_and_by_choice() -> None:
    async with scene("concurrent") as stage:
        await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        await run.start()
        assert stage.statuses() == ["active", "active"]
        third = await stage.ask("three")
        with pytest.raises(RunRejectedError):
            await stage.second.session.create_run(third.to_invocation(), concurrency="reject").start()
    async with scene("queue") as stage:
        await running(stage)
        asked = await stage.ask("two")
        await stage.second.session.create_run(asked.to_invocation(), concurrency="concurrent").start()


async def test_runs_of_one_process_take_turns_as_well() -> None:
    async with scene("queue") as stage, anyio.create_task_group() as tasks:
        before = await running(stage)
        asked = await stage.ask("two")
        run = stage.first.session.create_run(asked.to_invocation())
        tasks.start_soon(stage.first.start, run)
        await asked.started
        await before.end()
        await run.start()
        assert run.is_open


# Reject


async def test_clients_learn_why_a_run_was_rejected() -> None:
    async with scene("reject") as stage:
        before = await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        with pytest.raises(RunRejectedError, match="is active") as caught:
            await run.start()
        assert caught.value.run_id == before.run_id
        assert run.phase == "closed"
        assert await asked.ended == "error"
        assert asked.error is not None
        assert asked.error.code == ErrorCode.RUN_REJECTED
        assert before.run_id in asked.error.message
        await before.end()
        again = await stage.ask("two again")
        await stage.second.session.create_run(again.to_invocation()).start()


# Interrupt


async def test_a_run_interrupts_the_runs_before_it() -> None:
    async with scene("interrupt") as stage, anyio.create_task_group() as tasks:
        asked = await stage.ask("one")
        stopped: list[str] = []

        async def serve() -> None:
            async with stage.first.session.create_run(asked.to_invocation()) as run:
                await run.abort_signal.wait()
                stopped.append(run.run_id)

        tasks.start_soon(serve)
        await asked.started
        second = await stage.ask("two")
        run = stage.second.session.create_run(second.to_invocation())
        await run.start()
        assert stopped == [asked.run_id]
        assert await asked.ended == "cancelled"
        assert run.is_open


async def test_clients_policies_do_not_bind_the_agent_itself() -> None:
    async with scene("interrupt", policy=RunPolicy(cancel="owner")) as stage:
        before = await running(stage)
        second = await stage.ask("two")
        async with anyio.create_task_group() as tasks:
            run = stage.second.session.create_run(second.to_invocation())
            tasks.start_soon(run.start)
            await before.abort_signal.wait()
            await before.end("cancelled")
        assert stage.first.told == []


async def test_a_run_that_does_not_stop_is_ended_from_outside() -> None:
    hooks = RunHooks[UIMessageChunk](on_cancel=lambda _: False)
    for same in (False, True):
        async with scene("interrupt", interrupt_timeout=0.0) as stage:
            asked = await stage.ask("one")
            stuck = stage.first.session.create_run(asked.to_invocation(), hooks=hooks)
            await stuck.start()
            second = await stage.ask("two")
            session = (stage.first if same else stage.second).session
            run = session.create_run(second.to_invocation())
            await run.start()
            assert await asked.ended == "cancelled"
            [info, _] = stage.alice.view.runs()
            assert info.end_message is not None
            assert "did not stop in time" in info.end_message
            await stage.hub.settle()
            assert stuck.abort_signal.aborted
            assert RunLostError in [type(error) for error in stage.first.told]


async def test_of_three_questions_at_once_the_last_is_answered() -> None:
    async with scene("interrupt") as stage:
        before = await running(stage)
        questions = [await stage.ask(text) for text in ("two", "three")]
        async with anyio.create_task_group() as tasks:

            async def serve(worker: Process, place: int) -> None:
                async with worker.session.create_run(questions[place].to_invocation()) as run:
                    if run.has_input():
                        await run.pipe(stream(reply("done")))

            tasks.start_soon(serve, stage.second, 0)
            await questions[0].started
            tasks.start_soon(serve, stage.first, 1)
            await questions[1].started
            await before.abort_signal.wait()
            await before.end("cancelled")
        assert [await asked.ended for asked in questions] == ["cancelled", "complete"]


# Steer


async def answer_steering(run: UIAgentRun, words: str = "both") -> None:
    assert run.has_input()
    await run.pipe(stream(reply(words)))


async def test_a_question_becomes_a_steering_message_of_the_run() -> None:
    async with scene("steer") as stage:
        before = await running(stage)
        assert not before.has_input()
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.second.start, run)
            await asked.started
            await stage.hub.settle()
            await answer_steering(before)
        [error] = stage.second.failed
        assert isinstance(error, RunSteeredError)
        assert error.run_id == before.run_id
        assert await asked.ended == "cancelled"
        assert stage.statuses() == ["active", "cancelled"]
        await before.end()
        later = await stage.ask("three")
        after = stage.second.session.create_run(later.to_invocation())
        await after.start()
        # A model reads the question once, where it was answered.
        assert texts(await after.view.load_all()) == ["one", "to one", "two", "both", "three"]


async def test_a_question_that_the_run_did_not_respond_to_is_answered_afterwards() -> None:
    async with scene("steer") as stage:
        before = await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.second.start, run)
            await asked.started
            await stage.hub.settle()
            assert run.phase == "opening"
            await before.end()
        assert stage.second.failed == []
        assert run.is_open
        assert texts(await run.view.load_all())[-1] == "two"


async def test_a_question_of_several_parts_is_passed_on_as_a_whole() -> None:
    parts = [{"type": "text", "text": "two "}, {"type": "text", "text": "halves"}]
    async with scene("steer") as stage:
        before = await running(stage)
        asked = await stage.alice.view.send(
            CODEC.create_user_message({"id": "m", "role": "user", "parts": parts})  # type: ignore[typeddict-item]
        )
        run = stage.second.session.create_run(asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.second.start, run)
            await asked.started
            await stage.hub.settle()
            await answer_steering(before)
        [asked_there] = [item for item in before.messages if item["role"] == "user"][1:]
        assert asked_there["parts"] == parts


async def regenerated(alice: UIClientSession) -> UIClientRun:
    [message] = [item for item in alice.view.messages if item.message["role"] == "assistant"]
    return await alice.view.regenerate(message.codec_message_id)


async def edited(alice: UIClientSession) -> UIClientRun:
    return await alice.view.edit(alice.view.messages[0].codec_message_id, said("other"))


async def asked_elsewhere(alice: UIClientSession) -> UIClientRun:
    return await alice.view.send(said("other"), parent="another message")


@pytest.mark.parametrize("ask", [regenerated, edited, asked_elsewhere])
async def test_a_question_on_another_branch_waits(
    ask: Callable[[UIClientSession], Awaitable[UIClientRun]],
) -> None:
    async with scene("steer") as stage:
        before = await running(stage)
        asked = await ask(stage.alice)
        run = stage.second.session.create_run(asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.second.start, run)
            await asked.started
            await stage.hub.settle()
            assert run.phase == "opening"
            await before.end()
        assert run.is_open


async def test_a_policy_that_refuses_the_steering_message_lets_the_question_wait() -> None:
    async with scene("steer", policy=RunPolicy(steer="owner")) as stage:
        before = await running(stage)
        assert not before.has_input()
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.second.start, run)
            await asked.started
            await stage.hub.settle()
            assert not before.has_input()
            await before.end()
        assert run.is_open
        assert [error.code for error in stage.first.told] == [ErrorCode.FORBIDDEN]


async def test_a_steering_message_that_the_channel_refuses_lets_the_question_wait() -> None:
    async with scene("steer") as stage:
        before = await running(stage)
        asked = await stage.ask("two")
        run = stage.second.session.create_run(asked.to_invocation())
        stage.hub.faults.nack(skip=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stage.second.start, run)
            await asked.started
            await stage.hub.settle()
            await before.end()
        assert run.is_open
        assert [error.code for error in stage.second.told] == [ErrorCode.RUN_LIFECYCLE_ERROR]


# Mistakes


@pytest.mark.parametrize("value", ["rollback", None, ""])
async def test_an_unknown_policy_is_refused(value: object) -> None:
    hub = MemoryHub()
    with pytest.raises(InvalidArgumentError, match="concurrency must be one of concurrent, queue"):
        AgentSession(hub.client("agent"), NAME, codec=CODEC, concurrency=value)  # type: ignore[arg-type]


async def test_a_run_does_not_start_where_it_cannot_know_who_is_before_it() -> None:
    async with scene("queue") as stage:
        asked = await stage.ask("one")
        stage.hub.faults.fail_history(count=99)
        run = stage.second.session.create_run(asked.to_invocation())
        with pytest.raises(NotFoundInTimeError, match="history"):
            await run.start(timeout=0.01)
        assert stage.statuses() == []
