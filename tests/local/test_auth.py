from __future__ import annotations

import base64
import hashlib
import hmac
import time
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action, Flag
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.local.manual_clock import ManualClock
    from tests.local.raw_client import Frame


@pytest.fixture
async def anyone(server: LocalServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        yield client


async def refusal(server: LocalServer, client_id: str | None = None, **params: str) -> Frame:
    """Open a websocket that is turned away; returns the error."""
    async with raw_client(server, client_id, format_="json", credentials=False, **params) as client:
        frame = client.connected
    assert frame["action"] == Action.ERROR
    assert "channel" not in frame
    return frame["error"]


async def test_bad_credentials_fail_the_connection(server: LocalServer) -> None:
    name, _, secret = server.key.partition(":")
    for key in (f"{name}:wrong", f"wrong:{secret}", "nonsense"):
        assert (await refusal(server, key=key))["code"] == 40101
    assert (await refusal(server))["code"] == 40101


@pytest.mark.parametrize("parameter", ["access_token", "accessToken"])
async def test_a_token_identifies_its_client(server: LocalServer, parameter: str) -> None:
    token = server.token("alice")
    params = {parameter: token}
    async with raw_client(server, format_="json", credentials=False, **params) as client:
        assert client.connected["connectionDetails"]["clientId"] == "alice"
        await client.attach("c")
        await client.post("c", {"data": "x"})
        (message,) = await client.messages()
    assert message["clientId"] == "alice"


async def test_an_anonymous_token_has_no_client_id(server: LocalServer) -> None:
    async with raw_client(server, credentials=False, access_token=server.token()) as client:
        assert "clientId" not in client.connected["connectionDetails"]
        await client.attach("c")
        await client.post("c", {"data": "x"})
        (message,) = await client.messages()
        assert "clientId" not in message
        assert (await client.refused("c", {"data": "x", "clientId": "alice"}))["code"] == 40012


async def test_client_ids_may_be_assumed_where_allowed(server: LocalServer) -> None:
    async with raw_client(server, "bob", credentials=False, access_token=server.token("*")) as client:
        assert client.connected["connectionDetails"]["clientId"] == "bob"
    for token in (server.token("alice"), server.token()):
        assert (await refusal(server, "bob", access_token=token))["code"] == 40102
    assert (await refusal(server, "*", key=server.key))["code"] == 40012


async def test_a_message_may_not_claim_another_client(server: LocalServer) -> None:
    async with raw_client(server, "alice") as client:
        await client.publish("c", {"data": "x", "clientId": "alice"})
        error = await client.refused("c", {"data": "x", "clientId": "bob"})
    assert (error["code"], error["statusCode"]) == (40012, 400)


async def test_a_wildcard_client_names_the_author(server: LocalServer) -> None:
    async with raw_client(server) as client:
        await client.attach("c")
        await client.post("c", {"data": "x", "clientId": "anyone"})
        await client.post("c", {"data": "y"})
        named, unnamed = await client.messages()
    assert named["clientId"] == "anyone"
    assert "clientId" not in unnamed


async def test_tokens_that_do_not_hold(server: LocalServer) -> None:
    async with LocalServer() as other:
        foreign = other.token("alice")
    header, _, signature = server.token("alice").split(".")
    claims = server.token("bob").split(".")[1]
    for token, code in (
        (server.token("alice", ttl=-1), 40142),
        (foreign, 40101),
        (f"{header}.{claims}.{signature}", 40101),
        ("nonsense", 40101),
        ("a.b.c", 40144),
    ):
        assert (await refusal(server, access_token=token))["code"] == code


async def test_short_secrets_are_fine() -> None:
    async with LocalServer(LocalServerOptions(keys=("app.key:s", "app.two:t"))) as server:
        assert server.key == "app.key:s"
        async with raw_client(server, credentials=False, access_token=server.token("alice")) as client:
            assert client.connected["connectionDetails"]["clientId"] == "alice"
        async with raw_client(server, credentials=False, key="app.two:t") as client:
            assert client.connected["action"] == Action.CONNECTED


def test_a_key_must_look_like_one() -> None:
    with pytest.raises(ValueError, match=r"app\.key:secret"):
        LocalServer(LocalServerOptions(keys=("nonsense",)))


# Capabilities


async def test_capability_limits_what_may_be_done(server: LocalServer) -> None:
    token = server.token("alice", capability={"ns:*": ["subscribe"], "ns:open": ["publish"]})
    async with raw_client(server, credentials=False, access_token=token) as client:
        attached = await client.attach("ns:quiet")
        assert attached["flags"] & Flag.SUBSCRIBE
        assert not attached["flags"] & Flag.PUBLISH
        assert (await client.attach("ns:open"))["flags"] & Flag.PUBLISH
        error = await client.refused("ns:quiet", {"data": "x"})
        assert (error["code"], error["statusCode"]) == (40160, 401)
        await client.publish("ns:open", {"data": "x"})
        await client.send({"action": Action.ATTACH, "channel": "other"})
        frame = await client.until(Action.ERROR)
        assert (frame["channel"], frame["error"]["code"]) == ("other", 40160)


async def test_capability_covers_rest(server: LocalServer, anyone: httpx.AsyncClient) -> None:
    token = server.token(capability={"c": ["publish"]})
    headers = {"Authorization": f"Bearer {token}"}
    assert (await anyone.post("/channels/c/messages", json={"data": "x"}, headers=headers)).status_code == 201
    refused = await anyone.get("/channels/c/messages", headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, 40160)


@pytest.mark.parametrize(
    ("client_id", "operation", "own", "code"),
    [
        ("alice", "message-update-own", True, None),
        ("alice", "message-update-own", False, 40160),
        ("alice", "message-update-any", False, None),
        ("alice", "message-delete-any", True, 40160),
        (None, "message-update-own", False, 40166),
        (None, "message-update-any", False, None),
    ],
)
async def test_own_messages_and_those_of_others(
    server: LocalServer, client_id: str | None, operation: str, own: bool, code: int | None
) -> None:
    token = server.token(client_id, capability={"c": ["publish", operation]})
    async with (
        raw_client(server, "bob") as bob,
        raw_client(server, credentials=False, access_token=token) as client,
    ):
        serial = await (client if own else bob).publish("c", {"data": "x"})
        await client.post("c", {"action": 5, "serial": serial, "data": "y"})
        answer = await client.answer()
    assert answer.get("error", {}).get("code") == code


# Renewal


async def test_auth_in_band_renews_the_credentials(server: LocalServer) -> None:
    token = server.token("alice", capability={"one": ["*"]})
    async with raw_client(server, credentials=False, access_token=token) as client:
        await client.attach("one")
        renewed = server.token("alice", capability={"two": ["*"]})
        await client.send({"action": Action.AUTH, "auth": {"accessToken": renewed}})
        connected = await client.until(Action.CONNECTED)
        assert connected["connectionId"] == client.id
        lost = await client.until(Action.ERROR)
        assert (lost["channel"], lost["error"]["code"]) == ("one", 40160)
        assert (await client.refused("one", {"data": "x"}))["code"] == 40160
        await client.publish("two", {"data": "x"})


async def test_auth_for_another_client_fails_the_connection(server: LocalServer) -> None:
    token = server.token("alice")
    async with raw_client(server, credentials=False, access_token=token) as client:
        await client.send({"action": Action.AUTH, "auth": {"accessToken": server.token("bob")}})
        assert (await client.until(Action.ERROR))["error"]["code"] == 40102


async def test_auth_with_a_wildcard_token_keeps_the_client_id(server: LocalServer) -> None:
    async with raw_client(server, "alice", credentials=False, access_token=server.token("*")) as client:
        await client.send({"action": Action.AUTH, "auth": {"accessToken": server.token("*")}})
        connected = await client.until(Action.CONNECTED)
        assert connected["connectionDetails"]["clientId"] == "alice"


async def test_a_token_is_renewed_before_it_expires(timed_server: LocalServer, clock: ManualClock) -> None:
    server = timed_server
    async with raw_client(server, credentials=False, access_token=server.token("a", ttl=100)) as client:
        clock.advance(69_999)
        assert Action.AUTH not in [frame["action"] for frame in await client.settled()]
        clock.advance(1)
        assert [frame["action"] for frame in await client.settled()] == [Action.AUTH]
        await client.send({"action": Action.AUTH, "auth": {"accessToken": server.token("a", ttl=100)}})
        await client.until(Action.CONNECTED)
        clock.advance(99_999)
        await client.settled()
        clock.advance(1)
        frame = await client.until(Action.DISCONNECTED)
        assert frame["error"]["code"] == 40142


async def test_a_token_of_a_short_life_just_expires(timed_server: LocalServer, clock: ManualClock) -> None:
    """A client that cannot renew it is told so at its end (40142), not before."""
    token = timed_server.token("alice", ttl=5)
    async with raw_client(timed_server, credentials=False, access_token=token) as client:
        clock.advance(4_999)
        assert Action.AUTH not in [frame["action"] for frame in await client.settled()]
        clock.advance(1)
        frame = await client.until(Action.DISCONNECTED)
        assert frame["error"]["code"] == 40142


# REST


async def test_credentials_of_a_request(server: LocalServer, anyone: httpx.AsyncClient) -> None:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    token = server.token("alice")
    for headers, params in (
        ({"Authorization": f"Basic {encoded(server.key)}"}, {}),
        ({"Authorization": f"Bearer {encoded(token)}"}, {}),
        ({"Authorization": f"Bearer {token}"}, {}),
        ({}, {"key": server.key}),
        ({}, {"access_token": token}),
        ({}, {"accessToken": token}),
    ):
        response = await anyone.get("/channels/c/messages", headers=headers, params=params)
        assert response.status_code == 200, (headers, params)
    for headers in ({}, {"Authorization": "Basic !!!"}, {"Authorization": "Digest x"}):
        response = await anyone.get("/channels/c/messages", headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (401, 40101)


async def test_the_client_id_header_names_the_author(server: LocalServer, anyone: httpx.AsyncClient) -> None:
    headers = {"X-Ably-ClientId": base64.b64encode(b"alice").decode()}
    path = f"/channels/c/messages?key={server.key}"
    await anyone.post(path, json={"data": "x"}, headers=headers)
    (message,) = (await anyone.get(path)).json()
    assert message["clientId"] == "alice"
    refused = await anyone.post(path, json={"data": "x", "clientId": "bob"}, headers=headers)
    assert refused.json()["error"]["code"] == 40012


def signed(server: LocalServer, **fields: object) -> dict[str, Any]:
    name, _, secret = server.key.partition(":")
    now = time.time_ns() // 1_000_000
    request: dict[str, Any] = {"keyName": name, "timestamp": now, "nonce": uuid.uuid4().hex, **fields}
    order = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
    text = "".join(f"{request.get(field, '')}\n" for field in order)
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return {**request, "mac": base64.b64encode(digest).decode()}


async def test_a_signed_token_request(server: LocalServer, anyone: httpx.AsyncClient) -> None:
    name = server.key.partition(":")[0]
    request = signed(server, ttl=60_000, capability='{"c":["subscribe"]}', clientId="alice")
    details = (await anyone.post(f"/keys/{name}/requestToken", json=request)).json()
    assert details["keyName"] == name
    assert details["clientId"] == "alice"
    assert details["expires"] - details["issued"] == 60_000
    async with raw_client(server, credentials=False, access_token=details["token"]) as client:
        assert client.connected["connectionDetails"]["clientId"] == "alice"
        assert (await client.refused("c", {"data": "x"}))["code"] == 40160
    forged = {**request, "clientId": "bob"}
    refused = await anyone.post(f"/keys/{name}/requestToken", json=forged)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, 40101)


async def test_a_token_requested_with_the_key_itself(server: LocalServer, rest: httpx.AsyncClient) -> None:
    name = server.key.partition(":")[0]
    response = await rest.post(f"/keys/{name}/requestToken", json={"keyName": name})
    details = response.json()
    async with raw_client(server, credentials=False, access_token=details["token"]) as client:
        assert "clientId" not in client.connected["connectionDetails"]


async def test_token_requests_that_do_not_hold(server: LocalServer, anyone: httpx.AsyncClient) -> None:
    name = server.key.partition(":")[0]
    token = {"Authorization": f"Bearer {server.token()}"}
    for path, body, headers, code in (
        (name, {}, {}, 40101),
        (name, {}, token, 40101),
        ("nobody", {}, {}, 40101),
        (name, {"keyName": "other"}, {}, 40102),
        (name, signed(server, ttl="x"), {}, 40003),
        (name, signed(server, ttl=-5), {}, 40003),
        (name, signed(server, capability="nonsense"), {}, 40000),
        (name, signed(server, capability='{"c":"publish"}'), {}, 40000),
    ):
        response = await anyone.post(f"/keys/{path}/requestToken", json=body, headers=headers)
        assert response.json()["error"]["code"] == code, body


async def test_renewed_credentials_may_grant_more_of_what_was_asked_for(server: LocalServer) -> None:
    # RTC8a, RTL4m: the modes of an attachment follow the credentials.
    token = server.token("alice", capability={"c": ["subscribe"]})
    async with raw_client(server, credentials=False, access_token=token) as client:
        attached = await client.attach("c")
        assert not attached["flags"] & Flag.PUBLISH
        renewed = server.token("alice", capability={"c": ["subscribe", "publish"]})
        await client.send({"action": Action.AUTH, "auth": {"accessToken": renewed}})
        again = await client.until(Action.ATTACHED)
        assert again["flags"] & Flag.PUBLISH
        assert again["flags"] & Flag.RESUMED
        await client.publish("c", {"data": "x"})
        assert [m["data"] for m in await client.messages()] == ["x"]


async def test_a_token_of_an_app_that_is_not_here(server: LocalServer) -> None:
    async with LocalServer(LocalServerOptions(keys=("elsewhere.key:secret",))) as other:
        token = other.token()
    error = await refusal(server, access_token=token)
    assert (error["code"], error["statusCode"]) == (40400, 404)


async def test_nobody_publishes_as_everybody(server: LocalServer) -> None:
    async with raw_client(server) as client:
        assert (await client.refused("c", {"data": "x", "clientId": "*"}))["code"] == 40012
