"""What cannot be written is refused, and nobody can read it."""

from __future__ import annotations

import logging
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action, PresenceAction
from tests.local.raw_client import RawClient, raw_client
from tests.local.reading import as_after_a_crash, full_disk, readable, stored

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.manual_clock import ManualClock

RETRY_MS = 1000
TIME_LIMIT = 60
BIG = "x" * 5000
"""More than a page, so that every publish needs space."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data.sqlite"


def serving(data: Path, clock: ManualClock | None = None) -> LocalServer:
    return LocalServer(LocalServerOptions(data=data), clock=clock)


async def presence(client: RawClient, action: PresenceAction) -> Any:  # noqa: ANN401 - JSON
    frame = {"action": Action.PRESENCE, "channel": "c", "msgSerial": client.next_serial}
    client.next_serial += 1
    await client.send({**frame, "presence": [{"action": action, "data": BIG}]})
    return await client.answer()


async def test_what_cannot_be_stored_cannot_be_read(data: Path, tmp_path: Path, clock: ManualClock) -> None:
    async with (
        serving(data, clock) as server,
        raw_client(server, "alice") as alice,
        raw_client(server) as watcher,
        httpx.AsyncClient(base_url=server.url, trust_env=False, params={"key": server.key}) as rest,
    ):
        attached = await watcher.attach("c")
        serial = await alice.publish("c", {"data": "a"})
        await presence(alice, PresenceAction.ENTER)
        before = await readable(server, since=attached["channelSerial"])
        await watcher.settled()
        with full_disk(data):
            for message in (
                {"data": BIG, "id": "mine:0"},
                {"action": 5, "serial": serial, "data": BIG},
                {"action": 1, "serial": serial, "data": BIG},
                {"action": 2, "serial": serial, "data": BIG},
            ):
                error = await alice.refused("c", message)
                assert (error["code"], error["statusCode"]) == (50000, 500)
                assert "unable to store" in error["message"]
            assert (await presence(alice, PresenceAction.LEAVE))["error"]["code"] == 50000
            response = await rest.post("/channels/c/messages", json={"data": BIG})
            assert (response.status_code, response.json()["error"]["code"]) == (500, 50000)
            assert await watcher.settled() == []
            assert await readable(server, since=attached["channelSerial"]) == before
        copy = as_after_a_crash(data, tmp_path / "full")
        assert await stored(copy, clock, since=attached["channelSerial"]) == before

        created = await alice.publish("c", {"data": BIG, "id": "mine:0"})
        assert await alice.append("c", serial, "b") > created
        got = await watcher.messages()
        assert [(m["action"], m["data"]) for m in got] == [(0, BIG), (5, "b")]


async def test_an_append_after_a_refused_first_one_comes_in_full(data: Path) -> None:
    async with serving(data) as server, raw_client(server) as agent, raw_client(server) as late:
        serial = await agent.publish("c", {"data": "a"})
        await late.attach("c")
        with full_disk(data):
            await agent.refused("c", {"action": 5, "serial": serial, "data": BIG})
        await agent.append("c", serial, "b")
        assert [(m["action"], m["data"]) for m in await late.messages()] == [(1, "ab")]


async def test_members_that_left_on_a_full_disk_leave_when_there_is_space(
    data: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "ably_ai_transport.local")
    async with serving(data, clock) as server, raw_client(server) as watcher:
        await watcher.attach("c")
        async with raw_client(server, "alice") as alice:
            await presence(alice, PresenceAction.ENTER)
            await watcher.settled()
            with full_disk(data):
                await alice.send({"action": Action.CLOSE})
                await alice.closed()
                assert await watcher.settled() == []
                clock.advance(3 * RETRY_MS)
                assert [len(found[1]) for found in (await readable(server)).values()] == [1]
            clock.advance(RETRY_MS)
        [left] = [event for frame in await watcher.settled() for event in frame["presence"]]
        assert (left["action"], left["clientId"]) == (PresenceAction.LEAVE, "alice")
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


async def test_a_connection_made_on_a_full_disk_is_stored_later(data: Path, clock: ManualClock) -> None:
    async with serving(data, clock) as server:
        with full_disk(data):
            async with raw_client(server, "alice") as alice:
                await alice.refused("c", {"data": BIG})
                server.faults.drop()
                await alice.closed()
        clock.advance(RETRY_MS)
    async with serving(data, clock) as server, raw_client(server, "alice", resume=alice.key) as again:
        assert again.id == alice.id


async def test_a_server_that_stops_on_a_full_disk_loses_nothing(data: Path) -> None:
    async with serving(data) as server, raw_client(server) as client:
        for _ in range(5):
            await client.publish("c", {"data": BIG})
        before = await readable(server)
        disk = full_disk(data)
        disk.__enter__()
    disk.__exit__(None, None, None)
    assert await stored(data) == before


@pytest.mark.parametrize("seed", range(6))
async def test_what_can_be_read_is_what_is_stored(
    data: Path, tmp_path: Path, clock: ManualClock, seed: int
) -> None:
    """Any operations, pipelined, while the disk fills and empties."""
    random = Random(seed)  # noqa: S311 - moments, no secrets
    async with (
        serving(data, clock) as server,
        raw_client(server, "alice") as alice,
        raw_client(server) as watcher,
    ):
        start = await watcher.attach("c")
        shown: dict[str, Any] = {}
        serials = [await alice.publish("c", {"data": "first"})]
        texts: dict[str, str] = {}
        for number in range(6):
            disk = full_disk(data) if number % 3 == 1 else None
            if disk is not None:
                disk.__enter__()
            try:
                posted = 0
                for _ in range(random.randrange(1, 8)):
                    data_ = random.choice(["b", BIG])
                    target = random.choice(serials)
                    frame: dict[str, Any] = random.choice(
                        [
                            {"messages": [{"data": data_}]},
                            {"messages": [{"data": data_}, {"data": "2"}]},
                            {"messages": [{"data": data_, "extras": {"ephemeral": True}}]},
                            {"messages": [{"action": 5, "serial": target, "data": data_}]},
                            {"messages": [{"action": 5, "serial": target, "data": data_}]},
                            {"messages": [{"action": 1, "serial": target, "data": data_, "name": "n"}]},
                            {"messages": [{"action": 2, "serial": target}]},
                            {"presence": [{"action": random.choice([2, 3, 4]), "data": data_}]},
                        ]
                    )
                    action = Action.PRESENCE if "presence" in frame else Action.MESSAGE
                    frame |= {"action": action, "channel": "c", "msgSerial": alice.next_serial}
                    alice.next_serial += 1
                    await alice.send(frame)
                    posted += 1
                while posted:
                    answer = await alice.answer()
                    posted -= answer["count"]
                    for result in answer.get("res", ()):
                        if len(result["serials"]) == 2:
                            serials += result["serials"]
                shown = await readable(server, since=start["channelSerial"])
            finally:
                if disk is not None:
                    disk.__exit__(None, None, None)
            copy = as_after_a_crash(data, tmp_path / str(number))
            assert await stored(copy, clock, since=start["channelSerial"]) == shown
        for message in await watcher.messages():
            if message["action"] == 5:
                texts[message["serial"]] += message["data"]
            elif not message.get("extras"):
                texts[message["serial"]] = message["data"]
        assert texts == {message["serial"]: message["data"] for message in shown["c"][0]}
