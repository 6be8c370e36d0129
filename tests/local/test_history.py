from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.local.raw_client import raw_client, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock

LINK = re.compile(r'<(\./(\w+)\?[^>]*)>; rel="(\w+)"')


def links(response: httpx.Response) -> dict[str, str]:
    return {rel: url for url, _, rel in LINK.findall(response.headers.get("link", ""))}


async def pages(rest: httpx.AsyncClient, path: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Follow the next links as the SDKs do."""
    url = httpx.URL(rest.base_url).join(path)
    while True:
        response = await rest.get(url)
        assert response.status_code == 200, response.text
        yield response.json()
        following = links(response).get("next")
        if following is None:
            return
        url = url.join(following)


async def everything(rest: httpx.AsyncClient, path: str) -> list[str]:
    return [item["data"] async for page in pages(rest, path) for item in page]


@pytest.fixture
async def five(server: LocalServer) -> list[str]:
    """Five messages on channel `c`: their serials."""
    async with raw_client(server, "alice") as client:
        return [await client.publish("c", {"name": "n", "data": str(number)}) for number in range(5)]


async def test_newest_first_by_default(rest: httpx.AsyncClient, five: list[str]) -> None:
    response = await rest.get("/channels/c/messages")
    assert [item["serial"] for item in response.json()] == five[::-1]
    assert [item["action"] for item in response.json()] == [0] * 5


@pytest.mark.parametrize(("direction", "step"), [("backwards", -1), ("forwards", 1)])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6])
async def test_pages_are_complete_and_end(
    rest: httpx.AsyncClient, five: list[str], direction: str, step: int, limit: int
) -> None:
    path = f"/channels/c/messages?limit={limit}&direction={direction}"
    sizes = [len(page) async for page in pages(rest, path)]
    assert await everything(rest, path) == list("01234")[::step]
    assert all(sizes), "no empty page at the end"
    assert sizes[:-1] == [limit] * (len(sizes) - 1)


async def test_links_are_relative_as_the_sdks_need_them(rest: httpx.AsyncClient, five: list[str]) -> None:
    response = await rest.get("/channels/c/messages?limit=2&key=secret")
    found = links(response)
    assert found.keys() == {"first", "current", "next"}
    assert all(url.startswith("./messages?") for url in found.values())
    assert "secret" not in response.headers["link"]
    last = await rest.get("/channels/c/messages?limit=5")
    assert links(last).keys() == {"first", "current"}
    alias = await rest.get("/channels/c/history?limit=2")
    assert links(alias)["next"].startswith("./history?")


async def test_a_page_does_not_shift_when_messages_arrive(
    rest: httpx.AsyncClient, five: list[str], server: LocalServer
) -> None:
    collected: list[str] = []
    async with raw_client(server) as client:
        async for page in pages(rest, "/channels/c/messages?limit=2"):
            collected += [item["data"] for item in page]
            await client.publish("c", {"data": "later"})
    assert collected == list("43210")


async def test_one_item_a_message_in_its_latest_version(
    rest: httpx.AsyncClient, five: list[str], server: LocalServer
) -> None:
    async with raw_client(server, "bob") as client:
        await client.append("c", five[1], "+")
        version = await client.append("c", five[1], "+")
        await client.publish("c", {"action": 2, "serial": five[3]})
    items = (await rest.get("/channels/c/messages?direction=forwards")).json()
    assert [(item["action"], item["data"]) for item in items] == [
        (0, "0"),
        (1, "1++"),
        (0, "2"),
        (2, "3"),
        (0, "4"),
    ]
    assert items[1]["name"] == "n"
    assert items[1]["clientId"] == "alice"
    assert items[1]["version"]["serial"] == version
    assert items[1]["version"]["clientId"] == "bob"


@pytest.mark.parametrize("spelling", ["from_serial", "fromSerial"])
async def test_history_until_an_attach_point(
    rest: httpx.AsyncClient, five: list[str], server: LocalServer, spelling: str
) -> None:
    async with raw_client(server) as client:
        attached = await client.attach("c")
        await client.publish("c", {"data": "after"})
        await client.append("c", five[0], "+")
    response = await rest.get(
        "/channels/c/messages", params={spelling: attached["channelSerial"], "limit": "3"}
    )
    assert [item["data"] for item in response.json()] == ["4", "3", "2"]
    following = await rest.get(response.url.join(links(response)["next"]))
    assert [item["data"] for item in following.json()] == ["1", "0+"]


async def test_history_until_the_attach_point_of_an_empty_channel(
    rest: httpx.AsyncClient, server: LocalServer
) -> None:
    async with raw_client(server) as client:
        attached = await client.attach("c")
        await client.publish("c", {"data": "after"})
    response = await rest.get("/channels/c/messages", params={"from_serial": attached["channelSerial"]})
    assert response.json() == []


async def test_a_whole_batch_is_within_its_bound(rest: httpx.AsyncClient, server: LocalServer) -> None:
    async with raw_client(server) as client:
        serial = await client.publish("c", *({"data": str(number)} for number in range(3)))
    response = await rest.get("/channels/c/messages", params={"from_serial": serial.partition(":")[0]})
    assert [item["data"] for item in response.json()] == ["2", "1", "0"]


async def test_start_and_end_go_by_the_create_time(timed_server: LocalServer, clock: ManualClock) -> None:
    times: list[int] = []
    async with raw_client(timed_server) as client:
        for number in range(4):
            times.append(clock.now())
            await client.publish("c", {"data": str(number)})
            clock.advance(10)
    async with httpx.AsyncClient(base_url=timed_server.url, trust_env=False) as rest:
        path = f"/channels/c/messages?key={timed_server.key}"
        assert await everything(rest, f"{path}&start={times[1]}&end={times[2]}") == ["2", "1"]
        assert await everything(rest, f"{path}&start={times[3]}") == ["3"]
        assert await everything(rest, f"{path}&end={times[0]}") == ["0"]


async def test_an_unknown_channel_is_empty(rest: httpx.AsyncClient) -> None:
    response = await rest.get("/channels/nobody/messages")
    assert response.status_code == 200
    assert response.json() == []
    assert "next" not in links(response)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "direction=up", "start=noon"])
async def test_impossible_parameters_are_refused(rest: httpx.AsyncClient, query: str) -> None:
    response = await rest.get(f"/channels/c/messages?{query}")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == 40003


async def test_history_in_msgpack(rest: httpx.AsyncClient, five: list[str]) -> None:
    response = await rest.get("/channels/c/messages", headers={"Accept": "application/x-msgpack"})
    assert response.headers["content-type"] == "application/x-msgpack"
    assert [item["serial"] for item in unpack(response.content)] == five[::-1]
