"""Fuzz tests: the server answers or refuses any input, and continues."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import httpx
import msgpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.formats import load_frame
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.refusals import RefusedError
from tests.local.raw_client import raw_client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

    from ably_ai_transport.local.protocol.formats import Format

EXAMPLES = int(os.environ.get("AIT_FUZZ", "15"))

_MESSAGE_FIELDS = [
    "id",
    "action",
    "serial",
    "name",
    "clientId",
    "data",
    "encoding",
    "extras",
    "version",
]
_WORDS = [
    "channels",
    "c",
    "messages",
    "presence",
    "history",
    "versions",
    "keys",
    "requestToken",
    "revokeTokens",
    "stats",
    "time",
    "apps",
    "push",
    "%00",
    ":",
    "[",
]
_PARAMS = [
    "limit",
    "direction",
    "start",
    "end",
    "cursor",
    "from_serial",
    "format",
    "envelope",
    "clientId",
    "by",
    "prefix",
    "channels",
]

# Numbers that Python refuses to read, digits of other scripts, and halves of surrogate pairs.
_odd_texts = st.sampled_from(
    ["9" * 5000, "-1", "1.5", "1e9", "\u0661", "2m", "metrics", "metrics.publishers", "\ud83d", "a\udc00"]
) | st.text(max_size=8)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_messages = st.lists(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ("id", "action", "serial", "name", "clientId", "data", "encoding", "extras", "version"), _values
        ),
    )
    | _values,
    max_size=3,
)
_frames = st.fixed_dictionaries(
    {"action": st.sampled_from([int(action) for action in Action]) | st.integers(-5, 40)},
    optional={
        "channel": st.sampled_from(["c", "", ":", "[?rewind=1]c", "[x]"]) | _values,
        "channelSerial": _values,
        "flags": st.integers(-(2**40), 2**64 - 1) | _values,
        "msgSerial": st.integers(-5, 20) | _values,
        "params": st.dictionaries(
            st.sampled_from(["rewind", "rewindLimit", "modes", "appendMode", "occupancy", "delta"]),
            _odd_texts | _values,
            max_size=3,
        ),
        "auth": st.fixed_dictionaries({}, optional={"accessToken": _values}) | _values,
        "messages": _messages | _values,
        "presence": _messages | _values,
        "id": _values,
    },
)


def pack(value: object) -> bytes:
    """Pack a value, halves of surrogate pairs included: what others send need not be UTF-8."""
    return cast("Any", msgpack).packb(value, unicode_errors="surrogatepass")


class _Failures(logging.Handler):
    """Collects what the server, the web server and the event loop report as errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _without_failures() -> Generator[None]:
    failures = _Failures()
    logging.getLogger().addHandler(failures)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(failures)
    assert [record.getMessage() for record in failures.records] == []


def _run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with _without_failures():
        asyncio.run(asyncio.wait_for(test(), 20))


@given(st.binary(max_size=200), st.sampled_from(["json", "msgpack"]))
def test_bytes_are_a_frame_or_refused(payload: bytes, format_: Format) -> None:
    code = 40000
    try:
        assert isinstance(load_frame(payload, format_).get("action"), int)
    except RefusedError as refusal:
        code = refusal.code
    assert code == 40000


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(_frames, min_size=1, max_size=8), min_size=1, max_size=4), st.booleans())
def test_frames_of_any_content_end_their_connection_at_worst(
    conversations: list[list[dict[str, Any]]], binary: bool
) -> None:
    async def test() -> None:
        async with LocalServer() as server, raw_client(server, "bystander") as bystander:
            await bystander.attach("c")
            for frames in conversations:
                async with raw_client(server, format_="msgpack" if binary else "json") as client:
                    for frame in frames:
                        await client.socket.send(pack(frame) if binary else json.dumps(frame))
                    await client.socket.send(pack({"action": 7}) if binary else '{"action":7}')
                    # Closed politely or failed with an error; never a crash, which would be 1011.
                    assert await client.closed() == 1000
            serial = await bystander.publish("c", {"data": "a"})
            await bystander.append("c", serial, "b")
            async with raw_client(server) as late:
                await late.attach("c", params={"rewind": "10"})
                assert "ab" in [message.get("data") for message in await late.messages()]

    _run(test)


_segments = st.sampled_from(_WORDS) | st.text(max_size=6)
_queries = st.dictionaries(
    st.sampled_from(_PARAMS),
    st.sampled_from(["1", "0", "-1", "json", "msgpack", "forwards", "x", "9" * 30, "9" * 5000])
    | st.text(max_size=5),
    max_size=4,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["6", "", "x", "-1", "9" * 5000, "2.0"]),
    st.lists(
        st.tuples(
            st.sampled_from(["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"]),
            st.lists(_segments, max_size=5),
            _queries,
            _values | _messages | st.binary(max_size=50),
            st.sampled_from(["application/json", "application/x-msgpack", ""]),
        ),
        min_size=1,
        max_size=12,
    ),
)
def test_requests_of_any_content_are_answered(
    version: str,
    requests: list[tuple[str, list[str], dict[str, str], object, str]],
) -> None:
    async def test() -> None:
        async with LocalServer(LocalServerOptions(sandbox=True)) as server:
            name, _, secret = server.key.partition(":")
            async with httpx.AsyncClient(base_url=server.url, auth=(name, secret), trust_env=False) as client:
                for method, segments, query, body, content_type in requests:
                    content = body if isinstance(body, bytes) else _encoded(body, content_type)
                    response = await client.request(
                        method,
                        # An absolute URL: httpx takes no relative one whose first segments are empty.
                        "/".join([server.url, *(quote(segment, safe="%") for segment in segments)]),
                        params={key: value.encode("utf-8", "replace") for key, value in query.items()},
                        content=content if method not in ("GET", "HEAD") else None,
                        headers={"Content-Type": content_type, "X-Ably-Version": version},
                    )
                    assert response.status_code < 500 or response.json()["error"]["code"], response.text
                    assert response.status_code != 500, response.text
                assert (await client.get("/time")).status_code == 200

    _run(test)


_SECRET = "secret"
_KEY = f"app.key:{_SECRET}"
_odd_values: st.SearchStrategy[Any] = (
    _values
    | _odd_texts
    | st.sampled_from(
        cast(
            "list[Any]",
            [
                10**18,
                1e300,
                float("nan"),
                float("inf"),
                True,
                '{"c":[[]]}',
                '{"c":["*"]}',
                {"c": ["*"]},
                [[]],
            ],
        )
    )
)
_claims = st.fixed_dictionaries(
    {"iat": st.just(1_000_000_000) | _odd_values, "exp": st.just(100_000_000_000) | _odd_values},
    optional=dict.fromkeys(
        ("nbf", "sub", "jti", "aud", "x-ably-capability", "x-ably-clientId", "x-ably-revocation-key"),
        _odd_values,
    ),
)
_headers = st.fixed_dictionaries(
    {"alg": st.just("HS256") | _odd_values, "kid": st.just("app.key") | _odd_values},
    optional={"typ": _odd_values, "crit": _odd_values, "b64": _odd_values, "zip": _odd_values},
)


def _part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _token(header: object, claims: object) -> str:
    content = ".".join(_part(json.dumps(part).encode()) for part in (header, claims))
    return f"{content}.{_part(hmac.new(_SECRET.encode(), content.encode(), hashlib.sha256).digest())}"


_tokens = st.builds(_token, _headers | _odd_values, _claims | _odd_values) | _odd_texts
_token_requests = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("keyName", "ttl", "capability", "clientId", "timestamp", "nonce", "mac"), _odd_values
    ),
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_tokens, min_size=1, max_size=8), st.lists(_token_requests | _odd_values, max_size=8))
def test_credentials_of_any_content_are_answered(tokens: list[str], requests: list[object]) -> None:
    async def test() -> None:
        async with (
            LocalServer(LocalServerOptions(keys=(_KEY,))) as server,
            httpx.AsyncClient(base_url=server.url, trust_env=False) as client,
        ):
            for token in tokens:
                if 0 < len(token) < 6000 and token.isascii() and token.isprintable():
                    async with raw_client(server, credentials=False, access_token=token) as refused:
                        assert refused.connected["action"] in (Action.CONNECTED, Action.ERROR)
                    response = await client.get("/channels/c", headers={"Authorization": f"Bearer {token}"})
                    assert response.status_code in (200, 401, 404), response.text
                async with raw_client(server, "alice") as renewing:
                    await renewing.socket.send(json.dumps({"action": 17, "auth": {"accessToken": token}}))
                    await renewing.socket.send('{"action":7}')
                    assert await renewing.closed() == 1000
            for number, request in enumerate(requests):
                for kind in ("application/json", "application/x-msgpack"):
                    try:
                        content = _encoded(request, kind)
                    except OverflowError:
                        continue  # msgpack has no such number
                    response = await client.post(
                        f"/keys/app.key/{'revokeTokens' if number % 3 == 0 else 'requestToken'}",
                        content=content,
                        headers={"Content-Type": kind},
                        auth=cast("Any", ("app.key", _SECRET) if number % 2 == 0 else None),
                    )
                    assert 200 <= response.status_code < 500, response.text
            async with raw_client(server, "bystander") as bystander:
                await bystander.publish("c", {"data": "x"})

    _run(test)


_connect_params = st.dictionaries(
    st.sampled_from(
        [
            "appendRollupWindow",
            "remainPresentFor",
            "heartbeatInterval",
            "echo",
            "format",
            "resume",
            "recover",
            "conn",
            "clientId",
            "v",
            "access_token",
            "key",
        ]
    ),
    st.sampled_from(["9" * 500, "0", "-1", "1.5", "true", "msgpack", "aaaaaaaaaa!bbbbbbbbbbbbbbbb"])
    | st.text(st.characters(codec="utf-8"), max_size=8),
    max_size=5,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_connect_params, min_size=1, max_size=12))
def test_a_connection_with_any_parameters_is_answered(queries: list[dict[str, str]]) -> None:
    async def test() -> None:
        async with LocalServer(LocalServerOptions(keys=(_KEY,))) as server:
            for query in queries:
                format_ = "msgpack" if query.pop("format", None) == "msgpack" else "json"
                async with raw_client(
                    server, format_=format_, credentials="key" not in query, **query
                ) as client:
                    if client.connected["action"] == Action.CONNECTED:
                        await client.attach("c")
                    else:
                        assert client.connected["action"] == Action.ERROR
                        assert await client.closed() == 1000
            async with raw_client(server, "bystander") as bystander:
                await bystander.publish("c", {"data": "x"})

    _run(test)


def _encoded(body: object, content_type: str) -> bytes:
    return pack(body) if "msgpack" in content_type else json.dumps(body).encode()
