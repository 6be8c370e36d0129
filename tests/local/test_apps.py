"""The provisioning contract of the test suites of Ably's SDKs."""

from __future__ import annotations

import base64
import sqlite3
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.frames import Action, PresenceAction
from tests.local.apps import provision
from tests.local.raw_client import raw_client
from tests.local.reading import full_disk

if TYPE_CHECKING:
    from pathlib import Path

    from tests.local.manual_clock import ManualClock

# The shape of `post_apps` in ably-common's test-app-setup.json.
SPEC: dict[str, Any] = {
    "limits": {"presence": {"maxMembers": 3}},
    "keys": [
        {},
        {"capability": '{ "ns:*":["subscribe","publish"] }'},
        {"revocableTokens": True},
        {"capability": '{ "[*]*":["*"] }'},
    ],
    "namespaces": [{"id": "persisted", "persisted": True}, {"id": "mutable", "mutableMessages": True}],
    "channels": [
        {
            "name": "persisted:presence_fixtures",
            "presence": [
                {"clientId": "client_bool", "data": "true"},
                {"clientId": "client_json", "data": '{"a":1}', "encoding": "json"},
                {"clientId": "client_encoded", "data": "AAEC", "encoding": "json/utf-8/cipher+x/base64"},
            ],
        }
    ],
}


async def test_keys_come_in_order_with_what_they_may_do() -> None:
    async with provision(SPEC) as app:
        told = app.told
        assert [key["capability"] for key in told["keys"]] == [
            '{"*":["*"]}',
            '{"ns:*":["publish","subscribe"]}',
            '{"*":["*"]}',
            '{"[*]*":["*"]}',
        ]
        for key in told["keys"]:
            assert key["keyStr"] == f"{key['keyName']}:{key['keySecret']}"
            assert key["keyName"] == f"{told['appId']}.{key['id']}"
        assert [key["revocableTokens"] for key in told["keys"]] == [False, False, True, False]
        assert told["namespaces"] == SPEC["namespaces"]
        assert (told["endpoint"], told["port"], told["tls"]) == (app.server.host, app.server.port, False)


async def test_apps_share_nothing() -> None:
    async with provision({}) as one, provision({}, one.server) as two:
        (key,), (other,) = one.keys, two.keys
        await one.client.post("/channels/c/messages", json={"data": "x"}, auth=key.auth)
        assert len((await one.client.get("/channels/c/messages", auth=key.auth)).json()) == 1
        assert (await two.client.get("/channels/c/messages", auth=other.auth)).json() == []
        async with (
            raw_client(one.server, credentials=False, key=str(other)) as follower,
            raw_client(one.server, credentials=False, key=str(key)) as publisher,
        ):
            await follower.attach("c")
            await publisher.publish("c", {"data": "y"})
            assert await follower.messages() == []
        token = await one.client.post(f"/keys/{key.name}/requestToken", json={}, auth=other.auth)
        assert token.json()["error"]["code"] == 40101


async def test_messages_are_mutable_where_the_namespace_says_so() -> None:
    async with (
        provision(SPEC) as app,
        raw_client(app.server, credentials=False, key=str(app.keys[0])) as client,
    ):
        serial = await client.publish("mutable:c", {"data": "a"})
        await client.append("mutable:c", serial, "b")
        for channel in ("c", "persisted:c", "mutablelike:c"):
            serial = await client.publish(channel, {"data": "a"})
            error = await client.refused(channel, {"action": 5, "serial": serial, "data": "b"})
            assert (error["code"], error["statusCode"]) == (93002, 400)


async def test_presence_fixtures_are_there() -> None:
    async with provision(SPEC) as app:
        auth = app.keys[0].auth
        path = "/channels/persisted%3Apresence_fixtures/presence"
        members = (await app.client.get(path, auth=auth)).json()
        assert [m["clientId"] for m in members] == ["client_bool", "client_json", "client_encoded"]
        assert {m["action"] for m in members} == {PresenceAction.PRESENT}
        encoded = members[2]
        assert base64.b64decode(encoded["data"]) == b"\x00\x01\x02"
        assert encoded["encoding"] == "json/utf-8/cipher+x/base64"
        past = (await app.client.get(f"{path}/history", auth=auth)).json()
        assert [m["clientId"] for m in past] == ["client_encoded", "client_json", "client_bool"]
        assert {m["action"] for m in past} == {PresenceAction.ENTER}
        for query, count in (
            ({"clientId": "client_json"}, 1),
            ({"connectionId": members[0]["connectionId"]}, 3),
            ({"connectionId": "other"}, 0),
            ({"limit": "2"}, 2),
        ):
            assert len((await app.client.get(path, params=query, auth=auth)).json()) == count


async def test_a_channel_holds_so_many_members() -> None:
    async with (
        provision(SPEC) as app,
        raw_client(app.server, credentials=False, key=str(app.keys[0])) as client,
    ):
        codes: list[int | None] = []
        enter, update = PresenceAction.ENTER, PresenceAction.UPDATE
        events = [(enter, "0"), (enter, "1"), (enter, "2"), (enter, "3"), (update, "0")]
        for number, (action, name) in enumerate(events):
            event = {"action": action, "clientId": name}
            await client.send(
                {"action": Action.PRESENCE, "channel": "c", "msgSerial": number, "presence": [event]}
            )
            codes.append((await client.answer()).get("error", {}).get("code"))
        assert codes == [None, None, None, 91003, None]


async def test_an_app_is_deleted_with_its_own_key_only() -> None:
    async with provision({}) as app, provision({}, app.server) as other:
        path = f"/apps/{app.id}"
        assert (await app.client.delete(path, auth=other.keys[0].auth)).status_code == 401
        key = app.keys[0]
        async with raw_client(app.server, credentials=False, key=str(key)) as client:
            assert (await app.client.delete(path, auth=key.auth)).status_code == 204
            await client.closed()
        assert (await app.client.delete(path, auth=key.auth)).json()["error"]["code"] == 40101
        assert (await app.client.get("/stats", auth=key.auth)).status_code == 401
        assert (await other.client.get("/stats", auth=other.keys[0].auth)).json() == []


async def test_stats_are_taken() -> None:
    async with provision({}) as app:
        auth = app.keys[0].auth
        fixtures: Any = [{"intervalId": "2025-02-03:15:03", "inbound": {}}]
        assert (await app.client.post("/stats", json=fixtures, auth=auth)).status_code == 201
        assert (await app.client.post("/stats", json=fixtures)).status_code == 401


async def test_apps_are_provisioned_in_a_sandbox_only(rest: httpx.AsyncClient) -> None:
    response = await rest.post("/apps", json={})
    assert response.status_code == 404
    assert "--sandbox" in response.json()["error"]["message"]


NO_APPS: Any = [
    [],
    {"keys": {}},
    {"keys": ["x"]},
    {"keys": [{"capability": '{"c":["fly"]}'}]},
    {"namespaces": [{}]},
    {"channels": [{"name": "", "presence": []}]},
    {"channels": [{"name": "c", "presence": [{"data": "nobody"}]}]},
]


@pytest.mark.parametrize("spec", NO_APPS)
async def test_what_describes_no_app(spec: object) -> None:
    async with (
        LocalServer(LocalServerOptions(sandbox=True)) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
    ):
        response = await client.post("/apps", json=spec)
    assert response.status_code == 400
    assert response.json()["error"]["code"] in (40000, 40010, 91000)


async def test_apps_outlive_a_server_with_a_data_file(tmp_path: Path) -> None:
    options = LocalServerOptions(sandbox=True, data=tmp_path / "data.sqlite")
    fixtures = "/channels/persisted%3Apresence_fixtures/presence"
    async with (
        LocalServer(options) as server,
        provision(SPEC, server) as app,
        provision({}, server) as other,
        provision({}, server) as gone,
    ):
        auth, key = app.keys[0].auth, app.keys[0]
        async with raw_client(server, credentials=False, key=str(key)) as client:
            serial = await client.publish("mutable:c", {"data": "a"})
            await client.append("mutable:c", serial, "b")
        await other.client.post("/channels/mutable:c/messages", json={"data": "x"}, auth=other.keys[0].auth)
        await gone.client.post("/channels/c/messages", json={"data": "x"}, auth=gone.keys[0].auth)
        deleted = await gone.client.delete(f"/apps/{gone.id}", auth=gone.keys[0].auth)
        assert deleted.status_code == 204
        members = (await app.client.get(fixtures, auth=auth)).json()
        past = (await app.client.get(f"{fixtures}/history", auth=auth)).json()
    for _ in range(2):
        async with (
            LocalServer(options) as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        ):
            [message] = (await client.get("/channels/mutable:c/messages", auth=auth)).json()
            assert (message["serial"], message["data"]) == (serial, "ab")
            [message] = (await client.get("/channels/mutable:c/messages", auth=other.keys[0].auth)).json()
            assert message["data"] == "x"
            assert (await client.get(fixtures, auth=auth)).json() == members
            assert (await client.get(f"{fixtures}/history", auth=auth)).json() == past
            refused = await client.get("/channels/c/messages", auth=gone.keys[0].auth)
            assert refused.status_code in (401, 404)
            limited = await client.post("/channels/x/messages", json={"data": "x"}, auth=app.keys[1].auth)
            assert limited.json()["error"]["code"] == 40160
            async with raw_client(server, credentials=False, key=str(key)) as raw:
                error = await raw.refused("c", {"action": 5, "serial": serial, "data": "b"})
                assert error["code"] == 93002


async def test_a_deleted_app_leaves_nothing_in_the_file(tmp_path: Path, clock: ManualClock) -> None:
    data = tmp_path / "data.sqlite"
    async with LocalServer(LocalServerOptions(sandbox=True, data=data), clock=clock) as server:
        async with provision({}, server) as app:
            for text in ("folded", "fresh"):
                await app.client.post("/channels/c/messages", json={"data": text}, auth=app.keys[0].auth)
                clock.advance(600_000)
            await app.client.delete(f"/apps/{app.id}", auth=app.keys[0].auth)
        for _ in range(2):
            clock.advance(600_000)
            async with raw_client(server) as client:
                await client.publish("kept", {"data": "x"})
    with sqlite3.connect(data) as db:
        for table, count in (("apps", 0), ("channels", 1), ("messages", 1), ("steps", 1)):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,), table  # noqa: S608
    db.close()
    async with LocalServer(LocalServerOptions(sandbox=True, data=data), clock=clock):
        pass


async def test_an_app_that_cannot_be_stored_is_not_there(tmp_path: Path) -> None:
    data = tmp_path / "data.sqlite"
    big = {"namespaces": [{"id": "n" * 20_000}]}
    async with (
        LocalServer(LocalServerOptions(sandbox=True, data=data)) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
    ):
        with full_disk(data):
            response = await client.post("/apps", json=big)
            assert (response.status_code, response.json()["error"]["code"]) == (500, 50000)
        async with provision(big, server) as app:
            pass
    async with (
        LocalServer(LocalServerOptions(sandbox=True, data=data)) as server,
        raw_client(server, credentials=False, key=str(app.keys[0])) as again,
    ):
        await again.publish("c", {"data": "x"})
