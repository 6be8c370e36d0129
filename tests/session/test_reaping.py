"""Agents that announce their runs, and runs whose agents are lost."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from ably_ai_transport_vercel import UIAgentRun, UIAgentSession, UIClientSession

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    ErrorCode,
    InvalidArgumentError,
    Invocation,
    RunInfo,
)
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from tests.session.stage import CODEC, NAME, agent, client, reply, said, stream


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


def announcing(hub: MemoryHub, client_id: str | None = "agent") -> UIAgentSession:
    return AgentSession(hub.client(client_id), NAME, codec=CODEC, announce_runs=True)


async def begin(session: UIAgentSession, alice: UIClientSession) -> UIAgentRun:
    """Start a run that stays open."""
    await session.connect()
    asked = await alice.view.send(said("hi"))
    run = session.create_run(asked.to_invocation())
    await run.start()
    return run


async def die(hub: MemoryHub, session: UIAgentSession) -> None:
    """Let an agent go as if its process had ended: its runs stay open, and its member leaves."""
    await session.detach()
    await hub.settle()


@asynccontextmanager
async def reaping(session: UIClientSession, **options: object) -> AsyncGenerator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: session.reap(**options))  # type: ignore[arg-type]
        await session.follow_agents()
        yield
        tasks.cancel_scope.cancel()


async def until(session: UIClientSession, condition: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        async for _ in session.view.updates():
            if condition():
                return


def info_of(session: UIClientSession, run_id: str) -> RunInfo:
    info = session.view.run(run_id)
    assert info is not None
    return info


def statuses(session: UIClientSession) -> list[str]:
    return [info.status for info in session.view.runs()]


# Announcing


async def test_the_runs_of_an_agent_are_listed_as_long_as_it_works_on_them(hub: MemoryHub) -> None:
    async with client(hub) as alice, announcing(hub) as session:
        await alice.follow_agents()

        async def listed() -> list[object]:
            await hub.settle()
            return [member.data for member in await alice.presence.get()]

        assert await listed() == [{"ai": {"role": "agent", "runs": []}}]
        first = await begin(session, alice)
        second = await begin(session, alice)
        both = sorted([first.run_id, second.run_id])
        assert await listed() == [{"ai": {"role": "agent", "runs": both}}]
        await hub.settle()
        assert [info.agent_present for info in alice.view.runs()] == [True, True]
        await first.suspend()
        assert await listed() == [{"ai": {"role": "agent", "runs": [second.run_id]}}]
        await second.end()
        assert await listed() == [{"ai": {"role": "agent", "runs": []}}]
        assert [info.agent_present for info in alice.view.runs()] == [None, None]
        await session.end()
        assert await listed() == []


async def test_sessions_of_one_client_are_announced_together(hub: MemoryHub) -> None:
    source = hub.client("agent")
    async with client(hub) as alice:
        sessions = [AgentSession(source, NAME, codec=CODEC, announce_runs=True) for _ in range(2)]
        first, second = [await begin(session, alice) for session in sessions]
        await alice.follow_agents()
        await hub.settle()
        assert [info.agent_present for info in alice.view.runs()] == [True, True]
        await first.end()
        await sessions[0].end()
        await hub.settle()
        assert info_of(alice, second.run_id).agent_present is True
        await sessions[1].detach()
        await hub.settle()
        assert info_of(alice, second.run_id).agent_present is False


async def test_an_anonymous_agent_cannot_announce_its_runs(hub: MemoryHub) -> None:
    session = announcing(hub, None)
    with pytest.raises(InvalidArgumentError, match="anonymous"):
        await session.connect()
    await session.end()


async def test_agents_that_say_nothing_are_neither_present_nor_gone(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        await begin(session, alice)
        await alice.follow_agents()
        await hub.settle()
        assert [info.agent_present for info in alice.view.runs()] == [None]
    starts = [m for m in hub.messages(NAME) if m.name == names.RUN_START]
    assert all(names.AGENT_ANNOUNCED not in message.transport_headers for message in starts)


async def test_a_listener_is_told_of_runs_whose_agents_are_gone(hub: MemoryHub) -> None:
    gone: list[RunInfo] = []
    async with client(hub) as alice:
        alice.on_agent_gone(gone.append)
        session = announcing(hub)
        run = await begin(session, alice)
        await hub.settle()
        assert gone == []
        await die(hub, session)
        assert [(info.run_id, info.agent_present) for info in gone] == [(run.run_id, False)]


async def test_an_announcement_that_is_refused_is_tried_again(
    hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ably_ai_transport.session.agent.announcing._RETRY_SECONDS", 0)
    async with client(hub) as alice, announcing(hub) as session:
        errors: list[str] = []
        session.on_error(lambda error: errors.append(str(error)))
        update = session.presence.update
        failures = iter([True])

        async def refusing(data: object = None) -> None:
            if next(failures, False):
                raise ConnectionError
            await update(data)

        monkeypatch.setattr(session.presence, "update", refusing)
        await begin(session, alice)
        await alice.follow_agents()
        await until(alice, lambda: bool(errors))
        await hub.settle()
        assert errors == ["unable to announce runs; ConnectionError (code 104001)"]
        assert [info.agent_present for info in alice.view.runs()] == [True]


# Reaping


async def test_a_run_whose_agent_is_lost_is_ended_for_everybody(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob:
        session = announcing(hub)
        run = await begin(session, alice)
        await run.pipe(stream(reply("half a ")[:4]))
        async with reaping(bob, grace=0):
            await hub.settle()
            assert statuses(alice) == ["active"]
            await die(hub, session)
            await until(alice, lambda: statuses(alice) == ["error"])
        [info] = alice.view.runs()
        assert info.error is not None
        assert info.error.code == ErrorCode.AGENT_LOST


async def test_a_reaper_that_comes_later_ends_it_too(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        session = announcing(hub)
        run = await begin(session, alice)
        await die(hub, session)
        async with client(hub, "janitor", history_page_size=1) as janitor:
            ended = await janitor.reap_once()
            assert [(info.run_id, info.status) for info in ended] == [(run.run_id, "error")]
            assert await janitor.reap_once() == []
        await hub.settle()
        assert statuses(alice) == ["error"]


async def test_many_reapers_publish_one_end(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob, client(hub, "carol") as carol:
        session = announcing(hub)
        await begin(session, alice)
        async with reaping(bob, grace=0), reaping(carol, grace=0):
            await die(hub, session)
            await until(alice, lambda: statuses(alice) == ["error"])
        await hub.settle()
        assert sum(message.name == names.RUN_END for message in hub.messages(NAME)) == 1


async def test_an_agent_that_comes_back_in_time_keeps_its_run(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob:
        lost = announcing(hub)
        run = await begin(lost, alice)
        asked = alice.view.messages[0].codec_message_id
        event = next(
            m for m in hub.messages(NAME) if m.transport_headers.get(names.CODEC_MESSAGE_ID) == asked
        )
        async with reaping(bob, grace=60), announcing(hub, "other") as other:
            await die(hub, lost)
            assert bob.view.runs() == [] or statuses(bob) == ["active"]
            invocation = Invocation(input_event_id=event.transport_headers[names.EVENT_ID], session_name=NAME)
            async with other.adopt_run(invocation, run_id=run.run_id, invocation_id="second") as adopted:
                await adopted.pipe(stream(reply("all of it")))
        await hub.settle()
        assert statuses(alice) == ["complete"]


@pytest.mark.parametrize("is_coroutine", [False, True])
async def test_a_policy_decides(hub: MemoryHub, is_coroutine: bool) -> None:
    asked: list[str] = []

    def policy(info: RunInfo) -> str:
        asked.append(info.run_id)
        return "keep" if info.run_id == first.run_id else "end"

    async def policy_later(info: RunInfo) -> str:
        return policy(info)

    async with client(hub) as alice, client(hub, "bob") as bob:
        session = announcing(hub)
        first = await begin(session, alice)
        second = await begin(session, alice)
        async with reaping(bob, grace=0, policy=policy_later if is_coroutine else policy):
            await die(hub, session)
            await until(alice, lambda: info_of(alice, second.run_id).status == "error")
        assert info_of(alice, first.run_id).status == "active"
        assert sorted(asked) == sorted([first.run_id, second.run_id])


async def test_an_end_that_is_refused_is_reported_and_tried_again(
    hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ably_ai_transport.session.reaping._RETRY_SECONDS", 0)
    errors: list[AITransportError] = []
    async with client(hub) as alice, client(hub, "bob") as bob:
        bob.on_error(errors.append)
        session = announcing(hub)
        run = await begin(session, alice)
        async with reaping(bob, grace=0):
            hub.faults.nack(count=2)
            await die(hub, session)
            await until(alice, lambda: statuses(alice) == ["error"])
        ours = [str(error) for error in errors if error.code == ErrorCode.RUN_LIFECYCLE_ERROR]
        assert len(ours) == 2
        assert all(run.run_id in text for text in ours)


@pytest.mark.parametrize("silent_for", [59, 61])
async def test_a_silent_run_of_an_agent_that_announces_nothing(
    hub: MemoryHub, monkeypatch: pytest.MonkeyPatch, silent_for: int
) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob, agent(hub) as session:
        session.on_error(lambda _: None)
        run = await begin(session, alice)
        await run.pipe(stream(reply("a ", "b ")[:5]))
        await hub.settle()
        heard = info_of(alice, run.run_id).last_heard_at
        assert heard is not None
        monkeypatch.setattr("ably_ai_transport.session.reaping._now_ms", lambda: heard + silent_for * 1000)
        assert await bob.reap_once() == []
        ended = await bob.reap_once(max_silence=60)
        assert [info.run_id for info in ended] == ([run.run_id] if silent_for > 60 else [])


async def test_history_is_read_no_further_back_than_asked(
    hub: MemoryHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(hub) as alice:
        session = announcing(hub)
        await begin(session, alice)
        await die(hub, session)
        await alice.view.send(said("is anybody there?"))
        newest = hub.messages(NAME)[-1].timestamp
        assert newest is not None
        await alice.close()
        async with client(hub, "bob", history_page_size=1) as bob:
            monkeypatch.setattr("ably_ai_transport.session.reaping._now_ms", lambda: newest + 3_600_000)
            assert await bob.reap_once(look_back=60) == []
            assert len(await bob.reap_once(look_back=7200)) == 1


async def test_an_agent_does_not_reap_its_own_runs(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await begin(session, alice)
        await hub.settle()
        assert await session.reap_once(max_silence=0) == []
        with pytest.raises(InvalidArgumentError, match="works on"):
            await session.end_run(run.run_id)
        assert statuses(alice) == ["active"]


@pytest.mark.parametrize(
    "options", [{"grace": -1}, {"max_silence": -0.5}, {"policy": "keep"}, {"look_back": "1 day"}]
)
async def test_options_out_of_bounds_are_refused(hub: MemoryHub, options: dict[str, object]) -> None:
    async with client(hub) as alice:
        with pytest.raises(InvalidArgumentError):
            await alice.reap(**options)  # type: ignore[arg-type]


async def test_a_reaper_ends_with_its_session(hub: MemoryHub) -> None:
    async with anyio.create_task_group() as tasks, client(hub) as alice:
        tasks.start_soon(alice.reap)
        await alice.follow_agents()
        await hub.settle()


async def test_while_its_own_channel_is_away_a_reaper_ends_nothing(hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob:
        bob.on_error(lambda _: None)
        session = announcing(hub)
        await begin(session, alice)
        async with reaping(bob, grace=0):
            await hub.settle()
            hub.faults.suspend(client_id="bob")
            await hub.settle()
            await die(hub, session)
            assert statuses(alice) == ["active"]
            hub.faults.reattach(client_id="bob", resumed=False)
            await until(alice, lambda: statuses(alice) == ["error"])
