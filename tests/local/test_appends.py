"""In which form a subscriber gets an append."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.local.raw_client import WireFormat, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local import LocalServer
    from tests.local.raw_client import Frame


def forms(messages: list[Frame]) -> list[tuple[int, str]]:
    return [(m["action"], m["data"]) for m in messages]


async def test_who_saw_the_create_gets_deltas(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server) as publisher, raw_client(server, format_=wire_format) as subscriber:
        await subscriber.attach("c")
        serial = await publisher.publish("c", {"data": "a"})
        await publisher.append("c", serial, "b")
        await publisher.append("c", serial, "c")
        assert forms(await subscriber.messages()) == [(0, "a"), (5, "b"), (5, "c")]


async def test_who_attached_later_gets_the_whole_first(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server) as publisher, raw_client(server, format_=wire_format) as subscriber:
        serial = await publisher.publish("c", {"name": "n", "data": "a"})
        await publisher.append("c", serial, "b")
        await subscriber.attach("c")
        version = await publisher.append("c", serial, "c")
        await publisher.append("c", serial, "d")
        messages = await subscriber.messages()
    assert forms(messages) == [(1, "abc"), (5, "d")]
    assert messages[0]["version"]["serial"] == version
    assert messages[0]["name"] == "n"


async def test_who_saw_any_version_gets_deltas(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server) as subscriber:
        rewound = await publisher.publish("c", {"data": "r"})
        updated = await publisher.publish("c", {"data": "u"})
        await subscriber.attach("c", params={"rewind": "1"})
        await publisher.append("c", updated, "1")
        await publisher.publish("c", {"action": 1, "serial": rewound, "data": "R"})
        await publisher.append("c", rewound, "1")
        assert forms(await subscriber.messages()) == [(0, "u"), (5, "1"), (1, "R"), (5, "1")]


async def test_append_mode_full_always_gets_the_whole(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server) as subscriber:
        attached = await subscriber.attach("c", params={"appendMode": "full"})
        assert attached["params"] == {"appendMode": "full"}
        serial = await publisher.publish("c", {"data": "a"})
        await publisher.append("c", serial, "b")
        await publisher.append("c", serial, "c")
        assert forms(await subscriber.messages()) == [(0, "a"), (1, "ab"), (1, "abc")]


async def test_subscribers_in_different_positions_each_get_their_form(server: LocalServer) -> None:
    async with (
        raw_client(server) as publisher,
        raw_client(server) as early,
        raw_client(server, format_="msgpack") as late,
    ):
        await early.attach("c")
        serial = await publisher.publish("c", {"data": "a"})
        await late.attach("c")
        await publisher.append("c", serial, "b")
        assert forms(await early.messages()) == [(0, "a"), (5, "b")]
        assert forms(await late.messages()) == [(1, "ab")]


async def test_an_append_without_data_changes_extras_only(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server) as subscriber:
        await subscriber.attach("c")
        serial = await publisher.publish("c", {"data": "a"})
        await publisher.publish("c", {"action": 5, "serial": serial, "extras": {"done": True}})
        await publisher.attach("c", params={"rewind": "1"})
        (whole,) = await publisher.messages()
        delta = (await subscriber.messages())[1]
    assert delta["action"] == 5
    assert "data" not in delta
    assert delta["extras"] == {"done": True}
    assert whole["data"] == "a"


async def test_an_append_to_a_message_without_data_is_its_data(server: LocalServer) -> None:
    async with raw_client(server) as client:
        serial = await client.publish("c", {"name": "n"})
        await client.append("c", serial, "a")
        await client.append("c", serial, "b")
        await client.attach("c", params={"rewind": "1"})
        assert forms(await client.messages()) == [(1, "ab")]


async def test_text_cannot_be_appended_to_binary(server: LocalServer) -> None:
    async with raw_client(server) as client:
        serial = await client.publish("c", {"data": "AQI=", "encoding": "base64"})
        error = await client.refused("c", {"action": 5, "serial": serial, "data": "text"})
    assert error["code"] == 40000
