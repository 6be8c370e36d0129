from __future__ import annotations

from typing import TYPE_CHECKING

from ably_ai_transport.local.protocol.frames import Action
from tests.local.raw_client import RawClient, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import Frame


async def appends(client: RawClient, serial: str, *parts: str, **fields: object) -> list[Frame]:
    for part in parts:
        await client.post("c", {"action": 5, "serial": serial, "data": part, **fields})
    return await client.settled()


def data(frames: list[Frame]) -> list[str]:
    return [m["data"] for frame in frames for m in frame.get("messages", ())]


async def test_appends_within_the_window_become_one(rollup_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(rollup_server) as client, raw_client(rollup_server) as subscriber:
        await subscriber.attach("c")
        serial = await client.publish("c", {"data": ""})
        (first,) = await appends(client, serial, "a")
        assert first["count"] == 1, "the first after a quiet window passes at once"
        assert await appends(client, serial, "b", "c", "d") == []
        assert data(await subscriber.settled()) == ["", "a"]
        clock.advance(40)
        ack = await client.answer()
        (frame,) = await subscriber.settled()
    assert data([frame]) == ["bcd"]
    version = frame["messages"][0]["version"]["serial"]
    assert ack == {
        "action": Action.ACK,
        "msgSerial": 2,
        "count": 3,
        "res": [{"serials": [None]}, {"serials": [None]}, {"serials": [version]}],
    }


async def test_the_last_extras_and_operation_win(rollup_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(rollup_server) as client, raw_client(rollup_server) as subscriber:
        await subscriber.attach("c")
        serial = await client.publish("c", {"data": "", "extras": {"n": 0}})
        await appends(client, serial, "a")
        await appends(client, serial, "b", extras={"n": 1}, version={"description": "one"})
        await appends(client, serial, "c", extras={"n": 2}, version={"description": "two"})
        await appends(client, serial, "d")
        clock.advance(40)
        (message,) = (await subscriber.messages())[2:]
    assert message["data"] == "bcd"
    assert message["extras"] == {"n": 2}
    assert message["version"]["description"] == "two"


async def test_a_window_follows_a_window_until_it_is_quiet(
    rollup_server: LocalServer, clock: ManualClock
) -> None:
    async with raw_client(rollup_server) as client:
        serial = await client.publish("c", {"data": ""})
        await appends(client, serial, "a", "b")
        clock.advance(40)
        assert (await client.answer())["msgSerial"] == 2
        assert await appends(client, serial, "c") == [], "the next window is open"
        clock.advance(40)
        assert (await client.answer())["msgSerial"] == 3
        clock.advance(40)
        (ack,) = await appends(client, serial, "d")
        assert ack["msgSerial"] == 4


async def test_anything_else_flushes_first(rollup_server: LocalServer) -> None:
    async with raw_client(rollup_server) as client:
        await client.attach("c")
        serial = await client.publish("c", {"data": ""})
        await appends(client, serial, "a", "b", "c")
        await client.post("c", {"data": "next"})
        frames = await client.settled()
        assert data(frames) == ["bc", "next"]
        acks = [(f["msgSerial"], f["count"]) for f in frames if f["action"] == Action.ACK]
        assert acks == [(2, 2), (4, 1)]
        await appends(client, serial, "d", "e")
        await client.send({"action": Action.DETACH, "channel": "c"})
        assert data(await client.settled()) == ["e"]


async def test_streams_roll_up_apart_and_acks_stay_in_order(
    rollup_server: LocalServer, clock: ManualClock
) -> None:
    async with raw_client(rollup_server) as client:
        one = await client.publish("c", {"data": ""})
        two = await client.publish("c", {"data": ""})
        await appends(client, one, "1a")
        await appends(client, two, "2a")
        clock.advance(20)
        await appends(client, one, "1b")
        await appends(client, two, "2b")
        await appends(client, one, "1c")
        clock.advance(20)
        answered: list[int] = []
        while len(answered) < 3:
            ack = await client.answer()
            answered += range(ack["msgSerial"], ack["msgSerial"] + ack["count"])
        assert answered == [4, 5, 6]
        await client.attach("c", params={"rewind": "2"})
        assert data(await client.settled()) == ["1a1b1c", "2a2b"]


async def test_a_lost_transport_flushes(rollup_server: LocalServer) -> None:
    async with raw_client(rollup_server, "alice") as client:
        serial = await client.publish("c", {"data": ""})
        await appends(client, serial, "a", "b", "c")
        await client.cut()
    async with raw_client(rollup_server, "alice", resume=client.key) as resumed:
        resumed.next_serial = 2
        await resumed.post("c", {"action": 5, "serial": serial, "data": "b"})
        await resumed.post("c", {"action": 5, "serial": serial, "data": "c"})
        first, last = await resumed.answer(), await resumed.answer()
        assert first["res"] == [{"serials": [None]}]
        assert last["res"][0]["serials"][0] > serial
        await resumed.attach("c", params={"rewind": "1"})
        assert data(await resumed.settled()) == ["abc"]


async def test_a_bad_append_is_refused_at_its_turn(rollup_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(rollup_server) as client:
        serial = await client.publish("c", {"data": ""})
        await appends(client, serial, "a", "b")
        await client.post("c", {"action": 5, "serial": "unknown", "data": "x"})
        assert await client.settled() == []
        clock.advance(40)
        assert (await client.answer())["action"] == Action.ACK
        refused = await client.answer()
    assert (refused["action"], refused["msgSerial"]) == (Action.NACK, 3)


async def test_a_client_chooses_its_window(server: LocalServer, rollup_server: LocalServer) -> None:
    async with raw_client(rollup_server, appendRollupWindow="0") as client:
        serial = await client.publish("c", {"data": ""})
        assert len(await appends(client, serial, "a", "b")) == 2
    async with raw_client(server, appendRollupWindow="500") as client:
        serial = await client.publish("c", {"data": ""})
        assert len(await appends(client, serial, "a", "b")) == 1
        await client.send({"action": Action.CLOSE})
        assert (await client.answer())["msgSerial"] == 2


async def test_binary_and_text_are_not_merged(rollup_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(rollup_server, format_="msgpack") as client:
        await client.attach("c")
        serial = await client.publish("c", {"data": b""})
        for part in (b"\x01", b"\x02", b"\x03"):
            await client.post("c", {"action": 5, "serial": serial, "data": part})
        await client.post("c", {"action": 5, "serial": serial, "data": "text"})
        await client.settled()
        clock.advance(40)
        refused = await client.until(Action.NACK)
        assert refused["msgSerial"] == 4
        assert [m["data"] for m in await client.messages()] == [b"\x02\x03"]


async def test_a_cut_before_the_ack_of_merged_appends_ends_their_window(
    rollup_server: LocalServer, clock: ManualClock
) -> None:
    async with raw_client(rollup_server) as subscriber:
        await subscriber.attach("c")
        async with raw_client(rollup_server) as client:
            serial = await client.publish("c", {"data": ""})
            await appends(client, serial, "a")
            await appends(client, serial, "b", "c")
            rollup_server.faults.cut_before_ack("c", action="append")
            clock.advance(40)
            await client.closed()
        assert data(await subscriber.settled()) == ["", "a", "bc"]
        clock.advance(40)
        async with raw_client(rollup_server, resume=client.key) as again:
            assert again.id == client.id
            await again.send(
                {
                    "action": 15,
                    "channel": "c",
                    "msgSerial": 2,
                    "messages": [{"action": 5, "serial": serial, "data": "b"}],
                }
            )
            answer = await again.answer()
            assert (answer["action"], answer["msgSerial"]) == (Action.ACK, 2), "a retry gets the first result"
        assert await subscriber.settled() == []
