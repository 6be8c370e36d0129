"""Reconnects: after a cut, the session continues, and each message arrives exactly once."""

import asyncio

import anyio
import pytest
from ably_ai_transport_haip import HaipConnectionError
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.server import HaipServerOptions, HaipServerSession

from tests.support.haip_stand import TRANSPORTS, Inbox, parrot, standing


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    return request.param


async def test_a_stream_survives_cuts(transport: TransportName) -> None:
    number, cuts = 300, 8

    async def count(session: HaipServerSession) -> None:
        async for message in session.messages():
            if message.type == "MESSAGE_END":
                for n in range(number):
                    await session.send_text_message("AGENT", f"{n} ")

    async with standing(count) as stand, stand.client(transport, through_proxy=True) as client:
        inbox = Inbox(client)
        await client.send_text_message("USER", "count")
        for cut in range(1, cuts + 1):
            await inbox.until(cut * number // (cuts + 1), "MESSAGE_PART")
            stand.proxy.cut()
            await inbox.until_up(cut)
        await inbox.until(number, "MESSAGE_END")
        assert inbox.text() == "".join(f"{n} " for n in range(number))
        assert stand.proxy.connections >= cuts + 1


async def test_what_the_client_says_survives_cuts(transport: TransportName) -> None:
    heard: list[str] = []
    done = asyncio.Event()
    number = 200

    async def listen(session: HaipServerSession) -> None:
        async for message in session.messages():
            if message.type == "MESSAGE_PART":
                heard.append(str(message.payload["text"]))
                if len(heard) % 40 == 0:
                    stand.proxy.cut()
                if len(heard) == number:
                    done.set()

    async with standing(listen) as stand, stand.client(transport, through_proxy=True) as client:
        async with asyncio.TaskGroup() as tasks:
            for n in range(number):
                tasks.create_task(client.send_text_message("USER", str(n)))
        with anyio.fail_after(20):
            await done.wait()
    assert heard == [str(n) for n in range(number)]


async def test_who_sends_while_there_is_no_connection_waits(transport: TransportName) -> None:
    async with standing(parrot) as stand, stand.client(transport, through_proxy=True) as client:
        inbox = Inbox(client)
        stand.proxy.refuses = True
        stand.proxy.cut()
        await inbox.until_down()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(client.send_text_message("USER", "later"))
            await asyncio.sleep(0)
            stand.proxy.refuses = False
        await inbox.until(1, "MESSAGE_PART")
        assert inbox.text() == "later"
        assert client.get_connection_state().reconnect_attempts == 0


async def test_a_client_gives_up_in_the_end(transport: TransportName) -> None:
    async with standing(parrot) as stand:
        client = stand.client(transport, through_proxy=True, max_reconnect_attempts=2)
        async with client:
            inbox = Inbox(client)
            stand.proxy.refuses = True
            stand.proxy.cut()
            await inbox.until_down()
            with pytest.raises(HaipConnectionError):
                await client.send_text_message("USER", "never")
            assert any(isinstance(error, HaipConnectionError) for error in inbox.errors)


async def test_a_session_that_is_gone_begins_anew(transport: TransportName) -> None:
    sessions: list[HaipServerSession] = []
    ended = asyncio.Event()

    async def note(session: HaipServerSession) -> None:
        sessions.append(session)
        await parrot(session)
        ended.set()

    options = HaipServerOptions(session_ttl=0.0)
    async with (
        standing(note, options=options) as stand,
        stand.client(transport, through_proxy=True) as client,
    ):
        inbox = Inbox(client)
        await client.send_text_message("USER", "one")
        await inbox.until(1, "MESSAGE_END")
        stand.proxy.refuses = True
        stand.proxy.cut()
        await inbox.until_down()
        with anyio.fail_after(10):
            await ended.wait()
        stand.proxy.refuses = False
        await client.send_text_message("USER", "two")
        await inbox.until(2, "MESSAGE_END")
        assert inbox.text() == "onetwo"
        assert "RESUME_FAILED" in [error.payload["code"] for error in inbox.of("ERROR")]
        assert len(sessions) == 2


async def test_a_server_that_says_nothing_any_more_is_given_up_and_found_again(
    transport: TransportName,
) -> None:
    async with (
        standing(parrot) as stand,
        stand.client(transport, through_proxy=True, heartbeat_interval=0.05, connect_timeout=0.5) as client,
    ):
        inbox = Inbox(client)
        stand.proxy.is_silent = True
        await inbox.until_down()
        stand.proxy.is_silent = False
        await client.send_text_message("USER", "anybody there?")
        await inbox.until(1, "MESSAGE_END")
        assert inbox.text() == "anybody there?"
