from __future__ import annotations

import base64
from urllib.parse import quote

import httpx
import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action
from tests.local.manual_clock import START, ManualClock
from tests.local.raw_client import pack, raw_client, unpack

MSGPACK = {"Accept": "application/x-msgpack", "Content-Type": "application/x-msgpack"}


async def test_time_needs_no_credentials(timed_server: LocalServer, clock: ManualClock) -> None:
    async with httpx.AsyncClient(base_url=timed_server.url, trust_env=False) as anyone:
        clock.advance(5)
        assert (await anyone.get("/time")).json() == [START + 5]
        packed = await anyone.get("/time", headers={"Accept": "application/x-msgpack"})
        assert unpack(packed.content) == [START + 5]


async def test_publish_one_or_several(rest: httpx.AsyncClient, server: LocalServer) -> None:
    async with raw_client(server) as subscriber:
        await subscriber.attach("c")
        one = await rest.post("/channels/c/messages", json={"name": "n", "data": "1", "clientId": "x"})
        two = await rest.post("/channels/c/messages", json=[{"data": "2"}, {"data": {"is": "object"}}])
        first, second = await subscriber.settled()
    assert one.status_code == two.status_code == 201
    assert one.json()["channel"] == "c"
    assert one.json()["serials"] == [first["messages"][0]["serial"]]
    assert one.json()["messageId"] == first["messages"][0]["id"]
    assert first["messages"][0]["clientId"] == "x"
    assert "connectionId" not in first
    assert two.json()["serials"] == [m["serial"] for m in second["messages"]]
    assert second["messages"][1]["data"] == '{"is":"object"}'
    assert second["messages"][1]["encoding"] == "json"


async def test_publish_in_msgpack(rest: httpx.AsyncClient, server: LocalServer) -> None:
    async with raw_client(server) as subscriber:
        await subscriber.attach("c")
        response = await rest.post(
            "/channels/c/messages", content=pack([{"data": b"\x00\xff"}]), headers=MSGPACK
        )
        (message,) = await subscriber.messages()
    assert unpack(response.content)["serials"] == [message["serial"]]
    assert (message["data"], message["encoding"]) == (base64.b64encode(b"\x00\xff").decode(), "base64")


async def test_a_publish_is_idempotent_by_its_id(rest: httpx.AsyncClient) -> None:
    body = [{"id": "base:0", "data": "x"}]
    first = await rest.post("/channels/c/messages", json=body)
    again = await rest.post("/channels/c/messages", json=body)
    assert first.json() == again.json()
    assert len((await rest.get("/channels/c/messages")).json()) == 1


async def test_a_message_and_its_versions(rest: httpx.AsyncClient, server: LocalServer) -> None:
    async with raw_client(server) as client:
        serial = await client.publish("c", {"data": "a"})
        await client.append("c", serial, "b")
        appended = await client.append("c", serial, "c")
        updated = await client.publish("c", {"action": 1, "serial": serial, "data": "U"})
        deleted = await client.publish("c", {"action": 2, "serial": serial})
    path = f"/channels/c/messages/{quote(serial, safe='')}"
    message = (await rest.get(path)).json()
    assert (message["action"], message["data"], message["version"]["serial"]) == (2, "U", deleted)
    versions = (await rest.get(f"{path}/versions")).json()
    assert [(v["action"], v["data"], v["version"]["serial"]) for v in versions] == [
        (0, "a", serial),
        (1, "abc", appended),
        (1, "U", updated),
        (2, "U", deleted),
    ]


async def test_patch_changes_a_message(rest: httpx.AsyncClient, server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("c")
        serial = await client.publish("c", {"name": "n", "data": "a"})
        path = f"/channels/c/messages/{quote(serial, safe='')}"
        operation = {"description": "why"}
        appended = await rest.patch(path, json={"action": 5, "data": "b", "version": operation})
        updated = await rest.patch(path, json={"action": 1, "serial": serial, "data": "U"})
        _, delta, update = await client.messages()
    assert appended.status_code == 200
    assert appended.json()["versionSerial"] == delta["version"]["serial"]
    assert (delta["action"], delta["data"], delta["name"]) == (5, "b", "n")
    assert delta["version"]["description"] == "why"
    assert updated.json()["versionSerial"] == update["version"]["serial"]
    assert (update["action"], update["data"]) == (1, "U")


async def test_a_channel_name_may_hold_anything(rest: httpx.AsyncClient) -> None:
    name = "a/b?c=d%20 é:#1"
    path = f"/channels/{quote(name, safe='')}/messages"
    assert (await rest.post(path, json={"data": "x"})).json()["channel"] == name
    assert [item["data"] for item in (await rest.get(path)).json()] == ["x"]


async def test_status_of_a_channel(rest: httpx.AsyncClient, server: LocalServer) -> None:
    idle = (await rest.get("/channels/c")).json()
    assert idle["channelId"] == "c"
    assert idle["status"]["occupancy"]["metrics"]["connections"] == 0
    async with raw_client(server) as client:
        await client.attach("c")
        active = (await rest.get("/channels/c")).json()
    assert active["status"]["isActive"] is True
    assert active["status"]["occupancy"]["metrics"]["connections"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/channels/c/messages/01-0@x:000", None, 404, 40400),
        ("GET", "/channels/c/messages/01-0@x:000/versions", None, 404, 40400),
        ("PATCH", "/channels/c/messages/01-0@x:000", {"action": 5, "data": "x"}, 404, 40400),
        ("PATCH", "/channels/c/messages/a", {"action": 0}, 400, 40000),
        ("PATCH", "/channels/c/messages/a", {"action": 1, "serial": "b"}, 400, 40000),
        ("PATCH", "/channels/immutable:c/messages/a", {"action": 5}, 400, 93002),
        ("POST", "/channels/c/messages", {"action": 5, "serial": "x"}, 400, 40000),
        ("POST", "/channels/c/messages", [], 400, 40000),
        ("POST", "/channels/c/messages", None, 400, 40000),
        ("POST", "/channels/c/messages", {"data": 5}, 400, 40013),
        ("POST", "/channels/:c/messages", {"data": "x"}, 400, 40010),
        ("PUT", "/channels/c/messages", None, 405, 40500),
        ("GET", "/push/deviceRegistrations", None, 404, 40400),
        ("GET", "/channels/c/messages/a/annotations", None, 404, 40400),
    ],
)
async def test_errors_are_written_as_ably_writes_them(
    rest: httpx.AsyncClient, method: str, path: str, body: object, status: int, code: int
) -> None:
    response = (
        await rest.request(method, path, json=body) if body is not None else await rest.request(method, path)
    )
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["code"], error["statusCode"]) == (code, status)
    assert error["message"]
    assert response.headers["x-ably-errorcode"] == str(code)


async def test_a_body_that_is_no_json_is_refused(rest: httpx.AsyncClient) -> None:
    response = await rest.post("/channels/c/messages", content=b"{")
    assert response.json()["error"]["code"] == 40000


async def test_browsers_may_call_and_read_the_links(rest: httpx.AsyncClient) -> None:
    origin = {"Origin": "http://example.test"}
    preflight = await rest.options(
        "/channels/c/messages",
        headers={
            **origin,
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "authorization,x-ably-version",
        },
    )
    assert preflight.status_code == 200
    assert "PATCH" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    response = await rest.get("/channels/c/messages", headers=origin)
    assert response.headers["access-control-allow-origin"] in ("*", origin["Origin"])
    assert "Link" in response.headers["access-control-expose-headers"]


async def test_an_envelope_holds_status_and_headers(rest: httpx.AsyncClient) -> None:
    for number in range(2):
        await rest.post("/channels/c/messages", json={"data": str(number)})
    page = (await rest.get("/channels/c/messages?limit=1&envelope=json", headers=MSGPACK)).json()
    assert page["statusCode"] == 200
    assert [item["data"] for item in page["response"]] == ["1"]
    assert 'rel="next"' in page["headers"]["link"]
    failure = await rest.get("/channels/c/messages/x?envelope=json")
    assert failure.status_code == 200
    assert failure.json()["statusCode"] == 404
    assert failure.json()["response"]["error"]["code"] == 40400


async def test_a_publish_for_a_connection(rest: httpx.AsyncClient, server: LocalServer) -> None:
    # TM2h
    async with raw_client(server, "alice") as alice:
        await alice.attach("c")
        message = {"data": "x", "connectionKey": alice.key}
        assert (await rest.post("/channels/c/messages", json=message)).status_code == 201
        [frame] = [frame for frame in await alice.settled() if frame["action"] == Action.MESSAGE]
        assert frame["messages"][0]["connectionId"] == alice.id
        assert "connectionKey" not in frame["messages"][0]
        for key in (f"{alice.id}!guess", "nonsense"):
            refused = await rest.post("/channels/c/messages", json={"data": "x", "connectionKey": key})
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, 40006)


async def test_who_changes_a_message_is_told_by_the_operation(
    rest: httpx.AsyncClient, server: LocalServer
) -> None:
    created = await rest.post("/channels/c/messages", json={"data": "x", "clientId": "author"})
    serial = created.json()["serials"][0]
    change = {"action": 1, "data": "y", "version": {"clientId": "editor", "description": "typo"}}
    await rest.patch(f"/channels/c/messages/{serial}", json=change)
    message = (await rest.get(f"/channels/c/messages/{serial}")).json()
    assert (message["clientId"], message["version"]["clientId"]) == ("author", "editor")
    assert message["version"]["description"] == "typo"


async def test_channels_can_be_listed(rest: httpx.AsyncClient) -> None:
    for name in ("b", "a:2", "a:1"):
        await rest.post(f"/channels/{name}/messages", json={"data": "x"})
    first = await rest.get("/channels", params={"by": "id", "limit": "2"})
    assert first.json() == ["a:1", "a:2"]
    following = first.links["next"]["url"].removeprefix("./")
    assert (await rest.get(f"/{following}")).json() == ["b"]
    details = (await rest.get("/channels", params={"prefix": "a:"})).json()
    assert [item["channelId"] for item in details] == ["a:1", "a:2"]


async def test_a_name_of_control_characters_is_answered(rest: httpx.AsyncClient) -> None:
    # The message of an error is a header as well, which cannot hold them.
    response = await rest.get("/%00%0d%0aX-Injected:%20yes")
    assert response.status_code == 404
    assert "X-Injected" not in response.headers


async def test_what_is_not_here_says_so(rest: httpx.AsyncClient) -> None:
    for path, what in (
        ("/push/channelSubscriptions", "push notifications"),
        ("/channels/c/objects", "LiveObjects"),
        ("/channels/c/messages/x/annotations", "annotations"),
    ):
        response = await rest.get(path)
        assert response.status_code == 404
        assert response.json()["error"]["message"] == f"{what} are not supported by the local server"


async def test_browsers_may_ask_with_credentials(rest: httpx.AsyncClient) -> None:
    """The JavaScript SDK does, for history; a wildcard or a header that is not exposed would fail it."""
    origin = "http://localhost:3000"
    asks = {
        "Origin": origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization,x-ably-version",
    }
    preflight = await rest.options("/channels/c/messages", headers=asks)
    answer = await rest.get("/channels/c/messages", headers={"Origin": origin})
    for response in (preflight, answer):
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["access-control-allow-credentials"] == "true"
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    assert "Link" in answer.headers["access-control-expose-headers"]


async def test_only_pages_that_are_named_may_ask() -> None:
    async with (
        LocalServer(LocalServerOptions(cors_origins=("http://localhost:3000",))) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as http,
    ):
        for origin, allowed in (("http://localhost:3000", True), ("http://elsewhere.example", False)):
            answer = await http.get("/time", headers={"Origin": origin})
            assert ("access-control-allow-origin" in answer.headers) is allowed
