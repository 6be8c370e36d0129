"""Messages of ably-js arrive in every format and in order, and can be changed afterwards."""

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions
from integration_tests.engines.server import Server
from integration_tests.js_process import JsError, Json
from integration_tests.plain_clients.js_ably import JsAbly, JsChannel


@asynccontextmanager
async def pair(server: Server, *, binary: bool, channel: str) -> AsyncGenerator[tuple[JsChannel, JsChannel]]:
    """A publisher and somebody who listens."""
    async with JsAbly(server, binary=binary) as ably:
        for name in ("pub", "sub"):
            await ably.connect(name, client_id=name)
        listening = ably.channel("sub", channel)
        await listening.subscribe()
        yield ably.channel("pub", channel), listening


PAYLOADS: list[object] = [
    "plain",
    "über 日本語 👩‍👩‍👧‍👦 \u2028",
    "",
    {"nested": [1, 2.5, None, True, {"key": "välue"}]},
    [1, 2, 3],
    {"$base64": base64.b64encode(bytes(range(256))).decode()},
]


async def test_every_kind_of_data_arrives_as_it_was(server: Server, binary: bool, channel: str) -> None:
    async with pair(server, binary=binary, channel=channel) as (pub, sub):
        for payload in PAYLOADS:
            await pub.publish({"name": "event", "data": payload, "extras": {"headers": {"a": "1"}}})
        heard = await sub.heard(len(PAYLOADS))

    assert [message["data"] for message in heard] == PAYLOADS
    assert {message["name"] for message in heard} == {"event"}
    assert all(message["extras"] == {"headers": {"a": "1"}} for message in heard)


async def test_the_other_wire_format_hears_the_same(server: Server, binary: bool, channel: str) -> None:
    async with (
        pair(server, binary=binary, channel=channel) as (pub, _),
        JsAbly(server, binary=not binary) as other,
    ):
        await other.connect("other", client_id="other")
        listening = other.channel("other", channel)
        await listening.subscribe()
        for payload in PAYLOADS:
            await pub.publish({"name": "event", "data": payload})

        assert [message["data"] for message in await listening.heard(len(PAYLOADS))] == PAYLOADS


async def test_messages_say_who_published_them_and_when(server: Server, binary: bool, channel: str) -> None:
    async with pair(server, binary=binary, channel=channel) as (pub, sub):
        [serial] = await pub.publish({"name": "event", "data": "x"})
        [message] = await sub.heard()
        publisher = await pub.process.connection("pub")

    assert message["action"] == "message.create"
    assert message["clientId"] == "pub"
    assert message["connectionId"] == publisher["connectionId"]
    assert message["serial"] == message["version"]["serial"] == serial
    assert message["timestamp"] == message["version"]["timestamp"]


async def test_a_batch_arrives_whole_with_a_serial_for_each(
    server: Server, binary: bool, channel: str
) -> None:
    async with pair(server, binary=binary, channel=channel) as (pub, sub):
        serials = await pub.publish(*({"name": "part", "data": str(number)} for number in range(3)))
        heard = await sub.heard(3)

    assert [message["serial"] for message in heard] == serials
    assert serials == sorted(serials, key=str)
    assert [message["data"] for message in heard] == ["0", "1", "2"]


async def test_who_publishes_hears_it_too_unless_it_said_no(
    server: Server, binary: bool, channel: str
) -> None:
    async with JsAbly(server, binary=binary) as ably:
        await ably.connect("loud", client_id="loud")
        await ably.connect("quiet", client_id="quiet", echoMessages=False)
        loud, quiet = ably.channel("loud", channel), ably.channel("quiet", channel)
        for client in (loud, quiet):
            await client.subscribe()
        await quiet.publish({"name": "event", "data": "from quiet"})
        await loud.publish({"name": "event", "data": "from loud"})

        assert [message["data"] for message in await loud.heard(2)] == ["from quiet", "from loud"]
        assert [message["data"] for message in await quiet.heard(1)] == ["from loud"]
        assert not quiet.unheard()


async def test_what_is_appended_arrives_piece_by_piece(server: Server, binary: bool, channel: str) -> None:
    async with pair(server, binary=binary, channel=channel) as (pub, sub):
        [serial] = await pub.publish({"name": "stream", "data": "a", "extras": {"headers": {"n": "0"}}})
        assert serial is not None
        versions = [
            await pub.append(serial, piece, extras={"headers": {"n": piece}}) for piece in ("b", "ç", "👍")
        ]
        heard = await sub.heard(4)

    assert [message["action"] for message in heard] == ["message.create", *["message.append"] * 3]
    assert [message["data"] for message in heard] == ["a", "b", "ç", "👍"]
    assert {(message["serial"], message["name"]) for message in heard} == {(serial, "stream")}
    assert [message["version"]["serial"] for message in heard[1:]] == versions
    assert versions == sorted(versions, key=str)
    assert [message["extras"] for message in heard[1:]] == [{"headers": {"n": n}} for n in ("b", "ç", "👍")]
    assert len({message["timestamp"] for message in heard}) == 1


async def test_who_comes_later_hears_the_whole_text_first(server: Server, binary: bool, channel: str) -> None:
    async with pair(server, binary=binary, channel=channel) as (pub, _):
        [serial] = await pub.publish({"name": "stream", "data": "one "})
        assert serial is not None
        await pub.append(serial, "two ")
        await pub.process.connect("late", client_id="late")
        late = pub.process.channel("late", channel)
        await late.subscribe()
        await pub.append(serial, "three ")
        await pub.append(serial, "four")
        heard = await late.heard(2)

    assert [(message["action"], message["data"]) for message in heard] == [
        ("message.update", "one two three "),
        ("message.append", "four"),
    ]
    assert {message["name"] for message in heard} == {"stream"}


async def test_a_message_is_replaced_and_deleted(server: Server, binary: bool, channel: str) -> None:
    async with pair(server, binary=binary, channel=channel) as (pub, sub):
        [serial] = await pub.publish({"name": "note", "data": "first", "extras": {"headers": {"a": "1"}}})
        assert serial is not None
        await pub.update(serial, data="second")
        await pub.delete(serial)
        heard = await sub.heard(3)
        kept = await pub.message(serial)
        versions = await pub.versions(serial)

    assert [message["action"] for message in heard] == ["message.create", "message.update", "message.delete"]
    assert [message["data"] for message in heard[:2]] == ["first", "second"]
    assert heard[1]["extras"] == {"headers": {"a": "1"}}
    assert kept["action"] == "message.delete"
    assert [version["action"] for version in versions] == [message["action"] for message in heard]


@pytest.mark.parametrize(
    ("channel", "serial", "code"),
    [
        ("immutable:notes", None, 93002),
        ("test:messages", "01700000000000-000@abcdefghij:000", 40400),
    ],
    ids=["immutable channel", "unknown message"],
)
async def test_what_cannot_be_changed_is_refused(
    server: Server, binary: bool, channel: str, serial: str | None, code: int
) -> None:
    async with pair(server, binary=binary, channel=channel) as (pub, _):
        [published] = await pub.publish({"name": "note", "data": "first"})
        with pytest.raises(JsError) as refused:
            await pub.append(serial or str(published), "more")

        assert refused.value.code == code
        assert await pub.publish({"name": "note", "data": "goes on"})


async def test_merged_appends_are_acknowledged_each_and_make_up_the_same_text(
    binary: bool, channel: str
) -> None:
    options = LocalServerOptions(append_rollup_window_ms=20)
    pieces = [f"{number} " for number in range(50)]
    async with LocalServer(options) as server, pair(server, binary=binary, channel=channel) as (pub, sub):
        [serial] = await pub.publish({"name": "stream", "data": ""})
        assert serial is not None
        requests = [
            await pub.process.start(
                "append", client="pub", channel=channel, message={"serial": serial, "data": piece}
            )
            for piece in pieces
        ]
        versions = [await request.result() for request in requests]
        heard = await text_until(sub, "".join(pieces))

    assert versions[-1] is not None
    assert len(heard) < len(pieces)


async def text_until(channel: JsChannel, wanted: str) -> list[Json]:
    """Listen until a stream has its text; return what was heard."""
    heard: list[Json] = []
    while "".join(message["data"] for message in heard) != wanted:
        heard += await channel.heard()
    return heard


async def test_a_number_beyond_64_bits_is_published_once(server: Server, channel: str) -> None:
    """JavaScript writes 1e20 without an exponent, and msgpack has no such integer."""
    extras = {"headers": {"n": 1e20, "m": -1e19, "o": 2**53}}
    async with JsAbly(server, binary=False) as in_json, JsAbly(server, binary=True) as in_msgpack:
        channels: list[JsChannel] = []
        for process, client in ((in_json, "json"), (in_msgpack, "msgpack")):
            await process.connect(client, client_id=client)
            channels.append(process.channel(client, channel))
            await channels[-1].subscribe()
        before = await in_json.connection("json")
        await channels[0].publish({"name": "large", "extras": extras})
        await channels[0].publish({"name": "after"})
        assert await in_json.connection("json") == before
        for reader in channels:
            large, after = await reader.heard(2)
            assert (large["name"], large["extras"], after["name"]) == ("large", extras, "after")
            (page,) = await reader.history(direction="forwards")
            assert [(message["name"], message["extras"]) for message in page[:1]] == [("large", extras)]
            assert len(page) == 2
            assert list(reader.unheard()) == []


async def test_what_no_server_can_carry_is_refused_once(server: Server, channel: str) -> None:
    """The publish fails, and the connection and its other publishes go on."""
    deep: object = "x"
    for _ in range(200):
        deep = [deep]
    async with JsAbly(server, binary=False) as ably:
        await ably.connect("pub", client_id="pub")
        pub = ably.channel("pub", channel)
        await pub.subscribe()
        before = await ably.connection("pub")
        with pytest.raises(JsError, match="nests more than"):
            await pub.publish({"name": "deep", "extras": {"headers": {"deep": deep}}})
        await pub.publish({"name": "after"})
        assert [message["name"] for message in await pub.heard()] == ["after"]
        assert await ably.connection("pub") == before
