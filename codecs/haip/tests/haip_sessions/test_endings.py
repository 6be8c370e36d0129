"""The ends of sessions and of runs: together, once, and without anything left."""

import asyncio

import anyio
import pytest
from ably_ai_transport_haip import HaipError, HaipMessage, HaipProtocolError
from ably_ai_transport_haip.protocol import HaipEnvelope, HaipEventType, new_id
from ably_ai_transport_haip.server import HaipServerOptions, HaipServerSession, Principal
from ably_ai_transport_haip.server.registry import SessionRegistry

from tests.support.haip_stand import Inbox, parrot, standing


async def test_sessions_that_ended_are_swept_together() -> None:
    number = 40
    ended: list[str] = []
    tasks: list[int] = []
    all_ended = asyncio.Event()

    async def stubborn(session: HaipServerSession) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(session.session_id)
            tasks.append(len(asyncio.all_tasks()))
            if len(ended) == number:
                all_ended.set()

    options = HaipServerOptions(session_ttl=0.0, close_timeout=0.5)
    now = [0.0]
    registry = SessionRegistry(stubborn, options, (), lambda: now[0])
    sessions = [registry.enter(Principal("alice"), new_id()) for _ in range(number)]
    await asyncio.sleep(0)
    now[0] = 1.0
    before = len(asyncio.all_tasks())
    sweeper = asyncio.create_task(registry.sweep())
    # One after the other, they would take 20 seconds.
    with anyio.fail_after(10):
        await all_ended.wait()
    # One task waits for all of them.
    assert max(tasks) == before + 1
    sweeper.cancel()
    await asyncio.wait([sweeper])
    assert sorted(ended) == sorted(session.session_id for session in sessions)


async def test_a_session_that_is_ending_cannot_be_entered() -> None:
    sessions: list[HaipServerSession] = []
    ending = asyncio.Event()

    async def linger(session: HaipServerSession) -> None:
        sessions.append(session)
        await parrot(session)
        if len(sessions) == 1:
            ending.set()
            await anyio.sleep_forever()

    options = HaipServerOptions(session_ttl=0.0, close_timeout=5.0)
    async with standing(linger, options=options) as stand, stand.client(through_proxy=True) as client:
        inbox = Inbox(client)
        await client.send_text_message("USER", "one")
        await inbox.until(1, "MESSAGE_END")
        stand.proxy.refuses = True
        stand.proxy.cut()
        await inbox.until_down()
        with anyio.fail_after(10):
            await ending.wait()
        stand.proxy.refuses = False
        await client.send_text_message("USER", "two")
        await inbox.until(2, "MESSAGE_END")
        assert inbox.text() == "onetwo"
        assert len(sessions) == 2
        assert len(stand.server) == 1


async def test_a_run_that_cannot_be_announced_takes_no_place() -> None:
    async with standing(parrot) as stand:
        client = stand.client(max_concurrent_runs=1)
        async with client:
            with pytest.raises(HaipProtocolError, match="thread_id must be"):
                await client.start_run("t" * 129)
            assert client.get_active_runs() == []
            await client.finish_run(await client.start_run())
        with pytest.raises(HaipError):
            await client.start_run()
        assert client.get_active_runs() == []


async def test_a_run_of_the_server_that_the_client_refuses_takes_no_place() -> None:
    sessions: list[HaipServerSession] = []

    async def start(session: HaipServerSession) -> None:
        sessions.append(session)
        for _ in range(2):
            await session.start_run()
        async for message in session.messages():
            if message.type == "ERROR":
                await session.send_text_message("AGENT", f"{len(session.get_active_runs())} open")

    async with standing(start) as stand, stand.client(max_concurrent_runs=1) as client:
        inbox = Inbox(client)
        await inbox.until(1, "MESSAGE_END")
        assert inbox.text() == "1 open"


async def test_an_error_about_another_message_ends_no_run() -> None:
    async with standing(parrot) as stand, stand.client() as client:
        inbox = Inbox(client)
        run_id = await client.start_run()
        bad = HaipMessage(HaipEventType.TOOL_CALL, {"call_id": new_id(), "tool": "none"}, HaipEnvelope())
        await client.call_tool("AGENT", "none", run_id=run_id)
        await client.send_message(bad)
        await client.send_text_message("USER", "still here", run_id=run_id)
        await inbox.until(1, "MESSAGE_END")
        assert [run.id for run in client.get_active_runs()] == [run_id]
