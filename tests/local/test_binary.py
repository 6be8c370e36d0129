"""Binary data between JSON and msgpack clients."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from ably_ai_transport.local.protocol.frames import Action, PresenceAction
from tests.local.raw_client import WireFormat, raw_client

if TYPE_CHECKING:
    from ably_ai_transport.local import LocalServer

RAW = b"\x00\x01\xfe\xff"
TEXT = base64.b64encode(RAW).decode()


def sent(format_: WireFormat, encoding: str = "") -> dict[str, object]:
    """The message as a client of this format writes it."""
    if format_ == "msgpack":
        return {"data": RAW, **({"encoding": encoding} if encoding else {})}
    return {"data": TEXT, "encoding": f"{encoding}/base64" if encoding else "base64"}


@pytest.mark.parametrize("encoding", ["", "utf-8/cipher+aes-256-cbc"])
@pytest.mark.parametrize("publisher_format", ["json", "msgpack"])
async def test_binary_reaches_each_client_in_its_format(
    server: LocalServer, wire_format: WireFormat, publisher_format: WireFormat, encoding: str
) -> None:
    async with (
        raw_client(server, format_=publisher_format) as publisher,
        raw_client(server, format_=wire_format) as subscriber,
    ):
        await subscriber.attach("c")
        await publisher.publish("c", sent(publisher_format, encoding))
        (live,) = await subscriber.messages()
        await subscriber.attach("c", params={"rewind": "1"})
        (rewound,) = await subscriber.messages()
    expected = sent(wire_format, encoding)
    for message in (live, rewound):
        assert {key: message[key] for key in ("data", "encoding") if key in message} == expected


async def test_binary_appends_are_joined(server: LocalServer, wire_format: WireFormat) -> None:
    async with raw_client(server, format_=wire_format) as client, raw_client(server) as late:
        serial = await client.publish("c", sent(wire_format))
        await client.publish("c", {"action": 5, "serial": serial, **sent(wire_format)})
        await late.attach("c", params={"rewind": "1"})
        (message,) = await late.messages()
    assert base64.b64decode(message["data"]) == RAW + RAW
    assert message["encoding"] == "base64"


async def test_text_that_is_encoded_passes_as_it_is(server: LocalServer, wire_format: WireFormat) -> None:
    message = {"data": '{"a":1}', "encoding": "json"}
    async with raw_client(server) as publisher, raw_client(server, format_=wire_format) as subscriber:
        await subscriber.attach("c")
        await publisher.publish("c", message)
        (got,) = await subscriber.messages()
    assert (got["data"], got["encoding"]) == ('{"a":1}', "json")


@pytest.mark.parametrize("text", ["", "äöü €", "🎉 日本語", "\u2028\u2029\x00", '"\\/'])
async def test_any_text_passes(server: LocalServer, wire_format: WireFormat, text: str) -> None:
    async with raw_client(server) as publisher, raw_client(server, format_=wire_format) as subscriber:
        await subscriber.attach("c")
        await publisher.publish("c", {"name": text, "data": text, "extras": {"key": text}})
        (got,) = await subscriber.messages()
    assert (got["name"], got["data"], got["extras"]) == (text, text, {"key": text})


async def test_half_a_surrogate_pair_does_no_harm(server: LocalServer) -> None:
    async with raw_client(server) as publisher, raw_client(server, format_="msgpack") as subscriber:
        await publisher.attach("c")
        await subscriber.attach("c")
        await publisher.post("c", {"data": "\ud83d"})
        assert [m["data"] for m in await publisher.messages()] == ["\ufffd"]
        assert [m["data"] for m in await subscriber.messages()] == ["\ufffd"]


async def test_binary_in_extras_is_refused(server: LocalServer) -> None:
    async with raw_client(server, format_="msgpack") as publisher:
        error = await publisher.refused("c", {"data": "x", "extras": {"raw": RAW}})
    assert (error["code"], "JSON cannot carry binary" in error["message"]) == (40000, True)


async def test_binary_presence_data(server: LocalServer) -> None:
    async with raw_client(server, "alice", format_="msgpack") as alice, raw_client(server) as watcher:
        await watcher.attach("c")
        await alice.send(
            {
                "action": Action.PRESENCE,
                "channel": "c",
                "msgSerial": 0,
                "presence": [{"action": PresenceAction.ENTER, "data": RAW}],
            }
        )
        await alice.answer()
        (frame,) = await watcher.settled()
    (member,) = frame["presence"]
    assert (member["data"], member["encoding"]) == (TEXT, "base64")
