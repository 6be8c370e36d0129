"""Targets: requests to the local server."""

import base64
from typing import Any, Final, cast
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st

from tests.fuzz.asgi import request
from tests.fuzz.local_server import (
    BASIC,
    CREATED,
    JSON,
    MSGPACK,
    NAME,
    ask,
    base_message,
    check_readable,
    check_reply,
    formats,
    server_of,
    with_serial,
)
from tests.fuzz.samples import MESSAGES
from tests.fuzz.target import BrokenPromiseError, Target
from tests.fuzz.values import Json, changed, encode, numerals, read_json, texts, values
from tests.local.raw_client import WireFormat

_SEGMENTS: Final = (
    "channels", "c", "messages", "presence", "history", "versions", "publish", "keys", NAME, "requestToken",
    "revokeTokens", "stats", "time", "apps", "push", "SERIAL", "annotations",
)  # fmt: skip
_PATHS: Final[tuple[list[str], ...]] = (
    ["channels"], ["channels", "c"], ["channels", "c", "messages"], ["channels", "c", "messages", "SERIAL"],
    ["channels", "c", "messages", "SERIAL", "versions"], ["channels", "c", "presence"],
    ["channels", "c", "presence", "history"], ["keys", NAME, "requestToken"], ["keys", NAME, "revokeTokens"],
    ["messages"], ["presence"], ["stats"], ["time"], ["apps"],
)  # fmt: skip
_QUERIES: Final = (
    "limit", "direction", "start", "end", "cursor", "from_serial", "fromSerial", "format", "envelope",
    "clientId", "connectionId", "by", "prefix", "channels", "channel", "key", "access_token", "_forceNack",
)  # fmt: skip
_BODIES: Final[list[Any]] = [
    *MESSAGES,
    list(MESSAGES[:3]),
    {"channels": ["c", "d"], "messages": [{"data": "x"}]},
    [{"channels": "c", "messages": {"data": "x"}}],
    {"targets": ["clientId:me"], "issuedBefore": 1, "allowReauthMargin": True},
    {"ttl": 3600000, "capability": '{"*":["*"]}', "clientId": "me"},
    {"keys": [{}], "namespaces": [{"id": "a"}]},
]
_headers: Final = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.sampled_from((JSON, MSGPACK, "*/*", "")),
        "x-ably-version": numerals,
        "x-ably-clientid": texts,
        "authorization": st.sampled_from(
            ("Basic", "Basic !", "Bearer", "Bearer a.b.c", "Bearer !", "Other x", "")
        ),
        "content-length": numerals,
        "origin": texts,
    },
)
_requests: Final = st.tuples(
    st.sampled_from(("GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS")),
    st.one_of(
        st.sampled_from(_PATHS),
        changed(_PATHS, most=2).filter(lambda path: isinstance(path, list)),
        st.lists(st.sampled_from(_SEGMENTS) | texts, max_size=5),
    ),
    st.dictionaries(st.sampled_from(_QUERIES), numerals | texts, max_size=3),
    _headers,
    formats,
    changed(_BODIES) | values,
)


async def _take_requests(
    value: list[tuple[str, list[Any], dict[str, str], dict[str, str], WireFormat, object]],
) -> None:
    async with server_of(sandbox=True) as server:
        serial = await base_message(server.app)
        for method, path, query, headers, format_, body in value:
            segments = [serial if part == "SERIAL" else str(part) for part in path]
            content_type = JSON if format_ == "json" else MSGPACK
            sent = {"authorization": BASIC, "content-type": content_type.encode()}
            sent |= {name: text.encode("latin-1", "replace") for name, text in headers.items()}
            reply = await request(
                server.app,
                method,
                "/" + "/".join(quote(part, safe="%", errors="replace") for part in segments),
                query="&".join(f"{k}={quote_plus(v, errors='replace')}" for k, v in query.items()).encode(),
                headers=sent,
                body=encode(with_serial(body, serial), format_),
            )
            check_reply(reply)
        await check_readable(server.app)


_APPS: Final[tuple[Json, ...]] = (
    {
        "limits": {"presence": {"maxMembers": 3}},
        "keys": [{}, {"capability": '{"ns:*":["subscribe"]}'}, {"revocableTokens": True}],
        "namespaces": [{"id": "persisted", "persisted": True}, {"id": "mutable", "mutableMessages": True}],
        "channels": [
            {
                "name": "persisted:p",
                "presence": [
                    {"clientId": "a", "data": "true"},
                    {"clientId": "b", "data": "AAEC", "encoding": "json/utf-8/cipher+x/base64"},
                ],
            }
        ],
    },
)


async def _take_app(value: object) -> None:
    async with server_of(sandbox=True) as server:
        reply = await ask(server.app, "POST", "/apps", body=value)
        if reply.status != CREATED:
            return
        app: Json = read_json(reply.body)
        for key in app["keys"]:
            auth = b"Basic " + base64.b64encode(key["keyStr"].encode())
            for path in (
                "/channels",
                "/channels/persisted%3Ap/presence",
                f"/keys/{key['keyName']}/requestToken",
            ):
                await ask(server.app, "POST" if "keys" in path else "GET", path, auth=auth, body={})


async def _take_name(name: str) -> None:
    """A channel of any name can be published to, and read; or its name is refused for both."""
    path = f"/channels/{quote(name, safe='', errors='replace')}/messages"
    async with server_of() as server:
        published = await ask(server.app, "POST", path, body={"data": "x"})
        read = await ask(server.app, "GET", path)
        if (published.status == CREATED) != (read.status == 200):
            raise BrokenPromiseError("a name is refused for reading or for publishing only", name)
        if published.status == CREATED and len(cast("list[object]", read_json(read.body))) != 1:
            raise BrokenPromiseError("a message is published to another channel than it is read from", name)


TARGETS: Final = (
    Target("local.requests", st.lists(_requests, min_size=1, max_size=3), _take_requests),
    Target("local.apps", changed(_APPS), _take_app),
    Target("local.names", texts, _take_name),
)
