"""Targets: tokens, requests for tokens, and capabilities."""

import base64
import hashlib
import hmac
from typing import Any, Final, cast
from urllib.parse import quote_plus

from hypothesis import strategies as st
from starlette.types import ASGIApp

from tests.fuzz.asgi import request, settle, websocket
from tests.fuzz.local_server import (
    BASIC,
    CREATED,
    JSON,
    KEY,
    MSGPACK,
    NAME,
    NEVER,
    SECRET,
    ask,
    check_reply,
    formats,
    packed,
    read_payload,
    server_of,
)
from tests.fuzz.target import BrokenPromiseError, Target
from tests.fuzz.values import Json, changed, changed_bytes, encode, encode_json, read_json, texts
from tests.local.raw_client import WireFormat

_TIME: Final = 1_700_000_000
_CLAIMS: Final[tuple[Json, ...]] = (
    {"iat": _TIME, "exp": NEVER},
    {"iat": _TIME, "exp": NEVER, "x-ably-capability": '{"c":["subscribe"]}'},
    {"iat": _TIME, "exp": NEVER, "x-ably-capability": '{"c":["subscribe"]}', "x-ably-clientId": "me"},
    {"iat": _TIME, "exp": NEVER, "x-ably-capability": '{"*":["publish"]}', "x-ably-revocation-key": "k"},
    {"iat": _TIME, "exp": NEVER, "nbf": _TIME, "jti": "x", "x-ably-capability": '{"c":["*"]}'},
)
_HEADS: Final[tuple[Json, ...]] = ({"alg": "HS256", "typ": "JWT", "kid": NAME},)


def _part(value: object) -> str:
    data = value if isinstance(value, bytes) else encode_json(value)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sign(head: object, claims: object, secret: str = SECRET) -> str:
    """Return a token with any content and the right signature."""
    signed = f"{_part(head)}.{_part(claims)}"
    return f"{signed}.{_part(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())}"


def grants_publish(capability: object) -> bool:
    """Tell whether a capability lets its holder publish on the channel ``c``, read as strictly as can be."""
    if not isinstance(capability, str):
        return False
    try:
        rules: Any = read_json(capability)
    except (ValueError, RecursionError):
        return False
    if not isinstance(rules, dict):
        return False
    patterns = [cast("Json", rules).get(pattern) for pattern in ("c", "*", "[*]*")]
    return any(isinstance(names, list) and ("publish" in names or "*" in names) for names in patterns)


def _may_publish(claims: object) -> bool:
    if not isinstance(claims, dict):
        return False
    said = cast("Json", claims)
    for name in ("iat", "nbf"):
        when = said.get(name)
        if isinstance(when, int | float) and not isinstance(when, bool) and when >= NEVER:
            return False
    capability = said.get("x-ably-capability")
    return capability is None or grants_publish(capability)


async def _take_token(value: tuple[object, object]) -> None:
    head, claims = value
    token = sign(head, claims)
    async with server_of() as server:
        auth = b"Bearer " + base64.b64encode(token.encode())
        reply = await ask(server.app, "POST", "/channels/c/messages", body={"data": "x"}, auth=auth)
        if reply.status == CREATED and not _may_publish(claims):
            raise BrokenPromiseError("a token grants more than it says")
        for query in (f"access_token={token}", f"key={KEY}"):
            async with websocket(server.app, query.encode()) as socket:
                socket.send(packed({"action": 17, "auth": {"accessToken": token}}, "json"))
                socket.send(packed({"action": 10, "channel": "c"}, "json"))
                await settle(socket)
            for payload in socket.received:
                read_payload(payload)


async def _take_token_bytes(value: bytes) -> None:
    async with server_of() as server:
        text = value.decode("latin-1")
        for auth in (
            b"Bearer " + value,
            b"Bearer " + base64.b64encode(value),
            b"Basic " + base64.b64encode(value),
        ):
            await ask(server.app, "GET", "/channels/c", auth=auth)
        for name in ("access_token", "key"):
            async with websocket(server.app, f"{name}={quote_plus(text)}".encode()) as socket:
                await settle(socket)
            for payload in socket.received:
                read_payload(payload)


_TOKEN_REQUESTS: Final[tuple[Json, ...]] = (
    {"keyName": NAME, "ttl": 3600000, "capability": '{"*":["*"]}', "clientId": "me", "nonce": "n" * 16},
    {"keyName": NAME, "nonce": "n" * 16},
    {"keyName": NAME, "ttl": "60000", "capability": {"c": ["publish"]}, "nonce": "n" * 16},
)


async def _take_token_request(value: tuple[Json, bool, WireFormat]) -> None:
    asked, is_signed, format_ = value
    async with server_of() as server:
        sent: Any = asked
        if is_signed and isinstance(sent, dict):
            sent = {"timestamp": await _time_of(server.app), **cast("Json", sent)}
            fields = [sent.get(name) for name in ("ttl", "capability", "clientId", "timestamp", "nonce")]
            text = "".join(f"{'' if field is None else field}\n" for field in (NAME, *fields))
            mac = hmac.new(SECRET.encode(), text.encode(errors="surrogatepass"), hashlib.sha256).digest()
            sent = {"mac": base64.b64encode(mac).decode(), **sent}
        headers = {"content-type": (JSON if format_ == "json" else MSGPACK).encode()}
        if not is_signed:
            headers["authorization"] = BASIC
        reply = await request(
            server.app, "POST", f"/keys/{NAME}/requestToken", headers=headers, body=encode(sent, format_)
        )
        details = check_reply(reply)
        if reply.status != CREATED:
            return
        token = cast("Json", details)["token"]
        again = await ask(server.app, "GET", "/time", auth=b"Bearer " + token.encode())
        if again.status != 200:
            raise BrokenPromiseError("a token that was issued is refused", again.body)


async def _time_of(app: ASGIApp) -> int:
    return cast("list[int]", read_json((await ask(app, "GET", "/time")).body))[0]


_CAPABILITIES: Final[tuple[Any, ...]] = (
    {"*": ["*"]},
    {"c": ["publish", "subscribe"], "d:*": ["history"]},
    {"[*]*": ["*"]},
    {"c": ["message-update-own"], "c:*": ["presence", "channel-metadata"]},
)


async def _take_capabilities(value: tuple[object, object]) -> None:
    """A token never grants what its key or the request for it does not."""
    of_key, asked = (one if isinstance(one, str) else encode_json(one).decode() for one in value)
    async with server_of(sandbox=True) as server:
        reply = await ask(server.app, "POST", "/apps", body={"keys": [{"capability": of_key}]})
        if reply.status != CREATED:
            return
        [key] = cast("Json", read_json(reply.body))["keys"]
        basic = b"Basic " + base64.b64encode(key["keyStr"].encode())
        path = f"/keys/{key['keyName']}/requestToken"
        reply = await ask(server.app, "POST", path, body={"capability": asked}, auth=basic)
        if reply.status != CREATED:
            return
        details: Json = read_json(reply.body)
        again = await ask(server.app, "POST", path, body={"capability": details["capability"]}, auth=basic)
        granted = cast("Json", read_json(again.body)).get("capability")
        if granted != details["capability"] and details["capability"] != "{}":
            raise BrokenPromiseError("a granted capability, requested again, is another one", details)
        auth = b"Bearer " + details["token"].encode()
        published = await ask(server.app, "POST", "/channels/c/messages", body={"data": "x"}, auth=auth)
        may = grants_publish(of_key) and (not asked or grants_publish(asked))
        if published.status == CREATED and not may:
            raise BrokenPromiseError("a token grants more than its key or its request")


TARGETS: Final = (
    Target("local.tokens", st.tuples(changed(_HEADS, most=1), changed(_CLAIMS)), _take_token),
    Target(
        "local.token_bytes",
        changed_bytes([sign(_HEADS[0], one).encode() for one in _CLAIMS]),
        _take_token_bytes,
    ),
    Target(
        "local.token_requests",
        st.tuples(changed(_TOKEN_REQUESTS), st.booleans(), formats),
        _take_token_request,
    ),
    Target(
        "local.capabilities",
        st.tuples(changed(_CAPABILITIES) | texts, changed(_CAPABILITIES) | texts),
        _take_capabilities,
    ),
)
