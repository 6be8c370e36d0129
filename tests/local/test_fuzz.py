"""Fuzz tests: the server answers or refuses any input, and continues."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ably_ai_transport.local import LocalServer, LocalServerOptions
from ably_ai_transport.local.protocol.formats import load_frame
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.refusals import RefusedError
from tests.local.raw_client import pack, raw_client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

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
            st.sampled_from(["rewind", "modes", "appendMode"]), st.text(max_size=8) | _values, max_size=3
        ),
        "auth": st.fixed_dictionaries({}, optional={"accessToken": _values}) | _values,
        "messages": _messages | _values,
        "presence": _messages | _values,
        "id": _values,
    },
)


def _run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
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
    st.sampled_from(["1", "0", "-1", "json", "msgpack", "forwards", "x", "9" * 30]) | st.text(max_size=5),
    max_size=4,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["GET", "POST", "PATCH", "PUT", "DELETE"]),
            st.lists(_segments, max_size=5),
            _queries,
            _values | _messages | st.binary(max_size=50),
            st.sampled_from(["application/json", "application/x-msgpack", ""]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_requests_of_any_content_are_answered(
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
                        content=content if method != "GET" else None,
                        headers={"Content-Type": content_type},
                    )
                    assert response.status_code < 500 or response.json()["error"]["code"], response.text
                    assert response.status_code != 500, response.text
                assert (await client.get("/time")).status_code == 200

    _run(test)


def _encoded(body: object, content_type: str) -> bytes:
    return pack(body) if "msgpack" in content_type else json.dumps(body).encode()
