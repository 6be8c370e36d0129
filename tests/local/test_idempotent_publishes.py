"""A publish that is repeated with its message ids happens once, and each ack has the first serials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.core.idempotency import WINDOW_MS
from ably_ai_transport.local.protocol.frames import Action
from tests.local.raw_client import RawClient, raw_client

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import Frame

BATCH: list[Frame] = [{"id": f"base:{index}", "data": str(index)} for index in range(3)]


async def acked(client: RawClient, messages: list[Frame]) -> list[str]:
    """Publish and return the serials of the ACK."""
    await client.post("c", *messages)
    answer = await client.answer()
    assert answer["action"] == Action.ACK, answer
    [result] = answer["res"]
    return result["serials"]


def http(server: LocalServer) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=server.url, params={"key": server.key}, trust_env=False)


async def posted(server: LocalServer, body: object) -> Any:  # noqa: ANN401 - JSON
    async with http(server) as rest:
        response = await rest.post("/channels/c/messages", json=body)
    assert response.status_code == 201, response.text
    return response.json()


async def history(server: LocalServer) -> list[str]:
    async with http(server) as rest:
        return [item["data"] for item in reversed((await rest.get("/channels/c/messages")).json())]


@pytest.mark.parametrize("messages", [BATCH, BATCH[:1], [{"id": "no index", "data": "0"}]])
async def test_on_the_same_connection_on_another_one_and_over_rest(
    server: LocalServer, messages: list[Frame]
) -> None:
    async with raw_client(server) as subscriber, raw_client(server) as one, raw_client(server) as two:
        await subscriber.attach("c")
        serials = await acked(one, messages)
        assert len(set(serials)) == len(messages)
        assert await acked(one, messages) == serials
        assert await acked(two, messages) == serials
        assert await posted(server, messages) == {
            "channel": "c",
            "messageId": messages[0]["id"],
            "serials": serials,
        }
        delivered = await subscriber.messages()
    assert [m["serial"] for m in delivered] == serials
    assert await history(server) == [m["data"] for m in messages]


async def test_a_publish_over_rest_is_repeated_over_a_websocket(server: LocalServer) -> None:
    serials = (await posted(server, BATCH))["serials"]
    async with raw_client(server) as client:
        assert await acked(client, BATCH) == serials
        # The serials work for what follows.
        await client.append("c", serials[0], "+")
    assert await history(server) == ["0+", "1", "2"]


async def test_a_publish_whose_ack_was_lost_with_its_connection(server: LocalServer) -> None:
    async with raw_client(server, "alice") as client:
        server.faults.cut_before_ack("c")
        await client.post("c", *BATCH)
        await client.closed()
    server.faults.forget("alice")
    async with raw_client(server, "alice", resume=client.key) as again:
        assert (again.connected["error"]["code"], again.id == client.id) == (80008, False)
        await again.attach("c", params={"rewind": "10"})
        serials = [m["serial"] for m in await again.messages()]
        assert await acked(again, BATCH) == serials
        assert await again.messages() == []


async def test_a_channel_that_is_busy_with_other_ids(server: LocalServer) -> None:
    async with raw_client(server) as client:
        serials = await acked(client, BATCH)
        for number in range(50):
            await acked(client, [{"id": f"other {number}:0", "data": "x"}])
        assert await acked(client, BATCH) == serials
        # Each channel knows its own ids.
        assert await client.publish("d", *BATCH) not in serials


async def test_a_refused_publish_may_be_repeated(server: LocalServer) -> None:
    async with raw_client(server) as client:
        server.faults.nack("c", code=42911, status=429)
        assert (await client.refused("c", *BATCH))["code"] == 42911
        assert len(await acked(client, BATCH)) == 3
    assert await history(server) == ["0", "1", "2"]


async def test_ephemeral_messages_are_delivered_once(server: LocalServer) -> None:
    ephemeral = [{**message, "extras": {"ephemeral": True}} for message in BATCH]
    async with raw_client(server) as client:
        await client.attach("c")
        serials = await acked(client, ephemeral)
        assert await acked(client, ephemeral) == serials
        assert len(await client.messages()) == 3


async def test_over_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    # With a short retention, the steps are soon folded into their messages.
    options = LocalServerOptions(
        data=tmp_path / "data.sqlite", retention_ms=1000, connection_state_ttl_ms=1000
    )
    async with LocalServer(options, clock=clock) as server:
        async with raw_client(server) as client:
            serials = await acked(client, BATCH)
        for _ in range(3):
            clock.advance(WINDOW_MS / 3)
            await server.restart()
            async with raw_client(server) as client:
                assert await acked(client, BATCH) == serials
                assert (await posted(server, BATCH))["serials"] == serials
                await client.publish("d", {"data": "x"})
        assert await history(server) == ["0", "1", "2"]


@pytest.mark.parametrize("restarts", [False, True])
async def test_after_two_minutes_the_ids_are_new(tmp_path: Path, clock: ManualClock, restarts: bool) -> None:
    options = LocalServerOptions(data=tmp_path / "data.sqlite")
    single = [{"id": "single", "data": "x"}]
    async with LocalServer(options, clock=clock) as server:
        async with raw_client(server) as client:
            serials = await acked(client, BATCH)
            clock.advance(1)
            later = await acked(client, single)
        clock.advance(WINDOW_MS)
        if restarts:
            await server.restart()
        async with raw_client(server) as client:
            assert await acked(client, single) == later
            assert not {*await acked(client, BATCH)} & {*serials}
        assert await history(server) == ["0", "1", "2", "x", "0", "1", "2"]


@pytest.mark.parametrize(
    "ids",
    [
        ["base:0", "base:0"],
        ["base:1", "base:2"],
        ["base:0", "other:1"],
        ["base:0", None],
        [None, "base:1"],
        ["one", "two"],
        [":0", ":1"],
        ["base:00", "base:01"],
        [""],
        ["", ""],
    ],
)
async def test_ids_of_another_form_are_refused(server: LocalServer, ids: list[str | None]) -> None:
    messages = [{"data": "x"} if id_ is None else {"data": "x", "id": id_} for id_ in ids]
    async with raw_client(server) as client, http(server) as rest:
        error = await client.refused("c", *messages)
        assert (error["code"], error["statusCode"]) == (40031, 400)
        response = await rest.post("/channels/c/messages", json=messages)
        assert (response.status_code, response.json()["error"]["code"]) == (400, 40031)
        await client.publish("c", {"data": "still here"})
    assert await history(server) == ["still here"]


async def test_another_publish_with_some_of_the_ids_is_refused_as_a_whole(server: LocalServer) -> None:
    # Ably: the ids of a batch are one key, so a part of it is not the same publish.
    async with raw_client(server) as client:
        serials = await acked(client, BATCH[:2])
        for messages in (BATCH, BATCH[:1], BATCH[1:2]):
            error = await client.refused("c", *messages)
            assert (error["code"], "another publish" in error["message"]) == (40031, True)
        assert await acked(client, BATCH[:2]) == serials
    assert await history(server) == ["0", "1"]
