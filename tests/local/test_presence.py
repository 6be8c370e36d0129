from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from ably_ai_transport.local.protocol.frames import Action, Flag, PresenceAction
from tests.local.raw_client import RawClient, raw_client

if TYPE_CHECKING:
    import httpx

    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import Frame


async def announce(client: RawClient, action: PresenceAction, **fields: object) -> Frame:
    serial = client.next_serial
    client.next_serial += 1
    await client.send(
        {
            "action": Action.PRESENCE,
            "channel": "c",
            "msgSerial": serial,
            "presence": [{"action": int(action), **fields}],
        }
    )
    return await client.answer()


async def events(client: RawClient) -> list[tuple[int, str, str | None]]:
    frames = await client.settled()
    return [(e["action"], e["clientId"], e.get("data")) for f in frames for e in f.get("presence", ())]


async def test_enter_update_leave(server: LocalServer) -> None:
    async with raw_client(server, "alice") as alice, raw_client(server) as watcher:
        await watcher.attach("c")
        ack = await announce(alice, PresenceAction.ENTER, data="1")
        assert ack["res"] == [{"serials": [None]}]
        (frame,) = await watcher.settled()
        assert frame["channelSerial"]
        assert frame["presence"][0]["id"] == f"{alice.id}:0:0"
        assert frame["presence"][0]["connectionId"] == alice.id
        await announce(alice, PresenceAction.UPDATE, data="2")
        await announce(alice, PresenceAction.LEAVE)
        assert await events(watcher) == [
            (PresenceAction.UPDATE, "alice", "2"),
            (PresenceAction.LEAVE, "alice", "2"),
        ]


async def test_who_attaches_gets_the_members(server: LocalServer) -> None:
    async with raw_client(server, "alice") as alice, raw_client(server) as watcher:
        assert not (await watcher.attach("c"))["flags"] & Flag.HAS_PRESENCE
        await announce(alice, PresenceAction.ENTER, data="1")
        await watcher.settled()
        assert (await watcher.attach("c"))["flags"] & Flag.HAS_PRESENCE
        (sync,) = await watcher.settled()
    assert sync["action"] == Action.SYNC
    assert sync["channelSerial"].endswith(":")
    assert [(m["action"], m["clientId"], m["data"]) for m in sync["presence"]] == [
        (PresenceAction.PRESENT, "alice", "1")
    ]


@pytest.mark.parametrize("action", [Action.DETACH, Action.CLOSE])
async def test_members_leave_with_detach_and_close(server: LocalServer, action: Action) -> None:
    async with raw_client(server, "alice") as alice, raw_client(server) as watcher:
        await watcher.attach("c")
        await alice.attach("c")
        await announce(alice, PresenceAction.ENTER)
        await alice.send({"action": action, "channel": "c"})
        await alice.until(Action.DETACHED if action == Action.DETACH else Action.CLOSED)
        frames = await watcher.settled()
    left = frames[-1]["presence"][0]
    assert left["action"] == PresenceAction.LEAVE
    assert not left["id"].startswith(alice.id), "a leave that the client did not send"


async def test_members_outlive_a_drop_for_a_while(timed_server: LocalServer, clock: ManualClock) -> None:
    server = timed_server
    async with raw_client(server) as watcher:
        await watcher.attach("c")
        async with raw_client(server, "alice") as alice:
            await announce(alice, PresenceAction.ENTER)
            server.faults.drop("alice")
            with pytest.raises(ConnectionClosed):
                await alice.receive()
        clock.advance(server.options.presence_grace_ms - 1)
        async with raw_client(server, "alice", resume=alice.key) as back:
            clock.advance(server.options.presence_grace_ms)
            assert len(await events(watcher)) == 1
            server.faults.drop("alice")
            await back.closed()
        clock.advance(server.options.presence_grace_ms)
        assert await events(watcher) == [(PresenceAction.LEAVE, "alice", None)]


async def test_refusals(server: LocalServer) -> None:
    async with raw_client(server) as nameless:
        assert (await announce(nameless, PresenceAction.ENTER))["error"]["code"] == 91000
        assert (await announce(nameless, PresenceAction.ABSENT))["error"]["code"] == 40000
    async with raw_client(server, "alice") as alice:
        assert (await announce(alice, PresenceAction.ENTER, clientId="bob"))["error"]["code"] == 40012
        await alice.attach("c", flags=int(Flag.SUBSCRIBE))
        assert (await announce(alice, PresenceAction.ENTER))["error"]["code"] == 40165


async def test_presence_missed_is_replayed_on_resume(server: LocalServer) -> None:
    async with raw_client(server, "alice") as alice, raw_client(server) as watcher:
        head = (await watcher.attach("c"))["channelSerial"]
        await watcher.send({"action": Action.DETACH, "channel": "c"})
        await watcher.settled()
        await announce(alice, PresenceAction.ENTER)
        await watcher.attach("c", channelSerial=head)
        frames = await watcher.settled()
    assert [frame["action"] for frame in frames] == [Action.PRESENCE, Action.SYNC]


async def test_members_over_rest(server: LocalServer, rest: httpx.AsyncClient) -> None:
    async with raw_client(server, "alice") as alice:
        await announce(alice, PresenceAction.ENTER, data="here")
        members = (await rest.get("/channels/c/presence")).json()
        nobody = (await rest.get("/channels/c/presence?clientId=bob")).json()
    assert [(m["clientId"], m["data"]) for m in members] == [("alice", "here")]
    assert nobody == []


async def test_many_members_come_in_pages(server: LocalServer) -> None:
    # RTP18: pages of a sync share the part before the colon; the last has none after it.
    async with raw_client(server) as crowd, raw_client(server) as watcher:
        for start in (0, 100, 200):
            await announce_all(crowd, [f"{n:03d}" for n in range(start, min(start + 100, 230))])
        await watcher.attach("c")
        syncs = [frame for frame in await watcher.settled() if frame["action"] == Action.SYNC]
    assert [len(sync["presence"]) for sync in syncs] == [100, 100, 30]
    sequence = {sync["channelSerial"].partition(":")[0] for sync in syncs}
    assert len(sequence) == 1
    assert [sync["channelSerial"].partition(":")[2] for sync in syncs] == ["100", "200", ""]


async def announce_all(client: RawClient, names: list[str]) -> None:
    events = [{"action": PresenceAction.ENTER, "clientId": name} for name in names]
    serial = client.next_serial
    client.next_serial += 1
    await client.send({"action": Action.PRESENCE, "channel": "c", "msgSerial": serial, "presence": events})
    answer = await client.answer()
    assert answer["action"] == Action.ACK, answer


async def test_a_client_can_ask_for_the_members_again(server: LocalServer) -> None:
    async with raw_client(server, "alice") as alice, raw_client(server) as watcher:
        await watcher.attach("c")
        await announce(alice, PresenceAction.ENTER)
        await watcher.settled()
        await watcher.send({"action": Action.SYNC, "channel": "c"})
        sync = await watcher.until(Action.SYNC)
        assert [member["clientId"] for member in sync["presence"]] == ["alice"]
        await watcher.send({"action": Action.SYNC, "channel": "elsewhere"})
        await watcher.attach("c", flags=int(Flag.PUBLISH))
        await watcher.send({"action": Action.SYNC, "channel": "c"})
        assert Action.SYNC not in [frame["action"] for frame in await watcher.settled()]


async def test_presence_of_the_past_over_rest(server: LocalServer, rest: httpx.AsyncClient) -> None:
    # RSP4
    async with raw_client(server, "alice") as alice:
        for action in (PresenceAction.ENTER, PresenceAction.UPDATE, PresenceAction.LEAVE):
            await announce(alice, action)
    response = await rest.get("/channels/c/presence/history", params={"limit": "2"})
    assert [event["action"] for event in response.json()] == [3, 4]
    following = response.links["next"]["url"].removeprefix("./")
    assert following.startswith("history?")
    older = await rest.get(f"/channels/c/presence/{following}")
    assert [event["action"] for event in older.json()] == [2]
    assert "next" not in older.links
    forwards = await rest.get("/channels/c/presence/history", params={"direction": "forwards"})
    assert [event["action"] for event in forwards.json()] == [2, 4, 3]


async def test_members_may_remain_for_a_time_of_their_own(
    timed_server: LocalServer, clock: ManualClock
) -> None:
    async with raw_client(timed_server) as watcher:
        await watcher.attach("c")
        async with raw_client(timed_server, "alice", remainPresentFor="1000") as alice:
            await announce(alice, PresenceAction.ENTER)
            await events(watcher)
            timed_server.faults.drop("alice")
            await alice.closed()
        clock.advance(999)
        assert await events(watcher) == []
        clock.advance(1)
        assert [event[0] for event in await events(watcher)] == [PresenceAction.LEAVE]
