"""Channels exist once a step on them is permitted, until nothing is left of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action, Flag, PresenceAction
from tests.local.raw_client import RawClient, raw_client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from tests.local.manual_clock import ManualClock

RETENTION_MS = LocalServerOptions().retention_ms
SEE = {"*": ["subscribe", "presence", "history", "channel-metadata"]}


@pytest.fixture(params=["memory", "file"])
async def stored_server(
    request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path
) -> AsyncGenerator[LocalServer]:
    """A server whose time stands still, in memory and on a data file."""
    data = tmp_path / "data.sqlite" if request.param == "file" else None
    async with LocalServer(LocalServerOptions(data=data), clock=clock) as server:
        yield server


def read_only(server: LocalServer) -> str:
    return server.token("alice", capability=SEE)


async def present(client: RawClient, channel: str, **event: object) -> int:
    """Send a presence event; returns the code of the answer, 0 for an ACK."""
    serial = client.next_serial
    client.next_serial += 1
    events = [{"action": PresenceAction.ENTER, **event}]
    await client.send(
        {"action": Action.PRESENCE, "channel": channel, "msgSerial": serial, "presence": events}
    )
    return (await client.answer()).get("error", {}).get("code", 0)


async def let_go(server: LocalServer, clock: ManualClock, client: RawClient) -> None:
    """Move on until idle channels are gone."""
    for _ in range(3):
        clock.advance(RETENTION_MS)
        await client.settled()


async def test_a_refused_step_leaves_no_channel(stored_server: LocalServer) -> None:
    server = stored_server
    async with (
        raw_client(server, credentials=False, access_token=read_only(server)) as client,
        raw_client(server, "bob") as bob,
        raw_client(server, appendRollupWindow="100") as rolling,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as rest,
    ):
        unknown = {"action": 5, "serial": "01790000000000-000@x:000", "data": "x"}
        assert (await client.refused("a", {"data": "x"}))["code"] == 40160
        assert (await client.refused("b", {"data": float("nan")}))["code"] in (40000, 40013)
        assert (await bob.refused("c", unknown))["code"] == 40400
        assert (await rolling.refused("d", unknown))["code"] == 40400
        assert (await bob.refused("e", {"data": "x", "clientId": "eve"}))["code"] == 40012
        assert (await bob.refused("f", {"data": "x" * 70_000}))["code"] == 40009
        assert (await bob.refused("g", {"id": "1", "data": "x"}, {"id": "2", "data": "x"}))["code"] == 40031
        server.faults.nack("h")
        assert (await bob.refused("h", {"data": "x"}))["code"] == 50000
        assert await present(bob, "i", clientId="eve") == 40012
        assert await present(bob, "j", action=7) == 40000
        assert await present(bob, "k", data="x" * 70_000) == 40009
        await client.send({"action": Action.ATTACH, "channel": "l", "flags": int(Flag.PUBLISH)})
        assert (await client.until(Action.ERROR))["error"]["code"] == 40160
        key, token = {"key": server.key}, {"access_token": read_only(server)}
        batch = {"channels": ["m", "n"], "messages": {"data": "x"}}
        requests = [
            await rest.post("/channels/o/messages", json={"data": "x"}, params=token),
            await rest.patch("/channels/p/messages/x", json={"action": 5, "data": "x"}, params=key),
            await rest.post("/messages", json=batch, params=token),
        ]
        assert [response.status_code for response in requests] == [401, 404, 400]
        for path in (
            "",
            "/messages",
            "/presence",
            "/presence/history",
            "/messages/x",
            "/messages/x/versions",
        ):
            await rest.get(f"/channels/q{path}", params=key)
        await rest.get("/presence?channels=r,s", params=key)
        assert (await rest.get("/channels", params={**key, "by": "id"})).json() == []
        assert server.stats.channels == 0
        await server.restart()
        assert server.stats.channels == 0


async def test_refused_publishes_do_not_fill_the_server() -> None:
    options = LocalServerOptions(limits=Limits(max_channels=2))
    async with LocalServer(options) as server:
        async with raw_client(server, credentials=False, access_token=read_only(server)) as client:
            for number in range(20):
                assert (await client.refused(str(number), {"data": "x"}))["code"] == 40160
        async with raw_client(server) as client:
            await client.publish("a", {"data": "x"})
            await client.publish("b", {"data": "x"})
            assert (await client.refused("c", {"data": "x"}))["code"] == 40114
        async with raw_client(server, credentials=False, access_token=read_only(server)) as client:
            # What it may not do, it is told first.
            assert (await client.refused("c", {"data": "x"}))["code"] == 40160


async def test_a_refused_step_leaves_what_was_there(stored_server: LocalServer, clock: ManualClock) -> None:
    server = stored_server
    async with raw_client(server, "bob") as bob:
        head = (await bob.attach("c"))["channelSerial"]
        await bob.send({"action": Action.DETACH, "channel": "c"})
        await bob.until(Action.DETACHED)
        clock.advance(1000)
        assert (await bob.refused("c", {"data": "x", "clientId": "eve"}))["code"] == 40012
        again = await bob.attach("c", channelSerial=head)
        assert (again["channelSerial"], again["flags"] & Flag.RESUMED) == (head, Flag.RESUMED)


async def test_a_channel_without_content_ends(stored_server: LocalServer, clock: ManualClock) -> None:
    server = stored_server
    async with raw_client(server, "bob") as bob:
        for channel in ("attached", "detached"):
            await bob.attach(channel)
        await bob.send({"action": Action.DETACH, "channel": "detached"})
        await bob.until(Action.DETACHED)
        await bob.publish("ephemeral", {"data": "x", "extras": {"ephemeral": True}})
        await bob.publish("said", {"data": "x"})
        assert await present(bob, "present") == 0
        assert server.stats.channels == 5
        clock.advance(RETENTION_MS / 2)
        await bob.settled()
        assert server.stats.channels == 5
        await let_go(server, clock, bob)
        # Messages are kept for good, past presence for a day.
        assert server.stats.channels == 3
        await server.restart()
        assert server.stats.channels == (2 if server.options.data else 0)


async def test_a_channel_that_ended_comes_back_as_a_new_one(
    stored_server: LocalServer, clock: ManualClock
) -> None:
    server = stored_server
    async with raw_client(server, "bob") as bob:
        before = (await bob.attach("c"))["channelSerial"]
        await bob.send({"action": Action.DETACH, "channel": "c"})
        await bob.until(Action.DETACHED)
        await let_go(server, clock, bob)
        assert server.stats.channels == 0
        frame = await bob.attach("c", channelSerial=before)
        if server.options.data is None:
            # As after every pause beyond the retention: the channel cannot tell what was missed.
            assert (frame["error"]["code"], frame["flags"] & Flag.RESUMED) == (90003, 0)
        assert frame["channelSerial"] >= before
        await bob.publish("c", {"data": "x"})
        (message,) = await bob.messages()
        assert message["serial"] > before


async def test_a_connection_resumes_on_a_channel_without_content(
    stored_server: LocalServer, clock: ManualClock
) -> None:
    """Within the retention, the channel is still the same one."""
    server = stored_server
    async with raw_client(server, "bob") as bob:
        head = (await bob.attach("c"))["channelSerial"]
        await bob.cut()
    for _ in range(3):
        clock.advance(RETENTION_MS / 4)
    async with raw_client(server, "bob", resume=bob.key) as resumed:
        assert resumed.id == bob.id
        frame = await resumed.attach("c", channelSerial=head)
        assert (frame["flags"] & Flag.RESUMED, frame.get("error")) == (Flag.RESUMED, None)


async def test_presence_of_the_past_is_kept_for_a_day(stored_server: LocalServer, clock: ManualClock) -> None:
    server = stored_server
    async with (
        raw_client(server, "bob") as bob,
        httpx.AsyncClient(base_url=server.url, params={"key": server.key}, trust_env=False) as rest,
    ):
        assert await present(bob, "c") == 0
        assert await present(bob, "c", action=PresenceAction.LEAVE) == 0
        clock.advance(23 * 3_600_000)
        await bob.settled()
        assert len((await rest.get("/channels/c/presence/history")).json()) == 2
        clock.advance(2 * 3_600_000)
        await bob.settled()
        assert (await rest.get("/channels/c/presence/history")).json() == []
        await let_go(server, clock, bob)
        assert server.stats.channels == 0
        await server.restart()
        assert server.stats.channels == 0


async def test_what_is_let_go_can_be_held_again(clock: ManualClock) -> None:
    options = LocalServerOptions(limits=Limits(max_channels=5, max_memory=100_000))
    async with LocalServer(options, clock=clock) as server, raw_client(server) as client:
        for turn in range(30):
            for number in range(5):
                await client.attach(f"{turn}-{number}")
            await client.send({"action": Action.ATTACH, "channel": "more"})
            assert (await client.until(Action.ERROR))["error"]["code"] == 40114
            for number in range(5):
                await client.send({"action": Action.DETACH, "channel": f"{turn}-{number}"})
                await client.until(Action.DETACHED)
            await let_go(server, clock, client)
            assert server.stats.channels == 0
