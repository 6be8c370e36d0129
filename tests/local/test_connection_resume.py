"""A connection that outlives its websocket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from ably_ai_transport.local.protocol.frames import Action
from tests.local.raw_client import WireFormat, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock


async def test_a_resumed_connection_keeps_its_id_and_gets_a_new_key(
    server: LocalServer, wire_format: WireFormat
) -> None:
    async with raw_client(server, "alice", format_=wire_format) as first:
        await first.cut()
    async with raw_client(server, "alice", format_=wire_format, resume=first.key) as second:
        assert second.id == first.id
        assert second.key != first.key
        assert "error" not in second.connected
    async with raw_client(server, "alice", resume=first.key) as third:
        assert third.id == first.id, "the CONNECTED with the newer key may have been lost"


async def test_a_publish_sent_again_gets_its_first_result(server: LocalServer) -> None:
    message = {"data": "once"}
    async with raw_client(server) as watcher:
        await watcher.attach("c")
        async with raw_client(server, "alice") as first:
            server.faults.cut_before_ack("c", skip=1)
            await first.publish("c", {"data": "acknowledged"})
            await first.post("c", message)
            with pytest.raises(ConnectionClosed):
                await first.answer()
        async with raw_client(server, "alice", resume=first.key) as second:
            second.next_serial = 1
            serial = await second.publish("c", message)
            next_serial = await second.publish("c", {"data": "next"})
        delivered = await watcher.messages()
    assert [m["data"] for m in delivered] == ["acknowledged", "once", "next"]
    assert [m["serial"] for m in delivered[1:]] == [serial, next_serial]


async def test_a_refused_publish_sent_again_is_refused_again(server: LocalServer) -> None:
    async with raw_client(server, "alice") as first:
        server.faults.hold_acks()
        server.faults.nack(code=42)
        await first.post("c", {"data": "x"})
        assert await first.settled() == []
        await first.cut()
    server.faults.release_acks()
    async with raw_client(server, "alice", resume=first.key) as second:
        assert (await second.refused("c", {"data": "x"}))["code"] == 42


async def test_an_append_sent_again_is_not_applied_twice(server: LocalServer) -> None:
    async with raw_client(server, "alice") as first:
        serial = await first.publish("c", {"data": "a"})
        server.faults.cut_before_ack(action="append")
        await first.post("c", {"action": 5, "serial": serial, "data": "b"})
        with pytest.raises(ConnectionClosed):
            await first.answer()
    async with raw_client(server, "alice", resume=first.key) as second:
        second.next_serial = 1
        version = await second.append("c", serial, "b")
        await second.append("c", serial, "c")
        await second.attach("c", params={"rewind": "1"})
        (message,) = await second.messages()
    assert version > serial
    assert message["data"] == "abc"


async def test_nothing_is_lost_or_doubled_over_a_drop(server: LocalServer) -> None:
    async with raw_client(server) as publisher:
        async with raw_client(server, "bob") as first:
            await first.attach("c")
            serial = await publisher.publish("c", {"data": ""})
            await publisher.append("c", serial, "1")
            (seen,) = [f for f in await first.settled() if f["messages"][0]["action"] == 5]
            server.faults.drop("bob")
            with pytest.raises(ConnectionClosed):
                await first.receive()
        await publisher.append("c", serial, "2")
        await publisher.append("c", serial, "3")
        async with raw_client(server, "bob", resume=first.key) as second:
            await second.attach("c", channelSerial=seen["channelSerial"])
            await publisher.append("c", serial, "4")
            messages = await second.messages()
    assert [(m["action"], m["data"]) for m in messages] == [(1, "123"), (5, "4")]


async def test_a_resume_with_an_unknown_key_makes_a_new_connection(server: LocalServer) -> None:
    async with raw_client(server, resume="nobody!nothing") as client:
        assert client.connected["action"] == Action.CONNECTED
        assert client.connected["error"]["code"] == 80018
        assert client.id != "nobody"


async def test_a_guessed_key_does_not_resume(server: LocalServer) -> None:
    async with raw_client(server) as first:
        await first.cut()
    async with raw_client(server, resume=f"{first.id}!guess") as second:
        assert second.id != first.id
        assert second.connected["error"]["code"] == 80018


async def test_another_client_cannot_resume_the_connection(server: LocalServer) -> None:
    async with raw_client(server, "alice") as first:
        await first.cut()
    async with raw_client(server, "mallory", resume=first.key) as second:
        assert second.id != first.id


async def test_recover_takes_a_connection_over(server: LocalServer) -> None:
    async with raw_client(server) as first:
        await first.cut()
    async with raw_client(server, recover=first.key) as second:
        assert second.id == first.id


async def test_forgotten_state_makes_the_resume_fail(server: LocalServer) -> None:
    async with raw_client(server, conn="x") as first:
        server.faults.forget("x")
        await first.publish("c", {"data": "still works"})
        await first.cut()
    async with raw_client(server, resume=first.key) as second:
        assert second.connected["error"]["code"] == 80008


async def test_state_expires(timed_server: LocalServer, clock: ManualClock) -> None:
    ttl = timed_server.options.connection_state_ttl_ms
    async with raw_client(timed_server, conn="x") as first:
        timed_server.faults.drop("x")
        with pytest.raises(ConnectionClosed):
            await first.receive()
    clock.advance(ttl - 1)
    async with raw_client(timed_server, conn="x", resume=first.key) as second:
        assert second.id == first.id
        clock.advance(ttl)
        timed_server.faults.drop("x")
        await second.closed()
    clock.advance(ttl)
    async with raw_client(timed_server, resume=second.key) as third:
        assert third.connected["error"]["code"] == 80008


async def test_a_new_transport_supersedes_the_old_one(server: LocalServer) -> None:
    async with raw_client(server, "alice") as old, raw_client(server) as publisher:
        await old.attach("c")
        async with raw_client(server, "alice", resume=old.key) as new:
            assert new.id == old.id
            with pytest.raises(ConnectionClosed):
                await old.receive()
            await new.attach("c")
            await publisher.publish("c", {"data": "x"})
            assert [m["data"] for m in await new.messages()] == ["x"]
            assert server.stats.connections == 2


async def test_what_cannot_be_a_key_is_told_from_one_that_has_expired(server: LocalServer) -> None:
    # RTN15c7; ably-js's own suite asks for 80018 where the key is malformed.
    for key, code in (("_____!fake-key____", 80018), ("abcdefghij!abcdefghijklmnop", 80008)):
        async with raw_client(server, resume=key) as client:
            assert client.connected["action"] == Action.CONNECTED
            assert client.connected["error"]["code"] == code
