"""Occupancy metrics, over a channel and over REST."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action, Flag, MessageAction, PresenceAction
from tests.local.raw_client import RawClient, raw_client

if TYPE_CHECKING:
    import httpx

    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import WireFormat

ALL = {"occupancy": "metrics"}


async def metrics(client: RawClient) -> list[dict[str, int]]:
    """Return the metrics that have arrived, oldest first."""
    told: list[dict[str, int]] = []
    for message in await client.messages():
        assert message["name"] == "[meta]occupancy"
        assert message["action"] == MessageAction.META
        assert message["encoding"] == "json"
        told.append(json.loads(message["data"])["metrics"])
    return told


async def enter(client: RawClient, action: PresenceAction, **fields: object) -> None:
    event = {"action": action, **fields}
    await client.send(
        {"action": Action.PRESENCE, "channel": "c", "msgSerial": client.next_serial, "presence": [event]}
    )
    client.next_serial += 1
    await client.answer()


async def test_a_client_that_asks_gets_the_metrics(
    timed_server: LocalServer, clock: ManualClock, wire_format: WireFormat
) -> None:
    async with raw_client(timed_server, "alice", format_=wire_format) as alice:
        attached = await alice.attach("c", params=ALL)
        assert attached["params"] == ALL
        [first] = await metrics(alice)
        assert first == {
            "connections": 1,
            "publishers": 1,
            "subscribers": 1,
            "presenceConnections": 1,
            "presenceMembers": 0,
            "presenceSubscribers": 1,
            "objectPublishers": 0,
            "objectSubscribers": 0,
        }
        clock.advance(1000)
        token = timed_server.token("bob", capability={"c": ["subscribe"]})
        async with raw_client(timed_server, credentials=False, access_token=token) as bob:
            await bob.attach("c")
            [second] = await metrics(alice)
            changed = {"connections": 2, "subscribers": 2, "presenceSubscribers": 2}
            assert second == {**first, **changed}
            clock.advance(1000)
            await bob.send({"action": Action.DETACH, "channel": "c"})
            await bob.until(Action.DETACHED)
            assert await metrics(alice) == [first]
            clock.advance(1000)
            await bob.attach("c")
            assert await metrics(alice) == [second]
            clock.advance(1000)
            assert await bob.messages() == [], "who does not ask gets none"
        await enter(alice, PresenceAction.ENTER, data="x")
        told = await metrics(alice)
        clock.advance(1000)
        told += await metrics(alice)
        assert told[-1] == {**first, "presenceMembers": 1}


async def test_changes_of_a_second_come_together(timed_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(timed_server, "alice") as alice, raw_client(timed_server, "bob") as bob:
        await alice.attach("c", params={"occupancy": "metrics.presenceMembers"})
        assert await metrics(alice) == [{"presenceMembers": 0}]
        clock.advance(1000)
        for number in range(50):
            await enter(bob, PresenceAction.ENTER if number % 2 == 0 else PresenceAction.LEAVE)
        await enter(bob, PresenceAction.ENTER)
        assert await metrics(alice) == [{"presenceMembers": 1}]
        await enter(bob, PresenceAction.LEAVE)
        assert await metrics(alice) == []
        clock.advance(1000)
        assert await metrics(alice) == [{"presenceMembers": 0}]
        clock.advance(5000)
        assert await metrics(alice) == []


async def test_one_metric_comes_only_when_it_changes(timed_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(timed_server, "alice") as alice, raw_client(timed_server, "bob") as bob:
        await alice.attach("c", params={"occupancy": "metrics.publishers"})
        assert await metrics(alice) == [{"publishers": 1}]
        clock.advance(1000)
        await bob.attach("c", flags=int(Flag.SUBSCRIBE))
        clock.advance(1000)
        assert await metrics(alice) == []
        await bob.attach("c", flags=int(Flag.SUBSCRIBE | Flag.PUBLISH))
        clock.advance(1000)
        assert await metrics(alice) == [{"publishers": 2}]


async def test_a_connection_counts_once(timed_server: LocalServer, clock: ManualClock) -> None:
    async with raw_client(timed_server, "alice") as alice:
        await alice.attach("c", params=ALL)
        await alice.attach("[?rewind=1]c")
        clock.advance(1000)
        last = (await metrics(alice))[-1]
        assert (last["connections"], last["subscribers"]) == (1, 2)


async def test_metrics_are_no_part_of_the_channel(server: LocalServer, rest: httpx.AsyncClient) -> None:
    async with raw_client(server, "alice") as alice:
        await alice.attach("c", params=ALL)
        serial = (await alice.attach("c", params=ALL))["channelSerial"]
        await alice.settled()
        await alice.publish("c", {"data": "x"})
        assert [item["data"] for item in (await rest.get("/channels/c/messages")).json()] == ["x"]
        again = await alice.attach("c", channelSerial=serial)
        assert again["flags"] & Flag.RESUMED
        assert [message["data"] for message in await alice.messages() if "name" not in message][-1] == "x"


async def test_metrics_need_the_capability_for_metadata(server: LocalServer) -> None:
    token = server.token("alice", capability={"c": ["subscribe"]})
    async with raw_client(server, credentials=False, access_token=token) as alice:
        await alice.send({"action": Action.ATTACH, "channel": "c", "params": ALL})
        assert (await alice.until(Action.ERROR))["error"]["code"] == 40160
        await alice.attach("c")
        renewed = server.token("alice", capability={"c": ["subscribe", "channel-metadata"]})
        await alice.send({"action": Action.AUTH, "auth": {"accessToken": renewed}})
        await alice.until(Action.CONNECTED)
        await alice.attach("c", params=ALL)
        assert len(await metrics(alice)) == 1


async def test_a_client_that_may_not_see_metadata_any_more_gets_no_more(
    timed_server: LocalServer, clock: ManualClock
) -> None:
    token = timed_server.token("alice", capability={"c": ["subscribe", "channel-metadata"]})
    async with (
        raw_client(timed_server, credentials=False, access_token=token) as alice,
        raw_client(timed_server, "bob") as bob,
    ):
        await alice.attach("c", params=ALL)
        assert len(await metrics(alice)) == 1
        renewed = timed_server.token("alice", capability={"c": ["subscribe"]})
        await alice.send({"action": Action.AUTH, "auth": {"accessToken": renewed}})
        await alice.until(Action.CONNECTED)
        clock.advance(1000)
        await bob.attach("c")
        clock.advance(1000)
        assert await metrics(alice) == []


async def test_rest_tells_the_same(server: LocalServer, rest: httpx.AsyncClient) -> None:
    async def told() -> dict[str, int]:
        return (await rest.get("/channels/c")).json()["status"]["occupancy"]["metrics"]

    assert set((await told()).values()) == {0}
    async with raw_client(server, "alice") as alice, raw_client(server, "bob") as bob:
        await alice.attach("c", params=ALL)
        [first] = await metrics(alice)
        assert await told() == first
        await bob.attach("c", flags=int(Flag.PRESENCE))
        await enter(bob, PresenceAction.ENTER)
        now = await told()
        assert (now["presenceConnections"], now["presenceMembers"], now["subscribers"]) == (2, 1, 1)


async def test_the_end_of_a_server_leaves_no_timer() -> None:
    async with LocalServer(LocalServerOptions()) as server, raw_client(server) as client:
        await client.attach("c", params=ALL)
        assert len(await metrics(client)) == 1
