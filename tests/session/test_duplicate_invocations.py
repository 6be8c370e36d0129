"""An invocation that arrives twice, here or in another process, is served once."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIAgentRun, UIAgentSession, UIClientSession

from ably_ai_transport import AgentSession, AITransportError, ClientSession, DuplicateInvocationError
from ably_ai_transport.channel import ChannelClient
from ably_ai_transport.local import LocalServer
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.testing.memory.log import ChannelLog, Publisher
from ably_ai_transport.wire import InboundMessage, MessageAction, OutboundMessage, names
from ably_ai_transport.wire.headers import build_run_headers
from ably_ai_transport.wire.messages import ai_extras
from tests.session.stage import CODEC, NAME, client, reply, said, stream, texts


async def attempt(run: UIAgentRun, failed: list[DuplicateInvocationError]) -> None:
    try:
        async with run:
            await run.pipe(stream(reply("done")))
    except DuplicateInvocationError as error:
        failed.append(error)


def names_on(hub: MemoryHub) -> list[str | None]:
    return [message.name for message in hub.messages(NAME)]


@asynccontextmanager
async def agents(
    *clients: ChannelClient, told: list[AITransportError] | None = None
) -> AsyncGenerator[Sequence[UIAgentSession]]:
    async with AsyncExitStack() as stack:
        sessions = [await stack.enter_async_context(AgentSession(one, NAME, codec=CODEC)) for one in clients]
        for session in sessions:
            session.on_error(lambda error: None if told is None else told.append(error))
        yield sessions


@pytest.mark.parametrize("same_session", [False, True])
async def test_two_starts_at_the_same_time_make_one_run(same_session: bool) -> None:
    hub = MemoryHub()
    failed: list[DuplicateInvocationError] = []
    told: list[AITransportError] = []
    with anyio.fail_after(20):
        async with (
            client(hub) as alice,
            agents(hub.client("agent"), hub.client("agent"), told=told) as (one, two),
        ):
            asked = await alice.view.send(said("hi"))
            invocation = asked.to_invocation()
            runs = [session.create_run(invocation) for session in (one, one if same_session else two)]
            async with anyio.create_task_group() as tasks:
                for run in runs:
                    tasks.start_soon(attempt, run, failed)
            await hub.settle()
            assert runs[0].run_id == runs[1].run_id
            [error] = failed
            assert error.run_id == runs[0].run_id
            assert [info.status for info in alice.view.runs()] == ["complete"]
            assert texts(alice.view.messages) == ["hi", "done"]
            assert names_on(hub).count(names.RUN_START) == names_on(hub).count(names.RUN_END) == 1
            assert told == []


async def test_two_starts_among_trusted_agents_make_one_run() -> None:
    """Their starts have different message ids, so the channel takes both: the earlier one counts."""
    hub = MemoryHub()
    failed: list[DuplicateInvocationError] = []
    with anyio.fail_after(20):
        async with (
            ClientSession(hub.client("alice"), NAME, codec=CODEC, trusted_agents={"agent"}) as alice,
            AgentSession(hub.client("agent"), NAME, codec=CODEC, trusted_agents={"agent"}) as one,
            AgentSession(hub.client("agent"), NAME, codec=CODEC, trusted_agents={"agent"}) as two,
        ):
            invocation = (await alice.view.send(said("hi"))).to_invocation()
            async with anyio.create_task_group() as tasks:
                for session in (one, two):
                    tasks.start_soon(attempt, session.create_run(invocation), failed)
            await hub.settle()
            assert len(failed) == 1
            assert [info.status for info in alice.view.runs()] == ["complete"]
            assert texts(alice.view.messages) == ["hi", "done"]
            assert names_on(hub).count(names.RUN_END) == 1


async def test_a_stranger_cannot_use_the_id_of_a_start_before_a_trusted_agent_does() -> None:
    hub = MemoryHub()
    failed: list[DuplicateInvocationError] = []
    with anyio.fail_after(20):
        async with (
            ClientSession(hub.client("alice"), NAME, codec=CODEC, trusted_agents={"agent"}) as alice,
            AgentSession(hub.client("agent"), NAME, codec=CODEC, trusted_agents={"agent"}) as agent,
        ):
            alice.on_error(lambda _: None)
            agent.on_error(lambda _: None)
            asked = await alice.view.send(said("hi"))
            run = agent.create_run(asked.to_invocation())
            mallory = hub.client("mallory").open_channel(NAME)
            await mallory.attach()
            headers = build_run_headers(run_id=run.run_id, run_client_id="alice", invocation_id="forged")
            for id_ in (f"{run.run_id}:open", f"{run.run_id}/guess:open"):
                await mallory.publish([OutboundMessage(names.RUN_START, extras=ai_extras(headers), id=id_)])
            await attempt(run, failed)
            await hub.settle()
            assert failed == []
            assert texts(alice.view.messages) == ["hi", "done"]
            mallory.release()


@pytest.mark.parametrize("resumes", [False, True])
async def test_a_channel_that_takes_both_starts(resumes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server knows the id of a message for some minutes only: the earlier start counts, and goes on."""

    def publish_anyway(
        log: ChannelLog, messages: Sequence[OutboundMessage], publisher: Publisher
    ) -> list[str | None]:
        serials = publish(log, messages, publisher)
        vars(log)["_by_id"].clear()
        return serials

    publish = ChannelLog.publish
    monkeypatch.setattr(ChannelLog, "publish", publish_anyway)
    hub = MemoryHub()
    failed: list[DuplicateInvocationError] = []
    told: list[AITransportError] = []
    with anyio.fail_after(20):
        async with (
            client(hub) as alice,
            agents(hub.client("agent"), hub.client("agent"), told=told) as (one, two),
        ):
            asked = await alice.view.send(said("hi"))
            if resumes:
                run = one.create_run(asked.to_invocation())
                await run.start()
                await run.suspend()
                asked = await alice.view.send(said("yes"), run_id=run.run_id)
            runs = [session.create_run(asked.to_invocation()) for session in (one, two)]
            async with anyio.create_task_group() as tasks:
                for run in runs:
                    tasks.start_soon(attempt, run, failed)
            await hub.settle()
            assert len(failed) == 1
            assert names_on(hub).count(names.RUN_RESUME if resumes else names.RUN_START) == 2
            assert names_on(hub).count(names.RUN_END) == 1
            assert [info.status for info in alice.view.runs()] == ["complete"]
            assert told == []


async def test_a_start_after_the_first_one_publishes_nothing() -> None:
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with client(hub) as alice, agents(hub.client("agent"), hub.client("agent")) as (one, two):
            asked = await alice.view.send(said("hi"))
            run = one.create_run(asked.to_invocation())
            async with run:
                await run.pipe(stream(reply("done")))
            published = len(hub.messages(NAME))
            for session in (one, two):
                with pytest.raises(DuplicateInvocationError, match="serves the input already") as caught:
                    await session.create_run(asked.to_invocation()).start()
                assert caught.value.run_id == run.run_id
            assert len(hub.messages(NAME)) == published


async def test_the_second_process_is_cancelled_while_it_starts() -> None:
    """It must not end the run, which has the same id and is the first process's."""
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with client(hub) as alice, agents(hub.client("agent"), hub.client("agent")) as (one, two):
            asked = await alice.view.send(said("hi"))
            run = one.create_run(asked.to_invocation())
            late = two.create_run(asked.to_invocation())
            hub.faults.hold_deliveries()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run.start)
                await hub.settle()
                async with anyio.create_task_group() as second:
                    second.start_soon(late.start)
                    await hub.settle()
                    second.cancel_scope.cancel()
                hub.faults.release_deliveries()
            await hub.settle()
            assert run.is_open
            assert late.phase == "closed"
            await run.end()
            assert await asked.ended == "complete"


async def test_an_answer_that_arrives_twice_resumes_once() -> None:
    hub = MemoryHub()
    failed: list[DuplicateInvocationError] = []
    with anyio.fail_after(20):
        async with client(hub) as alice, agents(hub.client("agent"), hub.client("agent")) as (one, two):
            asked = await alice.view.send(said("hi"))
            run = one.create_run(asked.to_invocation())
            await run.start()
            await run.suspend()
            answer = await alice.view.send(said("yes"), run_id=run.run_id)
            runs = [session.create_run(answer.to_invocation()) for session in (one, two)]
            async with anyio.create_task_group() as tasks:
                for resumed in runs:
                    tasks.start_soon(attempt, resumed, failed)
            await hub.settle()
            assert [error.run_id for error in failed] == [run.run_id]
            assert names_on(hub).count(names.RUN_RESUME) == 1
            assert [info.status for info in alice.view.runs()] == ["complete"]
            with pytest.raises(DuplicateInvocationError):
                await two.create_run(answer.to_invocation()).start()


async def test_the_same_invocation_id_is_the_same_invocation() -> None:
    """A worker that is tried again under its own id goes on."""
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with client(hub) as alice, agents(hub.client("agent"), hub.client("agent")) as (one, two):
            asked = await alice.view.send(said("hi"))
            await one.create_run(asked.to_invocation(), invocation_id="try").start()
            await one.detach()
            again = two.create_run(asked.to_invocation(), invocation_id="try")
            async with again:
                await again.pipe(stream(reply("done")))
            assert await asked.ended == "complete"


async def test_an_application_may_answer_again_on_purpose() -> None:
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with client(hub) as alice, agents(hub.client("agent"), hub.client("critic")) as (one, critic):
            asked = await alice.view.send(said("hi"))
            for session, run_id in ((one, None), (one, "once more"), (critic, None)):
                async with session.create_run(asked.to_invocation(), run_id=run_id) as run:
                    await run.pipe(stream(reply(run.run_id)))
            await hub.settle()
            [node] = [one for one in alice.tree.nodes if one.kind == "input"]
            assert node.key == asked.input_codec_message_id
            assert names_on(hub).count(names.RUN_START) == 3
            # Another agent of the same process, and regenerations, have their own events.
            message = alice.view.messages[-1]
            for _ in range(2):
                asked = await alice.view.regenerate(message.codec_message_id)
                async with one.create_run(asked.to_invocation()) as run:
                    await run.pipe(stream(reply("anew")))


async def test_a_run_can_be_taken_over_by_the_id_that_the_error_names() -> None:
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with client(hub) as alice, agents(hub.client("agent"), hub.client("agent")) as (one, two):
            asked = await alice.view.send(said("hi"))
            await one.create_run(asked.to_invocation()).start()
            await one.detach()
            with pytest.raises(DuplicateInvocationError) as caught:
                await two.create_run(asked.to_invocation()).start()
            async with two.adopt_run(asked.to_invocation(), run_id=caught.value.run_id) as run:
                await run.pipe(stream(reply("done")))
            assert await asked.ended == "complete"


async def test_a_run_that_an_agent_in_javascript_has_started_counts() -> None:
    """Its id is made up, and so is the id of its message."""
    hub = MemoryHub()
    with anyio.fail_after(20):
        async with client(hub) as alice, agents(hub.client("agent")) as (one,):
            asked = await alice.view.send(said("hi"))
            await hub.settle()
            headers = build_run_headers(
                run_id="made-up",
                run_client_id="alice",
                invocation_id="theirs",
                parent=asked.input_codec_message_id,
                input_codec_message_id=asked.input_codec_message_id,
            )
            hub.inject(
                NAME,
                InboundMessage(
                    action=MessageAction.CREATE,
                    name=names.RUN_START,
                    serial="99999999999999-000@x:000",
                    version="99999999999999-000@x:000",
                    timestamp=1,
                    client_id="agent",
                    id="connection:1:0",
                    extras=ai_extras(headers),
                ),
            )
            await hub.settle()
            with pytest.raises(DuplicateInvocationError, match="made-up"):
                await one.create_run(asked.to_invocation()).start()


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
async def test_two_processes_over_ably(binary: bool) -> None:
    failed: list[DuplicateInvocationError] = []
    with anyio.fail_after(20):
        async with LocalServer() as server, AsyncExitStack() as stack:

            def connect(client_id: str) -> AblyRealtime:
                realtime = AblyRealtime(
                    **server.python_options(client_id=client_id, use_binary_protocol=binary)
                )
                stack.push_async_callback(realtime.close)
                return realtime

            alice: UIClientSession = await stack.enter_async_context(
                ClientSession(connect("alice"), NAME, codec=CODEC)
            )
            one, two = await stack.enter_async_context(agents(connect("agent"), connect("agent")))
            for _ in range(3):
                asked = await alice.view.send(said("hi"))
                runs = [session.create_run(asked.to_invocation()) for session in (one, two)]
                async with anyio.create_task_group() as tasks:
                    for run in runs:
                        tasks.start_soon(attempt, run, failed)
                assert await asked.ended == "complete"
            assert len(failed) == 3
            assert [info.status for info in alice.view.runs()] == ["complete"] * 3
            assert texts(alice.view.messages) == ["hi", "done"] * 3


async def test_three_processes_take_turns_over_ably() -> None:
    at_work: list[str] = []
    with anyio.fail_after(30):
        async with LocalServer() as server, AsyncExitStack() as stack:

            def connect(client_id: str) -> AblyRealtime:
                realtime = AblyRealtime(**server.python_options(client_id=client_id))
                stack.push_async_callback(realtime.close)
                return realtime

            alice: UIClientSession = await stack.enter_async_context(
                ClientSession(connect("alice"), NAME, codec=CODEC)
            )
            sessions: list[UIAgentSession] = [
                await stack.enter_async_context(
                    AgentSession(connect("agent"), NAME, codec=CODEC, concurrency="queue")
                )
                for _ in range(3)
            ]

            async def serve(session: UIAgentSession, run: UIAgentRun) -> None:
                async with run:
                    at_work.append(run.run_id)
                    assert len(at_work) == 1
                    await run.pipe(stream(reply("done")))
                    at_work.remove(run.run_id)

            asked = [await alice.view.send(said(f"question {number}")) for number in range(6)]
            async with anyio.create_task_group() as tasks:
                for number, one in enumerate(asked):
                    session = sessions[number % 3]
                    tasks.start_soon(serve, session, session.create_run(one.to_invocation()))
            assert [await one.ended for one in asked] == ["complete"] * 6
