"""Tests of the fields of messages and frames, and of the fields that later versions keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ably_ai_transport.local.protocol.frames import Action
from tests.local.manual_clock import START
from tests.local.raw_client import WireFormat, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock

EXTRAS = {"ai": {"transport": {"status": "streaming"}}, "list": [1, 2.5, None, True, {"deep": "x"}]}


async def test_a_create_carries_everything(timed_server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(timed_server, "alice", format_=wire_format) as client:
        await client.attach("c")
        await client.post("c", {"name": "n", "data": "d", "extras": EXTRAS, "size": 3})
        frame = await client.until(Action.MESSAGE)
    serial = f"{frame['channelSerial']}:000"
    assert frame == {
        "action": 15,
        "channel": "c",
        "channelSerial": frame["channelSerial"],
        "id": f"{client.id}:0",
        "connectionId": client.id,
        "timestamp": START,
        "messages": [
            {
                "id": f"{client.id}:0:0",
                "action": 0,
                "serial": serial,
                "name": "n",
                "data": "d",
                "clientId": "alice",
                "connectionId": client.id,
                "timestamp": START,
                "extras": EXTRAS,
                "version": {"serial": serial, "timestamp": START, "clientId": "alice"},
            }
        ],
    }


async def test_fields_that_are_null_are_left_out(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("c")
        await client.post("c", {"name": None, "data": None, "extras": None, "clientId": None}, params=None)
        (message,) = (await client.until(Action.MESSAGE))["messages"]
    assert not {"name", "data", "extras", "clientId", "encoding"} & message.keys()


async def test_a_batch_is_one_frame(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("c")
        await client.post("c", {"data": "1"}, {"data": "2"})
        frame = await client.until(Action.MESSAGE)
    assert [m["data"] for m in frame["messages"]] == ["1", "2"]
    assert [m["serial"] for m in frame["messages"]] == [f"{frame['channelSerial']}:00{i}" for i in (0, 1)]


async def test_a_batch_is_taken_whole_or_not_at_all(server: LocalServer) -> None:
    async with raw_client(server, "alice") as client:
        await client.attach("c")
        error = await client.refused("c", {"data": "1"}, {"data": "2", "clientId": "mallory"})
        assert error["code"] == 40012
        assert await client.messages() == []


async def test_a_message_id_makes_a_publish_idempotent(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server) as subscriber:
        await subscriber.attach("c")
        first = await publisher.publish("c", {"id": "once:0", "data": "x"})
        again = await publisher.publish("c", {"id": "once:0", "data": "x"})
        delivered = await subscriber.messages()
    assert first == again
    assert [m["id"] for m in delivered] == ["once:0"]


async def test_a_delta_carries_the_message_forward(
    timed_server: LocalServer, clock: ManualClock, wire_format: WireFormat
) -> None:
    async with (
        raw_client(timed_server, "alice", format_=wire_format) as alice,
        raw_client(timed_server, "bob") as bob,
        raw_client(timed_server, format_=wire_format) as watcher,
    ):
        await watcher.attach("c")
        serial = await alice.publish("c", {"name": "n", "data": "a", "extras": EXTRAS})
        clock.advance(500)
        operation = {"description": "why", "metadata": {"k": "v"}}
        version = await bob.append("c", serial, "b", version=operation)
        create, delta = await watcher.messages()
    assert delta == {
        **create,
        "action": 5,
        "data": "b",
        "version": {"serial": version, "timestamp": START + 500, "clientId": "bob", **operation},
    }


async def test_a_full_version_carries_the_message_forward(
    timed_server: LocalServer, clock: ManualClock, wire_format: WireFormat
) -> None:
    async with raw_client(timed_server, "alice", format_=wire_format) as client:
        serial = await client.publish("c", {"name": "n", "data": "a", "extras": EXTRAS})
        clock.advance(500)
        version = await client.append("c", serial, "b")
        await client.attach("c", params={"rewind": "1"})
        (message,) = await client.messages()
    assert message["action"] == 1
    assert message["data"] == "ab"
    assert message["name"] == "n"
    assert message["extras"] == EXTRAS
    assert message["clientId"] == "alice"
    assert message["timestamp"] == START
    assert message["version"] == {"serial": version, "timestamp": START + 500, "clientId": "alice"}


@pytest.mark.parametrize("action", [1, 5])
async def test_extras_that_come_with_a_mutation_replace_the_whole_object(
    server: LocalServer, action: int
) -> None:
    async with raw_client(server) as client, raw_client(server) as watcher:
        await watcher.attach("c")
        serial = await client.publish("c", {"data": "a", "extras": {"old": 1, "both": 1}})
        await client.publish("c", {"action": action, "serial": serial, "data": "b", "extras": {"both": 2}})
        await client.publish("c", {"action": action, "serial": serial, "data": "c"})
        messages = await watcher.messages()
    assert [m["extras"] for m in messages] == [{"old": 1, "both": 1}, {"both": 2}, {"both": 2}]


async def test_an_update_replaces_what_it_brings(server: LocalServer) -> None:
    async with raw_client(server) as client, raw_client(server) as watcher:
        await watcher.attach("c")
        serial = await client.publish("c", {"name": "n", "data": "a"})
        await client.publish("c", {"action": 1, "serial": serial, "data": "b"})
        await client.publish("c", {"action": 1, "serial": serial, "name": "m"})
        messages = await watcher.messages()
    assert [(m["action"], m["name"], m["data"]) for m in messages] == [
        (0, "n", "a"),
        (1, "n", "b"),
        (1, "m", "b"),
    ]


async def test_a_delete_keeps_the_data_unless_it_brings_some(server: LocalServer) -> None:
    async with raw_client(server) as client, raw_client(server) as watcher:
        await watcher.attach("c")
        serial = await client.publish("c", {"name": "n", "data": "a"})
        await client.publish("c", {"action": 2, "serial": serial})
        await client.publish("c", {"action": 2, "serial": serial, "data": ""})
        messages = await watcher.messages()
    assert [(m["action"], m["name"], m["data"]) for m in messages] == [
        (0, "n", "a"),
        (2, "n", "a"),
        (2, "n", ""),
    ]


async def test_versions_of_a_message_ascend(server: LocalServer) -> None:
    async with raw_client(server) as client:
        serial = await client.publish("c", {"data": ""})
        versions = [await client.append("c", serial, str(number)) for number in range(30)]
    assert versions == sorted(set(versions))
    assert serial < versions[0]


async def test_ephemeral_messages_are_delivered_but_not_stored(server: LocalServer) -> None:
    ephemeral = {"data": "gone", "extras": {"ephemeral": True}}
    async with raw_client(server) as client, raw_client(server) as watcher:
        attached = await watcher.attach("c")
        await client.publish("c", {"data": "kept"})
        serial = await client.publish("c", ephemeral)
        await client.publish("c", {"data": "mixed"}, ephemeral)
        assert [m["data"] for m in await watcher.messages()] == ["kept", "gone", "mixed", "gone"]
        assert (await client.refused("c", {"action": 5, "serial": serial, "data": "x"}))["code"] == 40400
        await watcher.attach("c", channelSerial=attached["channelSerial"])
        assert [m["data"] for m in await watcher.messages()] == ["kept", "mixed"]
        await client.attach("c", params={"rewind": "10"})
        assert [m["data"] for m in await client.messages()] == ["kept", "mixed"]


async def test_without_echo_a_connection_does_not_get_its_own_messages(server: LocalServer) -> None:
    async with raw_client(server) as client, raw_client(server, echo="false") as silent:
        await client.attach("c")
        await silent.attach("c")
        serial = await silent.publish("c", {"data": "mine"})
        assert await silent.messages() == []
        assert [m["data"] for m in await client.messages()] == ["mine"]
        # It has not been sent the message, so the first append of somebody else comes in full.
        await client.append("c", serial, "+theirs")
        await client.append("c", serial, "+more")
        assert [(m["action"], m["data"]) for m in await silent.messages()] == [
            (1, "mine+theirs"),
            (5, "+more"),
        ]
