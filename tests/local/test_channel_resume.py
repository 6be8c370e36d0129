"""A channel resumed by channelSerial: continuity, backlog, and resumes that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ably_ai_transport.local import LocalServer
from ably_ai_transport.local.protocol.frames import Action, Flag
from tests.local.raw_client import RawClient, WireFormat, raw_client

if TYPE_CHECKING:
    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import Frame


async def resume(client: RawClient, serial: str) -> tuple[Frame, list[Frame]]:
    attached = await client.attach("c", channelSerial=serial)
    return attached, [f for f in await client.settled() if f["action"] in (Action.MESSAGE, Action.PRESENCE)]


def shown(frames: list[Frame]) -> list[tuple[int, str]]:
    return [(m["action"], m["data"]) for frame in frames for m in frame["messages"]]


async def test_what_was_missed_follows_a_resume(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server) as publisher, raw_client(server, format_=wire_format) as subscriber:
        head = (await subscriber.attach("c"))["channelSerial"]
        await subscriber.send({"action": Action.DETACH, "channel": "c"})
        await subscriber.settled()
        await publisher.publish("c", {"data": "1"}, {"data": "2"})
        await publisher.publish("c", {"data": "3"})
        attached, frames = await resume(subscriber, head)
        assert attached["flags"] & Flag.RESUMED
        assert attached["flags"] & Flag.HAS_BACKLOG
        assert attached["channelSerial"] == head
        assert "error" not in attached
        assert [len(f["messages"]) for f in frames] == [2, 1]
        assert shown(frames) == [(0, "1"), (0, "2"), (0, "3")]
        await publisher.publish("c", {"data": "live"})
        assert [m["data"] for m in await subscriber.messages()] == ["live"]


async def test_a_resume_with_nothing_missed_has_no_backlog(server: LocalServer) -> None:
    async with raw_client(server) as client:
        head = (await client.attach("c"))["channelSerial"]
        attached, frames = await resume(client, head)
    assert attached["flags"] & Flag.RESUMED
    assert not attached["flags"] & Flag.HAS_BACKLOG
    assert frames == []


async def test_every_frame_carries_the_serial_to_resume_from(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server) as subscriber:
        await subscriber.attach("c")
        for number in range(4):
            await publisher.publish("c", {"data": str(number)})
        frames = await subscriber.settled()
        _, missed = await resume(subscriber, frames[1]["channelSerial"])
    assert shown(missed) == [(0, "2"), (0, "3")]


async def test_backlog_has_each_message_once_in_its_latest_version(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server) as subscriber:
        old = await publisher.publish("c", {"data": "old"})
        head = (await subscriber.attach("c"))["channelSerial"]
        await subscriber.send({"action": Action.DETACH, "channel": "c"})
        await subscriber.settled()
        await publisher.append("c", old, "1")
        fresh = await publisher.publish("c", {"data": "fresh"})
        await publisher.append("c", old, "2")
        await publisher.append("c", fresh, "1")
        await publisher.publish("c", {"data": "plain"})
        _, frames = await resume(subscriber, head)
        assert shown(frames) == [(1, "old12"), (1, "fresh1"), (0, "plain")]
        serials = [frame["channelSerial"] for frame in frames]
        assert serials == sorted(serials)
        await publisher.append("c", old, "3")
        await publisher.append("c", fresh, "2")
        live = await subscriber.messages()
    assert [(m["action"], m["data"]) for m in live] == [(5, "3"), (5, "2")], "deltas continue"


async def test_an_interrupted_backlog_can_be_resumed_in_the_middle(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server) as subscriber:
        head = (await subscriber.attach("c"))["channelSerial"]
        await subscriber.send({"action": Action.DETACH, "channel": "c"})
        await subscriber.settled()
        first = await publisher.publish("c", {"data": "1"})
        await publisher.publish("c", {"data": "2"})
        await publisher.append("c", first, "+")
        _, frames = await resume(subscriber, head)
        _, again = await resume(subscriber, frames[0]["channelSerial"])
    assert shown(again) == [(0, "2"), (1, "1+")]


async def test_a_trimmed_channel_refuses_the_resume(server: LocalServer) -> None:
    async with raw_client(server) as client:
        head = (await client.attach("c"))["channelSerial"]
        await client.publish("c", {"data": "x"})
        await client.settled()
        server.faults.trim("c")
        attached, frames = await resume(client, head)
        assert not attached["flags"] & Flag.RESUMED
        assert attached["error"]["code"] == 90003
        assert attached["channelSerial"] > head
        assert frames == []
        await client.post("c", {"data": "live"})
        assert [m["data"] for m in await client.messages()] == ["live"]
        attached, _ = await resume(client, attached["channelSerial"])
        assert attached["flags"] & Flag.RESUMED


async def test_backlog_is_retained_for_a_while(timed_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(timed_server) as client:
        head = (await client.attach("c"))["channelSerial"]
        await client.publish("c", {"data": "x"})
        clock.advance(timed_server.options.retention_ms)
        await client.settled()
        attached, frames = await resume(client, head)
        assert attached["flags"] & Flag.RESUMED
        assert shown(frames) == [(0, "x")]
        clock.advance(1)
        attached, _ = await resume(client, head)
        assert not attached["flags"] & Flag.RESUMED
        assert attached["error"]["code"] == 90003


async def test_serials_of_another_server_are_not_resumed(server: LocalServer) -> None:
    async with raw_client(server) as client:
        async with LocalServer() as other, raw_client(other) as stranger:
            foreign = (await stranger.attach("c"))["channelSerial"]
        for serial in (foreign, "nonsense", "99999999999999-000@x"):
            attached, _ = await resume(client, serial)
            assert not attached["flags"] & Flag.RESUMED
            assert attached["error"]["code"] == 90003


async def test_a_long_history_does_not_lose_its_backlog(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server) as subscriber:
        head = (await subscriber.attach("c"))["channelSerial"]
        await subscriber.send({"action": Action.DETACH, "channel": "c"})
        await subscriber.settled()
        for number in range(1500):
            await publisher.post("c", {"data": str(number)})
        await publisher.settled()
        _, frames = await resume(subscriber, head)
    assert [m["data"] for f in frames for m in f["messages"]] == [str(number) for number in range(1500)]
