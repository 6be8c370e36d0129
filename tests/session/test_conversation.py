"""A client and an agent, from the question to the end of the answer."""

import anyio
import pytest

from ably_ai_transport import AITransportError, Invocation, StreamResult
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import Gated, agent, answer, client, reply, said, stream, texts


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


async def test_a_question_is_answered(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        assert texts(alice.view.messages) == ["hi"]
        await answer(hub, session, run.to_invocation(), "Hel", "lo")
        await run.started
        assert await run.ended == "complete"
        assert run.status == "complete"
        assert [m["role"] for m in run.messages] == ["user", "assistant"]
        for seen in (alice, bob):
            assert texts(seen.view.messages) == ["hi", "Hello"]
            assert [info.status for info in seen.view.runs()] == ["complete"]


async def test_the_echo_takes_the_place_of_the_preview(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        hub.faults.hold_deliveries()
        run = await alice.view.send(said("hi"))
        assert [m.codec_message_id for m in alice.view.messages] == [run.input_codec_message_id]
        node = alice.tree.get_node_by_codec_message_id(run.input_codec_message_id)
        assert node is not None
        assert node.sort_serial is None
        hub.faults.release_deliveries()
        await hub.settle()
        assert [m.codec_message_id for m in alice.view.messages] == [run.input_codec_message_id]
        assert node.sort_serial is not None


@pytest.mark.parametrize(("status", "code"), [(500, 104005), (401, 40160)])
async def test_what_cannot_be_sent_leaves_nothing_behind(hub: MemoryHub, status: int, code: int) -> None:
    async with client(hub) as alice:
        hub.faults.nack(code=40160 if status == 401 else 50000)
        with pytest.raises(AITransportError) as caught:
            await alice.view.send(said("hi"))
        assert caught.value.code == code
        assert alice.view.messages == []
        await alice.view.send(said("again"))
        assert texts(alice.view.messages) == ["again"]


async def test_cancelling_in_the_middle(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        source = Gated("one ", "two ", "three ", "four ")
        result: StreamResult | None = None
        async with anyio.create_task_group() as tasks, session.create_run(run.to_invocation()) as work:

            async def cancel() -> None:
                await source.reached.wait()
                await hub.settle()
                await bob.cancel(work.run_id)

            tasks.start_soon(cancel)
            result = await work.pipe(source.chunks())
        await hub.settle()
        assert result is not None
        assert result.reason == "cancelled"
        assert source.closed
        assert await run.ended == "cancelled"
        assert texts(alice.view.messages) == texts(bob.view.messages)
        assert texts(alice.view.messages)[1] == "one two "


@pytest.mark.parametrize("attached", [True, False], ids=["agent-there", "agent-later"])
async def test_cancelling_before_the_run_has_started(hub: MemoryHub, attached: bool) -> None:
    async with client(hub) as alice:
        session = agent(hub)
        if attached:
            await session.connect()
        run = await alice.view.send(said("hi"))
        await run.cancel()
        await hub.settle()
        async with session, session.create_run(run.to_invocation()) as work:
            assert work.abort_signal.aborted
            result = await work.pipe(stream(reply("never")))
        await hub.settle()
        assert result.reason == "cancelled"
        assert await run.ended == "cancelled"
        assert texts(alice.view.messages) == ["hi"]


async def test_a_source_that_fails_ends_the_run_in_error(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        reported: list[AITransportError] = []
        alice.on_error(reported.append)
        run = await alice.view.send(said("hi"))

        async def failing():  # noqa: ANN202
            for chunk in reply("some")[:4]:
                yield chunk
            raise RuntimeError("the key is s3cret")

        async with session.create_run(run.to_invocation()) as work:
            result = await work.pipe(failing())
            assert isinstance(result.error, RuntimeError)
        await hub.settle()
        assert await run.ended == "error"
        assert run.error is not None
        assert (run.error.code, run.error.message) == (104008, "agent failed with RuntimeError")
        assert [error.code for error in reported] == [104008]


async def test_an_error_of_ours_reaches_the_clients_in_words(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        with pytest.raises(AITransportError):
            async with session.create_run(run.to_invocation()):
                raise AITransportError("the model is busy", 42900)
        await hub.settle()
        assert run.error is not None
        assert (run.error.code, run.error.message, run.error.status_code) == (42900, "the model is busy", 429)


async def test_an_agent_whose_task_is_cancelled_ends_its_run(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        source = Gated("one ", "two ", "three ", "four ")

        async def work() -> None:
            async with session.create_run(run.to_invocation()) as reply_run:
                await reply_run.pipe(source.chunks())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await source.reached.wait()
            tasks.cancel_scope.cancel()
        await hub.settle()
        assert source.closed
        assert await run.ended == "cancelled"
        statuses = [m.transport_headers.get("status") for m in hub.messages("chat:1")]
        assert "streaming" not in statuses


async def test_joining_in_the_middle_of_a_stream(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        source = Gated("one ", "two ", "three ", "four ")
        late = client(hub, "carol")
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                async with session.create_run(run.to_invocation()) as reply_run:
                    await reply_run.pipe(source.chunks())

            tasks.start_soon(work)
            await source.reached.wait()
            await hub.settle()
            await late.connect()
            await late.view.load_all()
            assert texts(late.view.messages) == ["hi", "one two "]
            source.gate.set()
        await hub.settle()
        assert texts(late.view.messages) == texts(alice.view.messages) == ["hi", "one two three four "]
        await late.close()


async def test_an_agent_that_comes_later_reads_the_conversation(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        async with agent(hub) as session:
            run = await alice.view.send(said("one"))
            await answer(hub, session, run.to_invocation(), "first")
        run = await alice.view.send(said("two"))
        async with agent(hub) as session, session.create_run(run.to_invocation()) as work:
            assert texts(await work.view.load_all()) == ["one", "first", "two"]
            await work.pipe(stream(reply("second")))
        await hub.settle()
        assert texts(alice.view.messages) == ["one", "first", "two", "second"]


async def test_an_input_that_never_comes(hub: MemoryHub) -> None:
    async with agent(hub) as session:
        run = session.create_run(Invocation(input_event_id="nowhere", session_name="chat:1"))
        with pytest.raises(AITransportError) as caught:
            await run.start(timeout=0)
        assert caught.value.code == 104010
        assert "nowhere" in caught.value.message


async def test_a_refused_append_is_repaired_for_all(hub: MemoryHub) -> None:
    words = [f"w{i} " for i in range(40)]
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        hub.faults.nack(action="append", skip=3)
        await answer(hub, session, run.to_invocation(), *words)
        async with client(hub, "carol") as carol:
            await carol.view.load_all()
            assert texts(carol.view.messages)[1] == texts(alice.view.messages)[1] == "".join(words)
        assert await run.ended == "complete"


async def test_a_run_that_waits_is_continued_by_another_process(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        async with agent(hub) as first:
            run = await alice.view.send(said("hi"))
            work = first.create_run(run.to_invocation())
            await work.start()
            await work.pipe(stream(reply("wait")))
            await work.suspend()
        await hub.settle()
        assert run.status == "suspended"
        more = await alice.view.send(said("go on"), run_id=run.run_id)
        async with agent(hub) as second:
            await answer(hub, second, more.to_invocation(), "done")
        assert await run.ended == "complete"
        assert run.run_id == more.run_id


async def test_a_step_that_is_tried_again_replaces_what_it_said(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            async with work.create_step(step_id="plan") as step:
                await step.pipe(stream(reply("wrong")))
                await step.end("failed")
            async with work.create_step() as step:
                assert step.step_id == "plan"
                await step.pipe(stream(reply("right")))
        await hub.settle()
        assert texts(alice.view.messages) == ["hi", "right"]
        (info,) = alice.view.runs()
        assert [(s.step_id, s.status, s.attempt_count) for s in info.steps] == [("plan", "complete", 2)]
