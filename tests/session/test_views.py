"""Tests of views: messages, events, and loading history."""

import anyio
import pytest
from ably_ai_transport_vercel import UIAgentSession, UIClientSession

from ably_ai_transport import AITransportError
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import NAME, agent, answer, client, reply, said, stream, texts


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


async def turns(hub: MemoryHub, alice: UIClientSession, session: UIAgentSession, count: int) -> None:
    for i in range(count):
        run = await alice.view.send(said(f"q{i}"))
        await answer(hub, session, run.to_invocation(), f"a{i}")


ALL = [text for i in range(6) for text in (f"q{i}", f"a{i}")]


@pytest.mark.parametrize("page_size", [1, 3, 7, 100])
async def test_going_back_reveals_exactly_what_is_asked_for(hub: MemoryHub, page_size: int) -> None:
    async with client(hub) as alice, agent(hub) as session:
        await turns(hub, alice, session, 6)
    async with client(hub, "bob", history_page_size=page_size) as late:
        assert texts(late.view.messages) == []
        shown: list[str] = []
        for limit in (1, 2, 4, 3):
            older = texts(await late.view.load_older(limit))
            assert len(older) == limit
            shown = older + shown
            assert texts(late.view.messages) == shown == ALL[-len(shown) :]
        assert late.view.has_older
        await late.view.load_older(100)
        assert texts(late.view.messages) == ALL
        assert not late.view.has_older
        assert await late.view.load_older() == []


async def test_going_back_to_what_is_stored(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        await turns(hub, alice, session, 6)
        stored = alice.view.messages[7]
    async with client(hub, "bob") as bob:
        tail = await bob.view.load_until(lambda m: m.codec_message_id == stored.codec_message_id)
        assert texts(tail) == texts(bob.view.messages) == ALL[8:]
        assert bob.view.has_older
        assert texts(await bob.view.load_older(1)) == [ALL[7]]


async def test_a_seam_that_is_not_there_brings_everything(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        await turns(hub, alice, session, 6)
    async with client(hub, "bob") as bob:
        assert texts(await bob.view.load_until(lambda _: False)) == ALL


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_that_is_none(hub: MemoryHub, limit: int) -> None:
    async with client(hub) as alice:
        with pytest.raises(AITransportError) as caught:
            await alice.view.load_older(limit)
        assert caught.value.code == 40003


async def test_updates_are_conflated_and_end_with_the_view(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        seen: list[list[str]] = []
        ended = anyio.Event()

        async def follow() -> None:
            async for messages in alice.view.updates():
                seen.append(texts(messages))  # noqa: PERF401 - what was seen so far counts
            ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await hub.settle()
            run = await alice.view.send(said("hi"))
            await answer(hub, session, run.to_invocation(), *[f"{i} " for i in range(300)])
            await hub.settle()
            alice.view.close()
            with anyio.fail_after(5):
                await ended.wait()
        whole = "".join(f"{i} " for i in range(300))
        assert seen[0] == []
        assert seen[-1] == ["hi", whole]
        assert len(seen) < 100
        replies = [state[1] for state in seen if len(state) > 1]
        assert all(whole.startswith(text) for text in replies)


async def test_updates_tell_when_a_run_has_ended(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session, anyio.create_task_group() as tasks:
        run = await alice.view.send(said("hi"))
        tasks.start_soon(answer, hub, session, run.to_invocation(), "fine")
        with anyio.fail_after(5):
            async for messages in alice.view.updates():
                if run.ended.is_settled:
                    assert texts(messages) == ["hi", "fine"]
                    break


async def test_what_was_given_out_does_not_change(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        before = alice.view.messages
        await answer(hub, session, run.to_invocation(), "fine")
        assert texts(before) == ["hi"]
        middle = alice.view.messages
        await answer(hub, session, (await alice.view.send(said("more"))).to_invocation(), "good")
        assert texts(middle) == ["hi", "fine"]
        assert [a.message is b.message for a, b in zip(middle, alice.view.messages, strict=False)] == [
            True,
            True,
        ]


async def test_an_edit_and_the_way_back(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob, agent(hub) as session:
        await turns(hub, alice, session, 2)
        question = alice.view.messages[2].codec_message_id
        run = await alice.view.edit(question, said("better"))
        assert texts(alice.view.messages) == ["q0", "a0", "better"]
        await answer(hub, session, run.to_invocation(), "good")
        assert texts(alice.view.messages) == ["q0", "a0", "better", "good"]
        assert texts(bob.view.messages) == ["q0", "a0", "q1", "a1"]
        handle = alice.view.branch_selection(run.input_codec_message_id)
        assert (handle.has_siblings, handle.index, len(handle.siblings)) == (True, 1, 2)
        handle.select(0)
        assert texts(alice.view.messages) == ["q0", "a0", "q1", "a1"]
        bob.view.branch_selection(question).select(5)
        assert texts(bob.view.messages) == ["q0", "a0", "better", "good"]


async def test_a_regeneration(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        await turns(hub, alice, session, 1)
        run = await alice.view.regenerate(alice.view.messages[1].codec_message_id)
        assert texts(alice.view.messages) == ["q0", "a0"]
        async with session.create_run(run.to_invocation()) as work:
            assert texts(await work.view.load_all()) == ["q0"]
            await work.pipe(stream(reply("other")))
        await hub.settle()
        assert texts(alice.view.messages) == ["q0", "other"]
        handle = alice.view.branch_selection(alice.view.messages[1].codec_message_id)
        assert handle.index == 1
        handle.select(0)
        assert texts(alice.view.messages) == ["q0", "a0"]


async def test_views_choose_for_themselves(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        await turns(hub, alice, session, 1)
        other = alice.create_view()
        run = await alice.view.regenerate(alice.view.messages[1].codec_message_id)
        await answer(hub, session, run.to_invocation(), "other")
        other.branch_selection(other.messages[1].codec_message_id).select(0)
        assert texts(other.messages) == ["q0", "a0"]
        assert texts(alice.view.messages) == ["q0", "other"]
        other.close()
        with pytest.raises(AITransportError) as caught:
            await other.send(said("late"))
        assert caught.value.code == 104004


async def test_steering(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            passes: list[list[str]] = []
            steer = None
            while work.has_input():
                passes.append(texts(work.view.messages))
                await work.pipe(stream(reply(f"pass {len(passes)}")))
                if steer is None:
                    await hub.settle()
                    steer = run.steer(said("shorter"))
                    assert await steer.published is not None
        await hub.settle()
        assert steer is not None
        outcome = await steer.outcome
        assert (outcome.consumed, outcome.run_terminal_reason) == (True, "complete")
        assert passes == [["hi"], ["hi", "pass 1", "shorter"]]
        assert texts(alice.view.messages) == ["hi", "pass 1", "shorter", "pass 2"]


async def test_a_run_that_is_taken_over_ends_with_the_steering_message_that_waits(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session, agent(hub) as other:
        asked = await alice.view.send(said("hi"))
        first = session.create_run(asked.to_invocation())
        await first.start()
        second = other.adopt_run(asked.to_invocation(), run_id=first.run_id, invocation_id="second")
        await hub.settle()
        await asked.steer(said("shorter")).published
        await first.pipe(stream(reply("pass 1")))
        await hub.settle()
        assert texts(second.view.messages) == ["hi", "shorter", "pass 1"]
        updated: list[list[str]] = []
        second.view.on_update(lambda: updated.append(texts(second.view.messages)))
        await second.load()
        assert texts(second.view.messages) == texts(first.view.messages) == ["hi", "pass 1", "shorter"]
        assert updated == [["hi", "pass 1", "shorter"]]
        assert second.has_input()
        await second.end()


async def test_editing_and_regenerating_take_the_role_and_the_run_that_is_superseded(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        await turns(hub, alice, session, 1)
        question, answer_id = (message.codec_message_id for message in alice.view.messages)
        run_id = alice.view.runs()[0].run_id
        await alice.view.regenerate(answer_id, role="assistant", supersedes=run_id)
        await alice.view.edit(question, said("better"), supersedes=run_id)
        await hub.settle()
        sent = [m.transport_headers for m in hub.messages(NAME) if m.name == "ai-input"][-2:]
        assert [(headers["role"], headers["supersedes"]) for headers in sent] == [
            ("assistant", run_id),
            ("user", run_id),
        ]


async def test_a_view_that_moved_to_another_branch_hears_nothing_more_of_the_old_one(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        await turns(hub, alice, session, 1)
        question = alice.view.messages[0].codec_message_id
        edit = await alice.view.edit(question, said("better"))
        heard: list[str] = []
        alice.view.on_run(lambda event: heard.append(event.type))
        run = session.create_run(edit.to_invocation())
        await run.start()
        await hub.settle()
        assert heard == ["start"]
        alice.view.branch_selection(edit.input_codec_message_id).select(0)
        await run.end()
        await hub.settle()
        assert heard == ["start"]
        assert await edit.ended == "complete"
