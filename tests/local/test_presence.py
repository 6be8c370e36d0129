from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from ably_ai_transport.local.protocol import Action, Flag, PresenceAction
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
        assert (await announce(alice, PresenceAction.ENTER))["error"]["code"] == 40160


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
