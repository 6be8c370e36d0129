"""Channel names of any kind in REST URLs, as each client spells them; and HEAD."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import pytest
from ably import AblyRealtime
from ably.types.message import Message

from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    import httpx

    from ably_ai_transport.local import LocalServer

NAMES = [
    ".",
    "..",
    "...",
    "../..",
    "a/../b",
    "a/b",
    "/",
    "%",
    "%2e%2e",
    "100%",
    "a b",
    "a+b",
    "a?b#c",
    "é😀",
    "\\",
    "messages",
    "presence",
]


@pytest.mark.parametrize("name", NAMES)
async def test_the_python_sdk_finds_its_channel_whatever_its_name(server: LocalServer, name: str) -> None:
    client = cast("Any", AblyRealtime)(**server.python_options("alice"))
    try:
        channel = client.channels.get(name)
        await channel.attach()
        serial = (await channel.publish("n", "a")).serials[0]
        await channel.append_message(Message(serial=serial, data="b"))
        assert (await channel.get_message(serial)).data == "ab"
        versions = await channel.get_message_versions(serial)
        assert [version.data for version in versions.items] == ["a", "ab"]
        page = await channel.history(limit=1)
        assert [message.data for message in page.items] == ["ab"]
        await channel.publish("n", "c")
        page = await channel.history(limit=1)
        following = await page.next()
        assert [message.data for message in [*page.items, *following.items]] == ["c", "ab"]
    finally:
        await client.close()


@pytest.mark.parametrize("name", NAMES)
async def test_an_http_client_finds_a_channel_whatever_its_name(
    rest: httpx.AsyncClient, server: LocalServer, name: str
) -> None:
    """`httpx` resolves `.` and `..` before it sends them."""
    path = f"/channels/{quote(name, safe='')}"
    published = await rest.post(f"{path}/messages", json={"data": "a"})
    assert published.json()["channel"] == name
    serial = published.json()["serials"][0]
    changed = await rest.patch(f"{path}/messages/{serial}", json={"action": 5, "data": "b"})
    assert changed.json()["channel"] == name
    page = await rest.get(f"{path}/messages", params={"limit": 1})
    assert [item["data"] for item in page.json()] == ["ab"]
    assert (await rest.get(f"{path}/messages/{serial}")).json()["data"] == "ab"
    assert len((await rest.get(f"{path}/messages/{serial}/versions")).json()) == 2
    async with raw_client(server, "alice") as alice:
        await alice.attach(name)
        await alice.send(
            {"action": 14, "channel": name, "msgSerial": 0, "presence": [{"action": 2, "data": "x"}]}
        )
        await alice.answer()
        members = (await rest.get(f"{path}/presence", params={"limit": 10})).json()
        assert [member["clientId"] for member in members] == ["alice"]


@pytest.mark.parametrize("name", [".", "..", "%2E", "%2e%2e", "%2E."])
async def test_a_path_that_is_sent_as_it_is_names_its_channel(server: LocalServer, name: str) -> None:
    async with raw_client(server) as client:
        await client.publish(name.lower().replace("%2e", "."), {"data": "x"})
    reader, writer = await asyncio.open_connection(server.host, server.port)
    path = f"/channels/{name}/messages?key={quote(server.key)}"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    said = await reader.read()
    writer.close()
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b'"data":"x"' in said


async def test_paths_that_mean_something_else_keep_their_meaning(
    rest: httpx.AsyncClient, server: LocalServer
) -> None:
    async with raw_client(server) as client:
        await client.publish("messages", {"data": "x"})
    assert (await rest.get("/channels/messages")).json()["channelId"] == "messages"
    assert [m["data"] for m in (await rest.get("/channels/messages/messages")).json()] == ["x"]
    batch = await rest.post("/messages", json={"channels": ["a", "b"], "messages": {"data": "y"}})
    assert [item["channel"] for item in batch.json()] == ["a", "b"]
    assert (await rest.get("/presence", params={"channels": "a,b"})).json()["successCount"] == 2
    assert (await rest.get("/presence")).json()["error"]["code"] == 40000
    assert (await rest.get("/nothing")).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/time",
        "/channels/c/messages",
        "/channels/c",
        "/channels/c/presence",
        "/channels",
        "/stats",
        "/nothing",
    ],
)
async def test_head_is_answered_as_get_without_the_body(rest: httpx.AsyncClient, path: str) -> None:
    await rest.post("/channels/c/messages", json={"data": "x"})
    got, headed = await rest.get(path), await rest.head(path)
    assert headed.status_code == got.status_code
    assert headed.content == b""
    for name in ("content-type", "content-length", "link", "x-ably-errorcode"):
        assert headed.headers.get(name) == got.headers.get(name)
    assert (await rest.get("/time")).status_code == 200
