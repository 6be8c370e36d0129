from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ably_ai_transport.local.protocol.frames import Action
from tests.local.raw_client import RawClient, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock


async def is_cut(client: RawClient) -> bool:
    try:
        await client.settled()
    except ConnectionClosed:
        return True
    return False


async def test_drop_cuts_without_a_closing_handshake(server: LocalServer) -> None:
    async with raw_client(server, conn="a") as client:
        server.faults.drop()
        with pytest.raises(ConnectionClosed):
            await client.receive()
        assert client.socket.close_code == 1006


@pytest.mark.parametrize("name", ["label", "client", "id"])
async def test_a_connection_is_named_by_label_client_or_id(server: LocalServer, name: str) -> None:
    async with raw_client(server, "client", conn="label") as meant, raw_client(server, "other") as other:
        server.faults.drop(meant.id if name == "id" else name)
        assert await is_cut(meant)
        assert not await is_cut(other)


async def test_disconnected_is_polite(server: LocalServer) -> None:
    async with raw_client(server) as client:
        server.faults.disconnected(code=80003, status=503)
        frame = await client.receive()
        assert frame["action"] == Action.DISCONNECTED
        assert (frame["error"]["code"], frame["error"]["statusCode"]) == (80003, 503)
        with pytest.raises(ConnectionClosed):
            await client.receive()
        assert client.socket.close_code == 1000
    async with raw_client(server, resume=client.key) as again:
        assert again.id == client.id


async def test_error_fails_the_connection_for_good(server: LocalServer) -> None:
    async with raw_client(server) as client:
        server.faults.error(code=40101)
        frame = await client.receive()
        assert (frame["action"], frame["error"]["code"]) == (Action.ERROR, 40101)
        assert "channel" not in frame
    async with raw_client(server, resume=client.key) as again:
        assert again.id != client.id


async def test_detach_is_unasked(server: LocalServer) -> None:
    async with raw_client(server) as client, raw_client(server) as publisher:
        await client.attach("c")
        await client.attach("other")
        server.faults.detach("c", 90198)
        frame = await client.receive()
        assert (frame["action"], frame["channel"], frame["error"]["code"]) == (13, "c", 90198)
        await publisher.publish("c", {"data": "x"})
        assert await client.settled() == []


async def test_refuse_connections(server: LocalServer) -> None:
    server.faults.refuse_connections()
    with pytest.raises(InvalidStatus) as caught:
        async with raw_client(server):
            pass
    assert caught.value.response.status_code == 503
    server.faults.refuse_connections(on=False)
    async with raw_client(server) as client:
        assert client.connected["action"] == Action.CONNECTED


async def test_nack_skips_counts_and_chooses(server: LocalServer) -> None:
    async with raw_client(server) as client:
        server.faults.nack("c", action="append", skip=1, count=2, code=50001, status=503, message="no")
        serial = await client.publish("c", {"data": ""})
        append = {"action": 5, "serial": serial, "data": "x"}
        other = await client.publish("d", {"data": ""})
        await client.append("d", other, "x")
        await client.publish("c", append)
        error = await client.refused("c", append)
        assert (error["code"], error["statusCode"], error["message"]) == (50001, 503, "no")
        await client.publish("c", {"data": "creates pass"})
        await client.refused("c", append)
        await client.publish("c", append)
        await client.attach("c", params={"rewind": "2"})
        assert (await client.messages())[0]["data"] == "xx", "what was refused is not applied"


async def test_cut_before_ack_takes_the_publish(server: LocalServer) -> None:
    async with raw_client(server) as watcher:
        await watcher.attach("c")
        async with raw_client(server) as client:
            server.faults.cut_before_ack("c", skip=1)
            await client.publish("c", {"data": "1"})
            await client.post("c", {"data": "2"})
            with pytest.raises(ConnectionClosed):
                await client.answer()
        assert [m["data"] for m in await watcher.messages()] == ["1", "2"]


async def test_delay_keeps_the_order(timed_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(timed_server) as publisher, raw_client(timed_server) as subscriber:
        await subscriber.attach("c")
        timed_server.faults.delay(2)
        await publisher.publish("c", {"data": "1"})
        clock.advance(1000)
        timed_server.faults.delay(0)
        await publisher.publish("c", {"data": "2"})
        assert await subscriber.messages() == []
        clock.advance(1000)
        assert [m["data"] for m in await subscriber.messages()] == ["1", "2"]
        await publisher.publish("c", {"data": "3"})
        assert [m["data"] for m in await subscriber.messages()] == ["3"]


async def test_faults_last_over_a_reconnection(timed_server: LocalServer, clock: ManualClock) -> None:
    timed_server.faults.delay(1)
    timed_server.faults.hold_acks()
    async with raw_client(timed_server) as client:
        await client.attach("c")
        await client.post("c", {"data": "x"})
        assert await client.settled() == []
        clock.advance(1000)
        assert [m["data"] for m in await client.messages()] == ["x"]
        timed_server.faults.reset()
        assert (await client.answer())["msgSerial"] == 0


async def test_a_black_hole_stays_open_and_loses_everything(server: LocalServer) -> None:
    async with raw_client(server, conn="a") as client, raw_client(server, "b") as other:
        attached = await client.attach("c")
        server.faults.black_hole("a")
        await other.publish("c", {"data": "to the client"})
        await client.post("c", {"data": "from the client"})
        pong = asyncio.ensure_future(await client.socket.ping())
        await other.attach("c", params={"rewind": "9"})
        assert [message["data"] for message in await other.messages()] == ["to the client"]
        assert not pong.done()
        async with raw_client(server, resume=client.key) as resumed:
            assert resumed.id == client.id
            await resumed.attach("c", channelSerial=attached["channelSerial"])
            assert [message["data"] for message in await resumed.messages()] == ["to the client"]
        assert await is_cut(client)
