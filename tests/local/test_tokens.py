"""Tokens on request, and their revocation."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ably_ai_transport.local.auth.capability import Capability, parse_capability
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.refusals import RefusedError
from tests.local.apps import provision
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock

HOUR = 3_600_000


@pytest.fixture
async def anyone(timed_server: LocalServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=timed_server.url, trust_env=False) as client:
        yield client


def signed(key: str, now: int, **fields: object) -> dict[str, Any]:
    name, _, secret = key.partition(":")
    request: dict[str, Any] = {"keyName": name, "timestamp": now, "nonce": uuid.uuid4().hex, **fields}
    order = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
    text = "".join(f"{request.get(field, '')}\n" for field in order)
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return {**request, "mac": base64.b64encode(digest).decode()}


async def request_token(client: httpx.AsyncClient, body: dict[str, Any]) -> httpx.Response:
    return await client.post(f"/keys/{body['keyName']}/requestToken", json=body)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"timestamp": -16 * 60_000}, 401, 40104),
        ({"timestamp": 16 * 60_000}, 401, 40104),
        ({"nonce": "short"}, 400, 40003),
        ({"ttl": 25 * HOUR}, 400, 40003),
        ({"ttl": 0}, 400, 40003),
        ({"ttl": "soon"}, 400, 40003),
        ({"clientId": ""}, 400, 40012),
        ({"capability": '{"c":["fly"]}'}, 400, 40000),
        ({"capability": '{"c":["*","publish"]}'}, 400, 40000),
        ({"capability": '{"c":[]}'}, 400, 40000),
        ({"mac": "forged"}, 401, 40101),
        ({"mac": 5}, 401, 40101),
    ],
)
async def test_a_token_request_that_does_not_hold(
    timed_server: LocalServer,
    clock: ManualClock,
    anyone: httpx.AsyncClient,
    fields: dict[str, Any],
    status: int,
    code: int,
) -> None:
    now = clock.now()
    if "timestamp" in fields:
        fields = {"timestamp": now + fields["timestamp"]}
    body = signed(timed_server.key, now, **fields)
    body.update({name: value for name, value in fields.items() if name == "mac"})
    response = await request_token(anyone, body)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


async def test_a_token_request_is_good_for_one_token(
    timed_server: LocalServer, clock: ManualClock, anyone: httpx.AsyncClient
) -> None:
    body = signed(timed_server.key, clock.now())
    assert (await request_token(anyone, body)).status_code == 201
    replayed = await request_token(anyone, body)
    assert (replayed.status_code, replayed.json()["error"]["code"]) == (401, 40105)
    clock.advance(HOUR)
    late = await request_token(anyone, body)
    assert late.json()["error"]["code"] == 40104


async def test_a_token_lasts_an_hour_unless_it_says_otherwise(
    timed_server: LocalServer, clock: ManualClock, anyone: httpx.AsyncClient
) -> None:
    # TK2a, TD3
    for fields, ttl in (({}, HOUR), ({"ttl": 100}, 100)):
        details = (await request_token(anyone, signed(timed_server.key, clock.now(), **fields))).json()
        assert details["expires"] - details["issued"] == ttl
        assert json.loads(details["capability"]) == {"*": ["*"]}


async def test_an_expired_token_is_told_from_a_bad_one(
    timed_server: LocalServer, clock: ManualClock, anyone: httpx.AsyncClient
) -> None:
    details = (await request_token(anyone, signed(timed_server.key, clock.now(), ttl=100))).json()
    clock.advance(101)
    for token, code in ((details["token"], 40142), ("nonsense", 40101), ("a.b.c", 40144)):
        response = await anyone.get("/channels/c/messages", headers={"Authorization": f"Bearer {token}"})
        if token == "nonsense":
            encoded = base64.b64encode(token.encode()).decode()
            response = await anyone.get("/stats", headers={"Authorization": f"Bearer {encoded}"})
        assert (response.status_code, response.json()["error"]["code"]) == (401, code)
        assert response.headers["X-Ably-Errorcode"] == str(code)


# What a key grants of what a token asks for (RSA6)


@pytest.mark.parametrize(
    ("asked", "held", "granted"),
    [
        ({"*": ["*"]}, {"*": ["*"]}, {"*": ["*"]}),
        ({"c": ["publish"]}, {"*": ["*"]}, {"c": ["publish"]}),
        ({"*": ["*"]}, {"c": ["publish"]}, {"c": ["publish"]}),
        ({"c": ["*"]}, {"c": ["subscribe", "publish"]}, {"c": ["publish", "subscribe"]}),
        ({"c": ["presence", "subscribe"]}, {"c": ["publish", "subscribe"]}, {"c": ["subscribe"]}),
        ({"c": ["publish"], "d": ["publish"]}, {"c": ["*"]}, {"c": ["publish"]}),
        ({"ns:*": ["subscribe"]}, {"*": ["subscribe"]}, {"ns:*": ["subscribe"]}),
        ({"*": ["subscribe"]}, {"ns:*": ["*"], "c": ["publish"]}, {"ns:*": ["subscribe"]}),
        (
            {"ns:a": ["publish", "history"]},
            {"ns:*": ["publish"], "ns:a": ["history"]},
            {"ns:a": ["history", "publish"]},
        ),
        ({"ns:a:*": ["publish"]}, {"ns:*": ["publish"]}, {"ns:a:*": ["publish"]}),
        ({"[*]*": ["*"]}, {"*": ["*"]}, {"*": ["*"]}),
        ({"c": ["*"]}, {"[*]*": ["*"]}, {"c": ["*"]}),
        ({"c": ["publish"]}, {"c": ["subscribe"]}, {}),
        ({"nsx": ["publish"]}, {"ns:*": ["publish"]}, {}),
    ],
)
def test_a_token_gets_what_its_key_grants_of_what_is_asked(
    asked: dict[str, list[str]], held: dict[str, list[str]], granted: dict[str, list[str]]
) -> None:
    common = Capability(asked).intersect(Capability(held))
    assert json.loads(common.to_json()) == granted
    assert bool(common) is bool(granted)


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"c":"publish"}', '{"c":[5]}', "[" * 100_000])
def test_a_capability_must_look_like_one(text: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_capability(text)
    assert caught.value.code == 40000


async def test_a_key_with_few_rights_makes_tokens_with_fewer() -> None:
    spec = {"keys": [{"capability": '{"ns:*":["publish","subscribe"]}'}]}
    async with provision(spec) as app:
        key = app.keys[0]
        whole = (await app.client.post(f"/keys/{key.name}/requestToken", json={}, auth=key.auth)).json()
        assert json.loads(whole["capability"]) == {"ns:*": ["publish", "subscribe"]}
        for asked, granted in (
            ('{"ns:a":["publish","presence"]}', {"ns:a": ["publish"]}),
            ('{"x":["*"]}', None),
        ):
            response = await app.client.post(
                f"/keys/{key.name}/requestToken", json={"capability": asked}, auth=key.auth
            )
            if granted is None:
                assert (response.status_code, response.json()["error"]["code"]) == (401, 40160)
            else:
                assert json.loads(response.json()["capability"]) == granted
        refused = await app.client.post("/channels/x/messages", json={"data": "x"}, auth=key.auth)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, 40160)


async def test_a_token_of_a_key_can_be_revoked() -> None:
    # RSA17
    async with provision({"keys": [{"revocableTokens": True}, {}]}) as app:
        key, other = app.keys
        path = f"/keys/{key.name}/revokeTokens"
        details = [
            (
                await app.client.post(
                    f"/keys/{key.name}/requestToken", json={"clientId": name}, auth=key.auth
                )
            ).json()
            for name in ("alice", "bob")
        ]
        tokens = [item["token"] for item in details]
        async with (
            raw_client(app.server, credentials=False, access_token=tokens[0]) as alice,
            raw_client(app.server, credentials=False, access_token=tokens[1]) as bob,
        ):
            targets = ["clientId:alice", "colour:red", "clientId:"]
            later = details[0]["issued"] + 1
            body = {"targets": targets, "issuedBefore": later}
            told = (await app.client.post(path, json=body, auth=key.auth)).json()
            assert (told["successCount"], told["failureCount"]) == (1, 2)
            assert told["results"][0]["issuedBefore"] == later
            assert told["results"][1]["error"]["statusCode"] == 400
            assert (await alice.until(Action.DISCONNECTED))["error"]["code"] == 40141
            assert Action.DISCONNECTED not in [frame["action"] for frame in await bob.settled()]
        async with raw_client(app.server, credentials=False, access_token=tokens[0]) as refused:
            assert refused.connected["error"]["code"] == 40141
        for auth, expected in ((other.auth, 40162), (("nobody", "x"), 40101)):
            response = await app.client.post(path, json=body, auth=auth)
            assert response.json()["error"]["code"] == expected
        path = f"/keys/{other.name}/revokeTokens"
        response = await app.client.post(path, json=body, auth=other.auth)
        assert response.json()["error"]["code"] == 40163


async def test_a_revocation_may_leave_time_to_renew(timed_server: LocalServer, clock: ManualClock) -> None:
    async with provision({"keys": [{"revocableTokens": True}]}, timed_server) as app:
        [key] = app.keys
        made = await app.client.post(
            f"/keys/{key.name}/requestToken", json={"clientId": "alice"}, auth=key.auth
        )
        async with raw_client(app.server, credentials=False, access_token=made.json()["token"]) as alice:
            body = {
                "targets": ["clientId:alice"],
                "issuedBefore": clock.now() + 1,
                "allowReauthMargin": True,
            }
            told = await app.client.post(f"/keys/{key.name}/revokeTokens", json=body, auth=key.auth)
            assert told.json()["results"][0]["appliesAt"] == clock.now() + 30_000
            clock.advance(29_999)
            assert Action.DISCONNECTED not in [frame["action"] for frame in await alice.settled()]
            clock.advance(1)
            assert (await alice.until(Action.DISCONNECTED))["error"]["code"] == 40141
