"""Clients with the habits of the reference SDK: double connections, few credits, halves of characters."""

import asyncio
import json

import anyio
import pytest
from ably_ai_transport_haip.protocol import new_id
from ably_ai_transport_haip.server import HaipServerSession
from ably_ai_transport_haip.server import session as session_module
from ably_ai_transport_haip.server.standby import MOST_IDLE
from websockets.asyncio.client import ClientConnection, connect

from tests.support.haip_reference import Json, ReferenceClient
from tests.support.haip_stand import Stand, parrot, standing, token


def reference_client(
    stand: Stand, *, credits_: int = 100_000, through_proxy: bool = False
) -> ReferenceClient:
    port = stand.proxy.port if through_proxy else stand.port
    return ReferenceClient(f"ws://127.0.0.1:{port}/?token={token()}", credits_)


async def test_every_text_arrives_once_although_the_client_connects_twice_after_each_loss() -> None:
    cuts, step = 20, 40
    over = asyncio.Event()
    sent: list[str] = []

    async def count(session: HaipServerSession) -> None:
        while not over.is_set():
            sent.append(f"{len(sent)} ")
            await session.send_text_message("AGENT", sent[-1])
            # About as fast as a model.
            await asyncio.sleep(0.002)
        await session.send_text_message("AGENT", "over")
        await parrot(session)

    async with standing(count) as stand, reference_client(stand, through_proxy=True).running() as client:
        for cut in range(cuts):
            await client.until((cut + 1) * step, "TEXT_MESSAGE_END")
            before = client.connections
            stand.proxy.cut()
            await client.until_connected(before + 1 + cut % 2)
        over.set()
        with anyio.fail_after(20):
            while not client.text.endswith("over"):
                await client.until(len(client.of("TEXT_MESSAGE_END")) + 1, "TEXT_MESSAGE_END")
        assert client.text == "".join(sent) + "over"
        # Only the cuts closed connections.
        assert set(client.closed) == {1006}


async def test_a_second_connection_leaves_the_first_one_open() -> None:
    async with standing(parrot) as stand, reference_client(stand, through_proxy=True).running() as client:
        stand.proxy.cut()
        await client.until_connected(3)
        await client.say("anybody there?")
        await client.until(1, "TEXT_MESSAGE_END")
        assert client.open_connections == 2
        assert client.closed == [1006]


async def test_an_idle_client_with_few_credits_keeps_answering() -> None:
    async def ping(session: HaipServerSession) -> None:
        for _ in range(100):
            session.ping()
        await parrot(session)

    async with standing(ping) as stand, reference_client(stand, credits_=10).running() as client:
        await client.until(100, "PING")
        await client.send("PING", {"nonce": "last"})
        [pong] = await client.until(1, "PONG")
        assert pong["payload"] == {"nonce": "last"}
        assert client.queued == 0


async def test_a_client_with_few_credits_shakes_hands_again_and_again() -> None:
    async with (
        standing(parrot) as stand,
        reference_client(stand, credits_=10, through_proxy=True).running() as client,
    ):
        for _ in range(15):
            handshakes = len(client.of("HAI"))
            stand.proxy.cut()
            await client.until(handshakes + 1, "HAI")


async def test_characters_that_were_cut_in_half_are_read_whole() -> None:
    heard: list[str] = []
    done = asyncio.Event()

    async def listen(session: HaipServerSession) -> None:
        async for message in session.messages():
            heard.append(str(message.payload.get("text", "")))
            if message.type == "MESSAGE_END":
                done.set()

    text = "x" + "😀" * 1700
    async with standing(listen) as stand, reference_client(stand).running() as client:
        await client.say(text)
        with anyio.fail_after(10):
            await done.wait()
    assert "".join(heard) == text
    assert len(heard) == 6
    for part in heard:
        part.encode()


async def test_an_echo_of_a_half_is_sent_whole() -> None:
    async with standing(parrot) as stand, reference_client(stand).running() as client:
        await client.send("PING", {"nonce": "half \ud83d"})
        [pong] = await client.until(1, "PONG")
        assert pong["payload"] == {"nonce": "half \ufffd"}


# Raw connections


def hai(session: str, last_received: str | None = None, **more: object) -> str:
    payload: Json = {
        "haip_version": "1.1.2",
        "accept_major": [1],
        "accept_events": [
            "HAI",
            "PING",
            "PONG",
            "TEXT_MESSAGE_START",
            "TEXT_MESSAGE_PART",
            "TEXT_MESSAGE_END",
        ],
        "capabilities": {"flow_control": {"initial_credit_messages": 1000}},
        **({} if last_received is None else {"last_rx_seq": last_received}),
        **more,
    }
    return frame("HAI", payload, session)


def frame(kind: str, payload: Json, session: str) -> str:
    flat = {"id": new_id(), "session": session, "seq": "1795000000000", "ts": "1", "channel": "SYSTEM"}
    return json.dumps({**flat, "type": kind, "payload": payload})


async def heard(socket: ClientConnection, kind: str) -> Json:
    """Read up to the next message of a type; return it."""
    with anyio.fail_after(10):
        while (message := json.loads(await socket.recv()))["type"] != kind:
            pass
    return message


async def test_a_connection_that_stalls_is_replaced_and_its_frames_are_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "HANDOVER_SECONDS", 0.05)
    sessions: list[HaipServerSession] = []

    async def note(session: HaipServerSession) -> None:
        sessions.append(session)
        await parrot(session)

    async with standing(note) as stand:
        address = f"ws://127.0.0.1:{stand.port}/?token={token()}"
        async with connect(address, proxy=None) as first, connect(address, proxy=None) as second:
            session = new_id()
            await first.send(hai(session))
            greeting = await heard(first, "HAI")
            await sessions[0].send_text_message("AGENT", "one")
            # The second connection begins before the first one has read the text. Nobody answers the ping.
            await second.send(hai(session, greeting["seq"]))
            assert (await heard(second, "HAI"))["ack"] == greeting["seq"]
            assert (await heard(second, "TEXT_MESSAGE_PART"))["payload"]["text"] == "one"
            await sessions[0].send_text_message("AGENT", "two")
            assert (await heard(second, "TEXT_MESSAGE_PART"))["payload"]["text"] == "two"
            assert (await heard(first, "TEXT_MESSAGE_PART"))["payload"]["text"] == "one"
            assert first.close_code is None


async def test_a_connection_that_has_delivered_its_frames_is_not_repeated() -> None:
    sessions: list[HaipServerSession] = []

    async def note(session: HaipServerSession) -> None:
        sessions.append(session)
        await parrot(session)

    async with standing(note) as stand:
        address = f"ws://127.0.0.1:{stand.port}/?token={token()}"
        async with connect(address, proxy=None) as first, connect(address, proxy=None) as second:
            session = new_id()
            await first.send(hai(session))
            greeting = await heard(first, "HAI")
            await sessions[0].send_text_message("AGENT", "one")
            await second.send(hai(session, greeting["seq"]))
            ping = await heard(first, "PING")
            await sessions[0].send_text_message("AGENT", "two")
            await second.send(frame("PONG", ping["payload"], session))
            assert (await heard(second, "HAI"))["ack"] == ping["seq"]
            assert (await heard(second, "TEXT_MESSAGE_PART"))["payload"]["text"] == "two"


async def test_only_so_many_connections_of_a_session_stay_open() -> None:
    async with standing(parrot) as stand:
        address = f"ws://127.0.0.1:{stand.port}/?token={token()}"
        session = new_id()
        sockets: list[ClientConnection] = []
        try:
            for _ in range(MOST_IDLE + 2):
                sockets.append(await connect(address, proxy=None))
                await sockets[-1].send(hai(session))
                if len(sockets) > 1:
                    ping = await heard(sockets[-2], "PING")
                    await sockets[-1].send(frame("PONG", ping["payload"], session))
                await heard(sockets[-1], "HAI")
            with anyio.fail_after(10):
                await sockets[0].wait_closed()
            assert [socket.close_code for socket in sockets[1:]] == [None] * (MOST_IDLE + 1)
        finally:
            for socket in sockets:
                await socket.close()
