"""Sends: previews, failures, and the runs that they ask for."""

import anyio
import pytest
from ably_ai_transport_vercel import UIMessageChunk, create_tool_result_fork

from ably_ai_transport import AITransportError
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import OutboundMessage
from tests.session.stage import CODEC, NAME, agent, answer, client, reply, said, stream, texts

ASKING: list[UIMessageChunk] = [
    {"type": "start"},
    {"type": "start-step"},
    {"type": "tool-input-available", "toolCallId": "call-1", "toolName": "weather", "input": {}},
    {"type": "finish-step"},
    {"type": "finish"},
]


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


async def test_a_send_that_is_cancelled_is_not_awaited_and_shown_only_if_it_arrived(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        hub.faults.hold_deliveries()
        hub.faults.hold_acks()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alice.view.send, said("hi"))
            await anyio.wait_all_tasks_blocked()
            assert texts(alice.view.messages) == ["hi"]
            tasks.cancel_scope.cancel()
        assert alice.view.messages == []
        hub.faults.release_acks()
        hub.faults.release_deliveries()
        await hub.settle()
        assert texts(alice.view.messages) == ["hi"]


async def test_everybody_who_waits_for_an_input_learns_of_its_run(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        first = await alice.view.send(said("hi"))
        asked = session.create_run(first.to_invocation())
        async with asked:
            await asked.pipe(stream(ASKING))
            await asked.suspend()
        await hub.settle()
        reply_id = alice.view.messages[-1].codec_message_id
        answers = [
            await alice.view.send(
                CODEC.create_tool_result(reply_id, {"toolCallId": "call-1", "output": degrees}),
                run_id=asked.run_id,
            )
            for degrees in (20, 21)
        ]
        assert [run.input_codec_message_id for run in answers] == [reply_id, reply_id]
        await answer(hub, session, answers[0].to_invocation(), "sunny")
        for run in (first, *answers):
            assert await run.ended == "complete"
            assert run.run_id == asked.run_id


async def test_a_fork_that_cannot_be_sent_gives_the_suspended_run_back(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        first = await alice.view.send(said("how is the weather?"))
        async with session.create_run(first.to_invocation()) as asked:
            await asked.pipe(stream(ASKING))
            await asked.suspend()
        await hub.settle()
        before = alice.view.messages
        node = alice.tree.get_run_node(asked.run_id)
        assert node is not None
        fork = create_tool_result_fork(
            CODEC.get_messages(node.projection),
            parent=node.parent_codec_message_id,
            tool_call_id="call-1",
            supersedes=asked.run_id,
            output={"degrees": 21},
        )
        hub.faults.nack()
        with pytest.raises(AITransportError, match="unable to publish events"):
            await alice.view.send(fork.input, **fork.options)
        assert alice.view.messages == before
        assert [run.status for run in alice.view.runs()] == ["suspended"]

        run = await alice.view.send(fork.input, **fork.options)
        await answer(hub, session, run.to_invocation(), "21 degrees")
        assert await run.ended == "complete"
        assert texts(alice.view.messages) == ["how is the weather?", "", "21 degrees"]


async def test_going_back_is_exact_while_others_speak(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        for i in range(6):
            asked = await alice.view.send(said(f"question {i}"))
            await answer(hub, session, asked.to_invocation(), f"answer {i}")
        async with client(hub, "bob", history_page_size=5) as bob:
            assert bob.view.messages == []
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(alice.view.send, said("meanwhile"))
                await bob.view.load_older(3)
            await hub.settle()
            assert texts(bob.view.messages) == ["answer 4", "question 5", "answer 5", "meanwhile"]
            older = await bob.view.load_older(2)
            assert texts(older) == ["answer 3", "question 4"]
            assert len(bob.view.messages) == 6


JUNK: list[dict[str, object]] = [
    {"ai": {"transport": {"codec-message-id": ["no", "text"], "role": 7}, "codec": 7}},
    {
        "ai": {
            "transport": {"run-id": "r", "stream": "true", "status": "streaming"},
            "codec": {"kind": "text"},
        }
    },
    {"ai": "nothing"},
    {},
]


@pytest.mark.parametrize("name", ["ai-input", "ai-output", "ai-run-start", "ai-step-end", "other"])
async def test_history_with_junk_in_it_is_read_to_its_end(hub: MemoryHub, name: str) -> None:
    stranger = hub.client("stranger").open_channel(NAME)
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        await stranger.attach()
        for extras in JUNK:
            await stranger.publish([OutboundMessage(name, data={"a": [1]}, extras=extras)])
        await answer(hub, session, asked.to_invocation(), "hello")
        async with client(hub, "bob", history_page_size=2) as bob:
            await bob.view.load_all()
            assert [text for text in texts(bob.view.messages) if text] == ["hi", "hello"]
            assert not bob.view.has_older
    stranger.release()


async def test_answers_to_a_closed_session_are_the_closed_session(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        run = await alice.view.send(said("hi"))
    for awaited in (run.started, run.ended):
        with pytest.raises(AITransportError) as caught:
            await awaited
        assert caught.value.code == 104004
    with pytest.raises(AITransportError) as caught:
        await alice.view.send(said("late"))
    assert caught.value.code == 104004


async def test_what_is_piped_is_not_kept_from_who_joins(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            await run.pipe(stream(reply("one", " two")[:-3]))
            await hub.settle()
            async with client(hub, "bob") as bob:
                await bob.view.load_all()
                assert texts(bob.view.messages) == ["hi", "one two"]
