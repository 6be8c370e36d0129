"""A claim or a field of a wrong type is refused: it never grants what its absence would grant."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from ably_ai_transport.local.protocol.frames import Action
from tests.local.apps import provision
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ably_ai_transport.local import LocalServer
    from tests.local.manual_clock import ManualClock

HOUR = 3600
HALF = "\ud83d"


@pytest.fixture
async def anyone(timed_server: LocalServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=timed_server.url, trust_env=False) as client:
        yield client


def _part(text: str | bytes) -> str:
    raw = text.encode() if isinstance(text, str) else text
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwt(key: str, claims: object, *, header: object = None) -> str:
    """Sign claims, of whatever types, as an application with the key could."""
    name, _, secret = key.partition(":")
    header = {"typ": "JWT", "alg": "HS256", "kid": name} if header is None else header
    encoded = [part if isinstance(part, str) else json.dumps(part) for part in (header, claims)]
    content = ".".join(_part(part) for part in encoded)
    return f"{content}.{_part(hmac.new(secret.encode(), content.encode(), hashlib.sha256).digest())}"


def good(now: int, **claims: object) -> dict[str, object]:
    return {"iat": now // 1000, "exp": now // 1000 + HOUR, **claims}


def _shown(value: object) -> str:
    return str(value)[:20].encode("ascii", "replace").decode()


WRONG = [
    ("x-ably-capability", {"c": ["subscribe"]}),
    ("x-ably-capability", ["subscribe"]),
    ("x-ably-capability", None),
    ("x-ably-capability", True),
    ("x-ably-capability", 0),
    ("x-ably-capability", ""),
    ("x-ably-capability", '{"c":[[]]}'),
    ("x-ably-capability", '{"c":[{}]}'),
    ("x-ably-capability", '{"c":{"subscribe":true}}'),
    ("x-ably-capability", "[" * 50_000),
    ("x-ably-capability", f'{{"c":["subscribe"],"{chr(0xD800)}":["*"]}}'),
    ("x-ably-clientId", {"name": "alice"}),
    ("x-ably-clientId", 5),
    ("x-ably-clientId", True),
    ("x-ably-clientId", None),
    ("x-ably-clientId", ""),
    ("x-ably-clientId", HALF),
    ("x-ably-clientId", "a" * 5000),
    ("x-ably-revocation-key", 5),
    ("x-ably-revocation-key", ["group"]),
    ("x-ably-revocation-key", None),
    ("x-ably-revocation-key", ""),
    ("exp", "tomorrow"),
    ("exp", None),
    ("exp", True),
    ("exp", [1]),
    ("exp", 10**300),
    ("exp", 1e300),
    ("exp", float("nan")),
    ("exp", float("inf")),
    ("exp", -5),
    ("iat", "now"),
    ("iat", None),
    ("iat", True),
    ("iat", float("nan")),
    ("nbf", "now"),
    ("nbf", None),
    ("nbf", float("inf")),
]


@pytest.mark.parametrize(("claim", "value"), WRONG, ids=_shown)
async def test_a_claim_of_a_wrong_type_is_refused_everywhere(
    timed_server: LocalServer, clock: ManualClock, anyone: httpx.AsyncClient, claim: str, value: object
) -> None:
    token = jwt(timed_server.key, {**good(clock.now()), claim: value})
    if len(token) < 15_000:  # headers hold no more
        response = await anyone.get("/channels/c/messages", headers={"Authorization": f"Bearer {token}"})
        assert (response.status_code, response.json()["error"]["code"]) == (401, 40144)
        assert response.json()["error"]["message"].isascii()
    if len(token) < 7000:  # a URL holds no more
        async with raw_client(timed_server, credentials=False, access_token=token) as client:
            assert client.connected["error"]["code"] == 40144
    renewed = timed_server.token("alice")
    async with raw_client(timed_server, credentials=False, access_token=renewed) as client:
        await client.send({"action": Action.AUTH, "auth": {"accessToken": token}})
        assert (await client.until(Action.ERROR))["error"]["code"] == 40144


@pytest.mark.parametrize("claim", ["exp", "iat"])
async def test_a_token_without_its_times_is_refused(
    timed_server: LocalServer, clock: ManualClock, claim: str
) -> None:
    claims = good(clock.now())
    del claims[claim]
    async with raw_client(
        timed_server, credentials=False, access_token=jwt(timed_server.key, claims)
    ) as client:
        assert client.connected["error"]["code"] == 40144


async def test_a_token_without_a_capability_has_that_of_its_key(
    timed_server: LocalServer, clock: ManualClock
) -> None:
    token = jwt(timed_server.key, good(clock.now()))
    async with raw_client(timed_server, credentials=False, access_token=token) as client:
        await client.publish("c", {"data": "x"})


@pytest.mark.parametrize("claim", ["iat", "nbf"])
async def test_a_token_of_the_future_is_refused_until_then(
    timed_server: LocalServer, clock: ManualClock, claim: str
) -> None:
    """A minute is left to the clocks."""
    now = clock.now()
    for ahead, accepted in ((59, True), (61, False)):
        token = jwt(timed_server.key, {**good(now), claim: now / 1000 + ahead})
        async with raw_client(timed_server, credentials=False, access_token=token) as client:
            assert (client.connected["action"] == Action.CONNECTED) is accepted
    clock.advance(1000)
    async with raw_client(timed_server, credentials=False, access_token=token) as client:
        assert client.connected["action"] == Action.CONNECTED


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256", "kid": 5},
        {"alg": "HS256", "kid": ["app.key"]},
        {"alg": "HS256", "kid": None},
        {"alg": "HS256"},
        {"alg": ["HS256"], "kid": "app.key"},
        [],
        "5" * 5000,
        "[" * 20_000,
        "{",
    ],
    ids=lambda value: str(value)[:24],
)
async def test_a_header_of_a_token_that_makes_no_sense(
    timed_server: LocalServer, clock: ManualClock, anyone: httpx.AsyncClient, header: object
) -> None:
    token = jwt(timed_server.key, good(clock.now()), header=header)
    response = await anyone.get("/channels/c", headers={"Authorization": f"Bearer {token}"})
    assert response.json()["error"]["code"] in (40144, 40400)
    assert response.status_code in (401, 404)


@pytest.mark.parametrize("token", [HALF, f"{HALF}.{HALF}.{HALF}", "é.é.é", "", 5, None, {}, []])
async def test_a_renewal_without_a_token_fails_the_connection(
    timed_server: LocalServer, token: object
) -> None:
    async with raw_client(timed_server) as client:
        await client.socket.send(json.dumps({"action": Action.AUTH, "auth": {"accessToken": token}}))
        assert (await client.until(Action.ERROR))["error"]["code"] in (40101, 40144, 40000)
        assert await client.closed() == 1000


# Token requests


def signed(key: str, now: int, **fields: object) -> dict[str, Any]:
    """Sign a request whose fields have any types, as Python shows them."""
    name, _, secret = key.partition(":")
    request: dict[str, Any] = {"keyName": name, "timestamp": now, "nonce": uuid.uuid4().hex, **fields}
    order = ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce")
    values = [request.get(field) for field in order]
    content = "".join(f"{'' if value is None else value}\n" for value in values)
    digest = hmac.new(secret.encode(), content.encode(errors="surrogatepass"), hashlib.sha256).digest()
    return {**request, "mac": base64.b64encode(digest).decode()}


BARE: list[tuple[str, object, int]] = [
    ("capability", ["*"], 40000),
    ("capability", False, 40000),
    ("capability", 0, 40000),
    ("capability", '{"a":[[]]}', 40000),
    ("capability", HALF, 40000),
    ("clientId", 5, 40012),
    ("clientId", True, 40012),
    ("clientId", ["alice"], 40012),
    ("clientId", HALF, 40012),
    ("ttl", True, 40003),
    ("ttl", 1.5, 40003),
    ("ttl", [], 40003),
    ("ttl", "1" * 5000, 40003),
    ("ttl", "\u0661\u0660\u0660\u0660", 40003),
    ("keyName", 5, 40102),
]
SIGNED: list[tuple[str, object, int]] = [
    ("capability", {"c": ["subscribe"]}, 40000),
    ("timestamp", True, 40104),
    ("timestamp", None, 40104),
    ("timestamp", "9" * 5000, 40104),
    ("timestamp", {}, 40104),
    ("nonce", 12345678901234567890, 40003),
    ("nonce", HALF * 20, 40003),
    ("nonce", "n" * 5000, 40003),
    ("mac", HALF, 40101),
]


async def post(
    client: httpx.AsyncClient, key: str, body: object, auth: tuple[str, str] | None = None
) -> httpx.Response:
    path = f"/keys/{key.partition(':')[0]}/requestToken"
    kind = {"Content-Type": "application/json"}
    basic = None if auth is None else httpx.BasicAuth(*auth)
    return await client.post(path, content=json.dumps(body), headers=kind, auth=cast("Any", basic))


@pytest.mark.parametrize(("field", "value", "code"), BARE + SIGNED, ids=_shown)
async def test_a_field_of_a_signed_token_request_of_a_wrong_type_is_refused(
    timed_server: LocalServer,
    clock: ManualClock,
    anyone: httpx.AsyncClient,
    field: str,
    value: object,
    code: int,
) -> None:
    fields = {} if field in ("mac", "keyName") else {field: value}
    body = {**signed(timed_server.key, clock.now(), **fields), field: value}
    response = await post(anyone, timed_server.key, body)
    assert (response.json()["error"]["code"], response.status_code < 500) == (code, True)


@pytest.mark.parametrize(("field", "value", "code"), BARE, ids=_shown)
async def test_a_field_of_a_request_with_the_key_itself_of_a_wrong_type_is_refused(
    timed_server: LocalServer, anyone: httpx.AsyncClient, field: str, value: object, code: int
) -> None:
    name, _, secret = timed_server.key.partition(":")
    response = await post(anyone, timed_server.key, {field: value}, (name, secret))
    assert (response.json()["error"]["code"], response.status_code < 500) == (code, True)


async def test_times_may_be_written_as_text(
    timed_server: LocalServer, clock: ManualClock, anyone: httpx.AsyncClient
) -> None:
    body = signed(timed_server.key, str(clock.now()), ttl="1000")  # type: ignore[arg-type]
    details = (await anyone.post(f"/keys/{body['keyName']}/requestToken", json=body)).json()
    assert details["expires"] - details["issued"] == 1000


async def test_a_capability_object_is_fine_in_a_request_with_the_key_itself(
    timed_server: LocalServer, anyone: httpx.AsyncClient
) -> None:
    name, _, secret = timed_server.key.partition(":")
    details = (
        await anyone.post(
            f"/keys/{name}/requestToken", json={"capability": {"c": ["publish"]}}, auth=(name, secret)
        )
    ).json()
    assert json.loads(details["capability"]) == {"c": ["publish"]}


@pytest.mark.parametrize(
    "fields",
    [
        {"issuedBefore": "now"},
        {"issuedBefore": True},
        {"issuedBefore": -1},
        {"issuedBefore": 1.5},
        {"allowReauthMargin": "false"},
        {"targets": ["clientId:alice"] * 101},
        {"targets": "clientId:alice"},
    ],
    ids=str,
)
async def test_a_revocation_of_wrong_types_is_refused(fields: dict[str, Any]) -> None:
    async with provision({"keys": [{"revocableTokens": True}]}) as app:
        [key] = app.keys
        body = {"targets": ["clientId:alice"], **fields}
        response = await app.client.post(f"/keys/{key.name}/revokeTokens", json=body, auth=key.auth)
        assert (response.status_code, response.json()["error"]["code"]) == (400, 40000)


@pytest.mark.parametrize(
    "spec",
    [
        {"keys": [{"capability": {"c": ["subscribe"]}}]},
        {"keys": [{"capability": 5}]},
        {"keys": [{"revocableTokens": "yes"}]},
        {"namespaces": [{"id": "n", "mutableMessages": "yes"}]},
        {"limits": {"presence": {"maxMembers": True}}},
        {"limits": {"presence": {"maxMembers": -1}}},
        {"channels": [{"name": 5, "presence": [{"clientId": "a"}]}]},
    ],
    ids=str,
)
async def test_an_app_of_wrong_types_is_refused(timed_server: LocalServer, spec: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=timed_server.url, trust_env=False) as client:
        response = await client.post("/apps", json=spec)
        assert (response.status_code, response.json()["error"]["code"]) in ((400, 40000), (400, 40010))


# Keys


async def test_an_unknown_key_of_a_known_app_is_not_found(timed_server: LocalServer) -> None:
    """As the integration tests of Ably's specification want it (RSA4); another app is no business of ours."""
    app_id = timed_server.key.partition(".")[0]
    async with provision({}, timed_server) as app:
        for key, code in (
            (f"{app_id}.nobody:secret", 40400),
            (f"{app.id}.nobody:secret", 40400),
            ("elsewhere.nobody:secret", 40101),
            ("invalid", 40101),
        ):
            response = await app.client.get("/channels/c", auth=httpx.BasicAuth(*key.partition(":")[::2]))
            assert (response.status_code, response.json()["error"]["code"]) == (401, code)
            async with raw_client(timed_server, credentials=False, key=key) as client:
                error = client.connected["error"]
                assert (error["statusCode"], error["code"]) == (401, code)


@pytest.mark.parametrize("header", [b"Basic \xe9", b"Bearer \xe9\xff", b"Basic ====", b"Bearer a", b"Basic"])
async def test_credentials_that_are_not_base64(anyone: httpx.AsyncClient, header: bytes) -> None:
    response = await anyone.get("/channels/c", headers={b"Authorization": header})
    assert (response.status_code, response.json()["error"]["code"]) == (401, 40101)
    response = await anyone.get("/channels/c", headers={b"X-Ably-ClientId": b"\xe9"})
    assert (response.status_code, response.json()["error"]["code"]) == (401, 40101)
