"""A local server that only its ASGI application reaches, and checks of what it sends."""

import base64
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote, quote_plus

from hypothesis import strategies as st
from starlette.types import ASGIApp

from ably_ai_transport.local import LocalServer, LocalServerOptions
from tests.fuzz.asgi import Payload, Reply, Socket, request, settle, websocket
from tests.fuzz.target import BrokenPromiseError
from tests.fuzz.values import Json, encode, encode_json, read_json, read_msgpack
from tests.local.raw_client import WireFormat

KEY: Final = "app.key:a-secret-of-thirty-two-characters"
NAME, _, SECRET = KEY.partition(":")
BASIC: Final = b"Basic " + base64.b64encode(KEY.encode())
JSON: Final = "application/json"
MSGPACK: Final = "application/x-msgpack"
NEVER: Final = 4_102_444_800
_INTERNAL: Final = 500
CREATED: Final = 201

formats: Final = st.sampled_from(("json", "msgpack"))


@asynccontextmanager
async def server_of(**options: Any) -> AsyncGenerator[LocalServer]:  # noqa: ANN401 - LocalServerOptions'
    """A server that only its ASGI application reaches."""
    server = LocalServer(LocalServerOptions(keys=(KEY,), **options))
    try:
        yield server
    finally:
        await server.__aexit__(None, None, None)


def query_of(format_: str, **params: str) -> bytes:
    return f"key={KEY}&format={format_}".encode() + b"".join(
        f"&{name}={quote_plus(value)}".encode() for name, value in params.items()
    )


def packed(frame: object, format_: WireFormat) -> Payload:
    data = encode(frame, format_)
    return data.decode() if format_ == "json" else data


def read_payload(payload: Payload) -> Any:  # noqa: ANN401 - a frame
    try:
        return read_json(payload) if isinstance(payload, str) else read_msgpack(payload)
    except (ValueError, RecursionError) as error:
        raise BrokenPromiseError("the server sent a frame that strict readers refuse") from error


def check_reply(reply: Reply) -> object:
    """Check an answer: nothing internal, and in the format that it claims."""
    if reply.status == _INTERNAL:
        raise BrokenPromiseError("a request was answered with 500", reply.body[:200])
    kind = reply.headers.get("content-type", "")
    if not reply.body or not kind.startswith((JSON, MSGPACK)):
        return None
    try:
        return read_json(reply.body) if kind.startswith(JSON) else read_msgpack(reply.body)
    except (ValueError, RecursionError) as error:
        raise BrokenPromiseError("the server answered with a body that strict readers refuse") from error


async def ask(
    app: ASGIApp, method: str, path: str, *, body: object = None, accept: str = JSON, auth: bytes = BASIC
) -> Reply:
    headers = {"accept": accept.encode(), "content-type": JSON.encode(), "authorization": auth}
    content = b"" if body is None else encode_json(body)
    reply = await request(app, method, path, headers=headers, body=content)
    check_reply(reply)
    return reply


async def check_readable(app: ASGIApp, name: str = "c") -> None:
    """Check that strangers still read the channel, in both formats."""
    channel = f"/channels/{quote(name, safe='')}"
    for accept in (JSON, MSGPACK):
        for path in ("/messages", "/presence", "/presence/history"):
            reply = await ask(app, "GET", channel + path, accept=accept)
            if reply.status >= 400:
                raise BrokenPromiseError("a channel cannot be read any more", (path, reply.status))


class _Followers:
    """Two clients that follow a channel, one in each format."""

    def __init__(self, sockets: Sequence[Socket]) -> None:
        self._sockets = sockets

    async def attach(self) -> None:
        for socket, format_ in zip(self._sockets, ("json", "msgpack"), strict=True):
            socket.send(packed({"action": 10, "channel": "c"}, format_))
        await settle(*self._sockets)

    def check(self) -> None:
        for socket in self._sockets:
            for payload in socket.received:
                read_payload(payload)
            if socket.closed is not None:
                raise BrokenPromiseError("a follower was disconnected")


@asynccontextmanager
async def followed(app: ASGIApp) -> AsyncGenerator[_Followers]:
    async with websocket(app, query_of("json")) as one, websocket(app, query_of("msgpack")) as other:
        followers = _Followers([one, other])
        await followers.attach()
        yield followers


async def base_message(app: ASGIApp) -> str:
    """Publish the message that updates and appends refer to."""
    reply = await ask(app, "POST", "/channels/c/messages", body={"name": "n", "data": "text"})
    return cast("Json", read_json(reply.body))["serials"][0]


def with_serial(value: Any, serial: str) -> Any:  # noqa: ANN401 - any sample
    if isinstance(value, dict):
        fields = cast("dict[Any, Any]", value)
        return {key: with_serial(one, serial) for key, one in fields.items()}
    if isinstance(value, list):
        return [with_serial(one, serial) for one in cast("list[Any]", value)]
    return serial if value == "SERIAL" else value


class Talk(NamedTuple):
    """Frames of one client."""

    format: WireFormat
    frames: list[Json]


async def talk(app: ASGIApp, said: Talk, serial: str) -> None:
    """Send the frames of a client, with the numbers that its SDK would give them."""
    async with websocket(app, query_of(said.format, clientId="me")) as socket:
        number = 0
        for frame in said.frames:
            sent: Any = with_serial(frame, serial)
            if isinstance(sent, dict) and cast("Json", sent).get("msgSerial") == 0:
                sent = {**cast("Json", sent), "msgSerial": number}
                number += 1
            socket.send(packed(cast("object", sent), said.format))
        await settle(socket)
    for payload in socket.received:
        read_payload(payload)
