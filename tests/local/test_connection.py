from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action
from tests.local.raw_client import WireFormat, pack, raw_client

if TYPE_CHECKING:
    from tests.local.manual_clock import ManualClock


async def test_first_frame_is_connected_with_details(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server, "alice", format_=wire_format) as client:
        frame = client.connected
    assert frame["action"] == Action.CONNECTED
    assert frame["connectionId"]
    details = frame["connectionDetails"]
    assert details["clientId"] == "alice"
    assert details["connectionKey"].startswith(frame["connectionId"])
    assert details["maxMessageSize"] == 65536
    assert details["connectionStateTtl"] == 120_000
    assert details["maxIdleInterval"] == 15_000
    assert "error" not in frame


async def test_a_key_without_client_id_is_a_wildcard(server: LocalServer) -> None:
    async with raw_client(server) as client:
        assert client.connected["connectionDetails"]["clientId"] == "*"


async def test_a_heartbeat_is_echoed_with_its_id(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server, format_=wire_format) as client:
        await client.send({"action": Action.HEARTBEAT, "id": "ping"})
        assert await client.receive() == {"action": Action.HEARTBEAT, "id": "ping"}


async def test_an_idle_connection_gets_heartbeats(timed_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(timed_server) as client:
        assert await client.settled() == []
        clock.advance(14_999)
        assert await client.settled() == []
        # The heartbeat's echo of the line above was written at 14,999: silence counts from there.
        clock.advance(15_000)
        assert await client.receive() == {"action": Action.HEARTBEAT}


async def test_close_is_answered_and_ends_the_connection(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.send({"action": Action.CLOSE})
        assert (await client.receive())["action"] == Action.CLOSED
        assert await client.closed() == 1000
    async with raw_client(server, resume=client.key) as late:
        assert late.connected["error"]["code"] == 80008


async def test_disconnect_keeps_the_connection_for_a_resume(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.send({"action": Action.DISCONNECT})
        await client.closed()
    async with raw_client(server, resume=client.key) as late:
        assert late.id == client.id


async def test_frames_of_unknown_action_are_ignored(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.send({"action": 99})
        assert await client.settled() == []


@pytest.mark.parametrize(
    "payload",
    [
        "{",
        "[]",
        '"text"',
        "{}",
        '{"action":"x"}',
        '{"action":10,"channel":5}',
        '{"action":10,"channel":"c","params":"rewind"}',
        '{"action":10,"channel":"c","flags":"all"}',
        '{"action":10,"channel":"c","channelSerial":5}',
        '{"action":15,"channel":"c","msgSerial":"0"}',
        '{"action":17,"auth":"token"}',
        '{"action":0,"id":NaN}',
        "[" * 100_000,
        b"\xff",
    ],
)
async def test_nonsense_fails_the_connection(server: LocalServer, payload: str | bytes) -> None:
    async with raw_client(server) as client:
        await client.socket.send(payload)
        frame = await client.receive()
        assert frame["action"] == Action.ERROR
        assert frame["error"]["code"] == 40000
        await client.closed()


@pytest.mark.parametrize("payload", ["text", b"\xc1", b"\x81\x01\x02", pack({"action": 10, "channel": 5})])
async def test_nonsense_in_msgpack_fails_the_connection(server: LocalServer, payload: str | bytes) -> None:
    async with raw_client(server, format_="msgpack") as client:
        await client.socket.send(payload)
        frame = await client.receive()
        assert frame["error"]["code"] == 40000
        await client.closed()


async def test_a_slow_consumer_is_disconnected(clock: ManualClock) -> None:
    options = LocalServerOptions(limits=Limits(max_queued_frames=3))
    async with LocalServer(options, clock=clock) as server, raw_client(server) as publisher:
        async with raw_client(server, "slow") as slow:
            await slow.attach("c")
            server.faults.delay(1)
            for number in range(5):
                await publisher.publish("c", {"data": str(number)})
            # All five fall due in one step: more than the queue may hold.
            clock.advance(1000)
            frame = await slow.until(Action.DISCONNECTED)
            assert frame["error"]["code"] == 80003
            await slow.closed()
        server.faults.delay(0)
        async with raw_client(server, "slow", resume=slow.key) as resumed:
            assert resumed.id == slow.id


@pytest.mark.parametrize(
    ("asked", "given"), [("6000", 6000), ("1", 5000), ("9999999", 1_800_000), (None, 15_000)]
)
async def test_a_client_may_choose_the_heartbeat_interval(
    timed_server: LocalServer, clock: ManualClock, asked: str | None, given: int
) -> None:
    """Within the bounds that Ably documents."""
    params: Any = {} if asked is None else {"heartbeatInterval": asked}
    async with raw_client(timed_server, **params) as client:
        assert client.connected["connectionDetails"]["maxIdleInterval"] == given
        clock.advance(given)
        assert await client.receive() == {"action": Action.HEARTBEAT}


async def test_an_endpoint_with_a_port_of_its_own(server: LocalServer) -> None:
    """Version 4 of the Python SDK appends its port to the endpoint, whatever that ends with."""
    url = f"ws://{server.host}:{server.port}/:80?{urlencode({'key': server.key})}"
    async with connect(url) as socket:
        assert json.loads(await socket.recv())["action"] == Action.CONNECTED
