"""Tests of limits: the server refuses only the request that exceeds one."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions, Namespace
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.storage.contract import LogEntry
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import WireFormat


def limited(clock: ManualClock | None = None, **limits: Any) -> AbstractAsyncContextManager[LocalServer]:  # noqa: ANN401
    return LocalServer(LocalServerOptions(limits=Limits(**limits)), clock=clock)


async def test_a_message_may_be_so_large(wire_format: WireFormat) -> None:
    # TO3l8: name, clientId, data and extras count, of all messages of a publish together.
    async with limited(max_message_size=1000) as server, raw_client(server, format_=wire_format) as client:
        await client.publish("c", {"data": "x" * 1000})
        fitting = {"name": "n" * 10, "data": "é" * 490, "extras": {"a": 1}}
        too_large = [
            [{"data": "x" * 1001}],
            [fitting, {"data": "x" * 20}],
            [{"data": "é" * 501}],
            [{"name": "n" * 500, "data": "x" * 501}],
            [{"data": "x", "extras": {"e": "x" * 1000}}],
        ]
        await client.publish("c", fitting)
        for messages in too_large:
            error = await client.refused("c", *messages)
            assert (error["code"], error["statusCode"]) == (40009, 413)
        await client.publish("c", {"data": "still here"})


async def test_binary_data_counts_as_what_it_is() -> None:
    async with (
        limited(max_message_size=1000) as server,
        raw_client(server, format_="msgpack") as binary,
        raw_client(server) as text,
    ):
        await binary.publish("c", {"data": b"\xff" * 1000})
        await text.publish("c", {"data": "AAAA" * 333, "encoding": "base64"})
        assert (await binary.refused("c", {"data": b"\xff" * 1001}))["code"] == 40009


async def test_a_frame_that_is_too_large_ends_its_connection_only() -> None:
    async with limited(max_frame_size=5000) as server, raw_client(server) as bystander:
        for size in (5001, 100_000):
            async with raw_client(server) as client:
                await client.post("c", {"data": "x" * size})
                if size < 20_000:
                    assert (await client.until(Action.ERROR))["error"]["code"] == 40009
                await client.closed()
        await bystander.publish("c", {"data": "x"})


async def test_a_body_may_be_so_large() -> None:
    async with (
        limited(max_frame_size=5000) as server,
        httpx.AsyncClient(base_url=server.url, params={"key": server.key}, trust_env=False) as rest,
    ):
        response = await rest.post("/channels/c/messages", json={"data": "x" * 6000})
        assert (response.status_code, response.json()["error"]["code"]) == (413, 40009)
        assert (await rest.post("/channels/c/messages", json={"data": "x"})).status_code == 201


async def test_a_connection_may_publish_so_fast(clock: ManualClock) -> None:
    async with (
        limited(clock, connection_rate=10) as server,
        raw_client(server) as client,
        raw_client(server) as other,
    ):
        for _ in range(10):
            await client.publish("c", {"data": "x"})
        error = await client.refused("d", {"data": "x"})
        assert (error["code"], error["statusCode"]) == (42911, 429)
        await other.publish("c", {"data": "x"})
        clock.advance(100)
        await client.publish("c", {"data": "x"})
        assert (await client.refused("c", {"data": "x"}))["code"] == 42911
        clock.advance(10_000)
        assert (await client.refused("c", *[{"data": "x"}] * 11))["code"] == 42911


async def test_a_channel_may_be_published_on_so_fast(clock: ManualClock) -> None:
    async with limited(clock, channel_rate=5) as server, raw_client(server) as one, raw_client(server) as two:
        for client in (one, two, one, two, one):
            await client.publish("c", {"data": "x"})
        error = await two.refused("c", {"data": "x"})
        assert (error["code"], error["statusCode"]) == (42913, 429)
        await two.publish("d", {"data": "x"})
        clock.advance(1000)
        await two.publish("c", {"data": "x"})


async def test_rates_are_not_limited_unless_it_is_asked_for(
    timed_server: LocalServer,
) -> None:
    async with raw_client(timed_server) as client:
        for _ in range(300):
            await client.post("c", {"data": "x"})
        answered = 0
        while answered < 300:
            answer = await client.answer()
            assert answer["action"] == Action.ACK
            answered += answer["count"]


async def test_there_may_be_so_many_connections() -> None:
    async with limited(max_connections=2) as server, raw_client(server) as one, raw_client(server):
        async with raw_client(server) as third:
            # Not an ERROR: the SDK tries again.
            assert third.connected["action"] == Action.DISCONNECTED
            assert (third.connected["error"]["code"], third.connected["error"]["statusCode"]) == (80021, 429)
        await one.send({"action": Action.CLOSE})
        await one.closed()
        async with raw_client(server) as third:
            assert third.connected["action"] == Action.CONNECTED


async def test_there_may_be_so_many_channels() -> None:
    async with limited(max_channels=2) as server, raw_client(server) as client:
        await client.attach("a")
        await client.publish("b", {"data": "x"})
        error = await client.refused("c", {"data": "x"})
        assert (error["code"], error["statusCode"]) == (40114, 403)
        await client.send({"action": Action.ATTACH, "channel": "c"})
        frame = await client.until(Action.ERROR)
        assert (frame["channel"], frame["error"]["code"]) == ("c", 40114)
        await client.publish("a", {"data": "x"})


async def test_a_connection_may_attach_so_many_channels() -> None:
    async with limited(max_attachments=2) as server, raw_client(server) as client:
        await client.attach("a")
        await client.attach("b")
        await client.attach("b")
        await client.send({"action": Action.ATTACH, "channel": "c"})
        assert (await client.until(Action.ERROR))["error"]["code"] == 40114
        await client.send({"action": Action.DETACH, "channel": "a"})
        await client.until(Action.DETACHED)
        await client.attach("c")


async def test_a_channel_holds_so_many_messages() -> None:
    async with limited(max_history=3) as server, raw_client(server) as client:
        serial = await client.publish("c", {"data": "1"}, {"data": "2"})
        error = await client.refused("c", {"data": "3"}, {"data": "4"})
        assert (error["code"], "limit 3" in error["message"]) == (40112, True)
        await client.publish("c", {"data": "3"})
        assert (await client.refused("c", {"data": "4"}))["code"] == 40112
        await client.append("c", serial, "appends go on")
        await client.publish("d", {"data": "1"})


async def test_the_server_holds_so_many_bytes() -> None:
    async with limited(max_memory=3000) as server, raw_client(server) as client:
        serial = await client.publish("c", {"data": "x" * 1000})
        await client.append("c", serial, "x" * 1000)
        assert (await client.refused("c", {"action": 5, "serial": serial, "data": "x" * 1000}))[
            "code"
        ] == 40112
        assert (await client.refused("d", {"data": "x" * 500}))["code"] == 40112
        await client.append("c", serial, "x")


async def test_a_consumer_may_be_so_slow(clock: ManualClock) -> None:
    async with limited(clock, max_queued_bytes=1000) as server, raw_client(server) as publisher:
        async with raw_client(server, "slow") as slow:
            await slow.attach("c")
            server.faults.delay(1)
            for _ in range(5):
                await publisher.publish("c", {"data": "x" * 300})
            clock.advance(1000)
            assert (await slow.until(Action.DISCONNECTED))["error"]["code"] == 80003
            await slow.closed()
        assert await publisher.settled() == []


async def test_namespaces_have_rules() -> None:
    options = LocalServerOptions(
        mutable_messages=False,
        namespaces=(Namespace(id="open"), Namespace(id="shut", mutable_messages=False)),
    )
    async with LocalServer(options) as server, raw_client(server) as client:
        for channel, mutable in (("open:c", True), ("open", True), ("shut:c", False), ("c", False)):
            serial = await client.publish(channel, {"data": "a"})
            if mutable:
                await client.append(channel, serial, "b")
            else:
                error = await client.refused(channel, {"action": 5, "serial": serial, "data": "b"})
                assert error["code"] == 93002


@pytest.mark.parametrize("name", ["", ":c", "[x", "[filter=abc]c", "a\nb"])
async def test_names_that_no_channel_can_have(server: LocalServer, name: str) -> None:
    async with raw_client(server) as client:
        assert (await client.refused(name, {"data": "x"}))["code"] == 40010
        await client.send({"action": Action.ATTACH, "channel": name})
        frame = await client.until(Action.ERROR)
        assert (frame["channel"], frame["error"]["code"]) == (name, 40010)


def steps_held() -> int:
    gc.collect()
    return sum(isinstance(held, LogEntry) for held in gc.get_objects())


async def test_what_channels_keep_for_those_who_resume_is_forgotten_in_time(
    timed_server: LocalServer, clock: ManualClock
) -> None:
    """Also where nothing is published any more, as in most conversations."""
    before = steps_held()
    async with raw_client(timed_server) as client:
        for channel in ("a", "b"):
            serial = await client.publish(channel, {"data": ""})
            for _ in range(100):
                await client.append(channel, serial, "x")
        assert steps_held() == before + 202
        clock.advance(timed_server.options.retention_ms / 2)
        await client.settled()
        await client.publish("b", {"data": "later"})
        assert steps_held() == before + 203
        for _ in range(3):
            clock.advance(timed_server.options.retention_ms)
            await client.settled()
        assert steps_held() == before
