from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ably_ai_transport.local.protocol.frames import DEFAULT_MODES, Action, Flag
from tests.local.raw_client import WireFormat, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock


async def test_attached_carries_serial_and_modes(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server, format_=wire_format) as client:
        attached = await client.attach("c", params={"agent": "tests/1"})
    assert attached == {
        "action": 11,
        "channel": "c",
        "channelSerial": attached["channelSerial"],
        "flags": 3080192,
    }
    assert attached["channelSerial"]
    assert DEFAULT_MODES == 3080192


async def test_a_plain_attach_starts_at_the_head(server: LocalServer) -> None:
    async with raw_client(server) as client:
        serial = await client.publish("c", {"data": "before"})
        attached = await client.attach("c")
        assert await client.messages() == []
        assert serial.startswith(attached["channelSerial"])
        await client.post("c", {"data": "after"})
        assert [m["data"] for m in await client.messages()] == ["after"]


async def test_modes_can_be_asked_for_by_flags_or_params(server: LocalServer) -> None:
    async with raw_client(server) as client:
        attached = await client.attach("c", flags=int(Flag.PUBLISH))
        assert attached["flags"] == Flag.PUBLISH
        await client.publish("c", {"data": "x"})
        assert await client.messages() == [], "no SUBSCRIBE, no delivery"
        attached = await client.attach("c", params={"modes": "subscribe,presence"})
        assert attached["flags"] == Flag.SUBSCRIBE | Flag.PRESENCE
        assert attached["params"] == {"modes": "subscribe,presence"}
        assert (await client.refused("c", {"data": "x"}))["code"] == 40165


async def test_detach_is_answered_and_ends_delivery(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("c")
        await client.send({"action": Action.DETACH, "channel": "c"})
        assert await client.receive() == {"action": Action.DETACHED, "channel": "c"}
        await client.publish("c", {"data": "x"})
        assert await client.messages() == []


async def test_attaching_again_renews_the_attachment(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("c", flags=int(Flag.PUBLISH))
        await client.attach("c")
        await client.post("c", {"data": "x"})
        assert [m["data"] for m in await client.messages()] == ["x"], "once, not twice"


async def test_publishing_needs_no_attachment(server: LocalServer) -> None:
    async with raw_client(server) as client, raw_client(server) as subscriber:
        await subscriber.attach("c")
        await client.publish("c", {"data": "x"})
        assert [m["data"] for m in await subscriber.messages()] == ["x"]


async def test_channels_are_kept_apart(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("one")
        await client.publish("two", {"data": "x"})
        assert await client.messages() == []


async def test_rewind_by_count_sends_the_latest_messages(server: LocalServer) -> None:
    async with raw_client(server) as client:
        serials = [await client.publish("c", {"data": str(number)}) for number in range(4)]
        await client.append("c", serials[2], "+")
        attached = await client.attach("c", params={"rewind": "2"})
        messages = await client.messages()
    assert attached["flags"] & Flag.HAS_BACKLOG
    assert not attached["flags"] & Flag.RESUMED
    assert attached["params"] == {"rewind": "2"}
    # The point just before the first rewound message: history until here and the rewind make the whole.
    assert serials[1].startswith(attached["channelSerial"])
    assert [(m["action"], m["data"]) for m in messages] == [(1, "2+"), (0, "3")]


async def test_rewind_by_time_goes_by_the_create_time(timed_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(timed_server) as client:
        await client.publish("c", {"data": "old"})
        clock.advance(9_000)
        await client.publish("c", {"data": "new"})
        clock.advance(1_500)
        await client.attach("c", params={"rewind": "10s"})
        assert [m["data"] for m in await client.messages()] == ["new"]
        await client.attach("c", params={"rewind": "1m"})
        assert [m["data"] for m in await client.messages()] == ["old", "new"]


async def test_rewind_of_an_empty_channel_has_no_backlog(server: LocalServer) -> None:
    async with raw_client(server) as client:
        attached = await client.attach("c", params={"rewind": "5"})
    assert not attached["flags"] & Flag.HAS_BACKLOG
    assert attached["channelSerial"]


async def test_rewind_as_a_qualifier_of_the_name(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.publish("c", {"data": "x"})
        attached = await client.attach("[?rewind=1]c")
        frame = await client.until(Action.MESSAGE)
        assert attached["params"] == {"rewind": "1"}
        assert frame["channel"] == "[?rewind=1]c"
        await client.publish("c", {"data": "live"})


async def test_rewind_is_ignored_when_resuming(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.publish("c", {"data": "x"})
        head = (await client.attach("c"))["channelSerial"]
        attached = await client.attach("c", params={"rewind": "1"}, channelSerial=head)
        assert attached["flags"] & Flag.RESUMED
        assert await client.messages() == []
        attached = await client.attach("c", params={"rewind": "1"}, flags=int(Flag.ATTACH_RESUME))
        assert await client.messages() == []


@pytest.mark.parametrize("rewind", ["x", "-1", "5h"])
async def test_an_impossible_rewind_is_refused(server: LocalServer, rewind: str) -> None:
    async with raw_client(server) as client:
        await client.send({"action": Action.ATTACH, "channel": "c", "params": {"rewind": rewind}})
        assert (await client.until(Action.ERROR))["error"]["code"] == 40003


async def test_a_rewound_subscriber_can_resume_from_what_it_has_seen(server: LocalServer) -> None:
    async with raw_client(server) as client:
        first = await client.publish("c", {"data": "1"})
        await client.publish("c", {"data": "2"})
        await client.append("c", first, "+")
        await client.attach("c", params={"rewind": "2"})
        frames = await client.settled()
        await client.attach("c", channelSerial=frames[-1]["channelSerial"])
        assert await client.messages() == [], "the rewind brought it to the head"


async def test_params_outweigh_flags(server: LocalServer) -> None:
    async with raw_client(server) as client:
        attached = await client.attach(
            "c", flags=int(Flag.PUBLISH | Flag.PRESENCE_SUBSCRIBE), params={"modes": "presence,subscribe"}
        )
    assert attached["flags"] == Flag.PRESENCE | Flag.SUBSCRIBE
