"""HTTP streams: frames leave in an open response and arrive in requests."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from ably_ai_transport_haip.protocol import HaipAuthenticationError, HaipError, new_id
from ably_ai_transport_haip.server.auth import Authenticate, Principal, identify
from ably_ai_transport_haip.server.connection import Connection
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.outlets import StreamFormat, StreamOutlet
from ably_ai_transport_haip.server.registry import SessionRegistry

_LINES = "application/x-ndjson"
STREAM_HEADER = "x-haip-stream"
"""The header that names the stream of a request; the GET of the stream has a parameter ``stream_id``."""


@dataclass(frozen=True, slots=True)
class _Stream:
    principal: Principal
    token: str = field(repr=False)
    connection: Connection

    def is_of(self, principal: Principal) -> bool:
        """Tell whether the stream belongs to a client."""
        return self.principal.identity == principal.identity


class Streams:
    """The open responses of a server, and the requests that belong to them.

    Args:
        registry: The sessions of the server.
        authenticate: Returns the owner of a token.
        options: The options of the server.
    """

    def __init__(
        self, registry: SessionRegistry, authenticate: Authenticate, options: HaipServerOptions
    ) -> None:
        self._registry = registry
        self._authenticate = authenticate
        self._options = options
        self._open: dict[str, _Stream] = {}

    @property
    def count(self) -> int:
        """The number of open responses."""
        return len(self._open)

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to a path of the streams."""
        request = Request(scope, receive, send)
        token = token_of(request.query_params, request.headers)
        try:
            principal = await identify(self._authenticate, token)
        except HaipError as error:
            status = 401 if isinstance(error, HaipAuthenticationError) else 503
            await JSONResponse({"error": error.message}, status)(scope, receive, send)
            return
        if request.method == "GET":
            await self._open_stream(request, send, principal, token, None)
        elif _is_duplex(request):
            await self._open_stream(request, send, principal, token, b"")
        else:
            await (await self._take(request, principal, token))(scope, receive, send)

    async def _take(self, request: Request, principal: Principal, token: str) -> Response:
        """Take the frame in the body of a request."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._options.max_frame_size:
                return JSONResponse(
                    {"error": f"the body has more than {self._options.max_frame_size} bytes"}, 413
                )
        if "x-haip-binary" in request.headers:
            return await self._take_binary(request, principal, token, bytes(body))
        text = body.decode(errors="replace")
        lines = [text]
        if _kind_of(request) == _LINES:
            lines = [line for line in text.split("\n") if line.strip()] or [""]
        message = _object(lines[0])
        opens = message.get("type") == "HAI" and "x-haip-message" not in request.headers
        if opens and "text/event-stream" in request.headers.get("accept", ""):
            return _Opening(self, request, principal, token, bytes(body))
        connection = self._connection(request, principal, token, message)
        if connection is not None:
            for line in lines:
                await connection.take_text(line)
            return JSONResponse({"status": "ok"})
        session = self._registry.find(principal, str(message.get("session")))
        if session is None or not session.is_connected:
            return JSONResponse({"error": "the session is unknown or not connected"}, 404)
        for line in lines:
            session.take_text(line)
            await session.room()
        return JSONResponse({"status": "ok"})

    async def _take_binary(self, request: Request, principal: Principal, token: str, body: bytes) -> Response:
        connection = self._connection(request, principal, token, {})
        if connection is None:
            return JSONResponse({"error": "there is no stream for these bytes"}, 404)
        try:
            await connection.take_binary(base64.b64decode(body, validate=True))
        except binascii.Error:
            return JSONResponse({"error": "the body is not base64"}, 400)
        return JSONResponse({"status": "ok"})

    def _connection(
        self, request: Request, principal: Principal, token: str, message: Mapping[str, Any]
    ) -> Connection | None:
        """Find the stream of a request: by its name, its session, or its token."""
        named = request.headers.get(STREAM_HEADER)
        if named is not None:
            stream = self._open.get(named)
            return stream.connection if stream is not None and stream.is_of(principal) else None
        own = [stream for stream in self._open.values() if stream.is_of(principal)]
        session = message.get("session")
        is_handshake = message.get("type") == "HAI"
        if not is_handshake and session is not None:
            for stream in own:
                bound = stream.connection.session
                if bound is not None and bound.session_id == session:
                    return stream.connection
            if self._registry.find(principal, str(session)) is not None:
                return None
        fitting = [
            stream.connection
            for stream in own
            if stream.token == token and (stream.connection.session is None) is is_handshake
        ]
        return fitting[-1] if fitting else None

    async def open_stream(
        self, request: Request, send: Send, principal: Principal, token: str, first: bytes
    ) -> None:
        """Answer a request that holds a handshake with a stream."""
        await self._open_stream(request, send, principal, token, first)

    async def _open_stream(
        self, request: Request, send: Send, principal: Principal, token: str, first: bytes | None
    ) -> None:
        outlet = StreamOutlet(send, _format_of(request))
        connection = Connection(
            self._registry, principal, outlet, self._options, self._options.stream_heartbeat_interval
        )
        stream_id = request.query_params.get("stream_id") or new_id()
        if stream_id in self._open:
            await JSONResponse({"error": "a stream of this name is already open"}, 409)(
                request.scope, request.receive, send
            )
            return

        async def read() -> None:
            if first:
                await connection.take_text(first.decode(errors="replace"))
            elif first is not None:
                await _read_lines(request, connection, self._options.max_frame_size)
            while (await request.receive())["type"] != "http.disconnect":
                pass

        self._open[stream_id] = _Stream(principal, token, connection)
        try:
            await outlet.begin()
            await connection.serve(read)
            await outlet.close("the connection has ended")
        finally:
            del self._open[stream_id]


class _Opening(Response):
    """A response that is a stream. Its first frame is the body of the request."""

    def __init__(
        self, streams: Streams, request: Request, principal: Principal, token: str, first: bytes
    ) -> None:
        super().__init__()
        self._streams = streams
        self._request = request
        self._principal = principal
        self._token = token
        self._first = first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._streams.open_stream(self._request, send, self._principal, self._token, self._first)


async def _read_lines(request: Request, connection: Connection, max_size: int) -> None:
    """Take the frames in the body of a request, one per line."""
    rest = b""
    try:
        async for chunk in request.stream():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.strip():
                    await connection.take_text(line.decode(errors="replace"))
            if len(rest) > max_size:
                await connection.take_text(rest.decode(errors="replace"))
                return
        if rest.strip():
            await connection.take_text(rest.decode(errors="replace"))
    except ClientDisconnect:
        return


def token_of(params: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """Return the token of a request, from its header or its query."""
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer.strip() if kind.lower() == "bearer" else params.get("token", "")


def _is_duplex(request: Request) -> bool:
    # A request that names a stream brings frames for it.
    return (
        request.url.path.endswith("/stream")
        and STREAM_HEADER not in request.headers
        and _kind_of(request) not in ("application/json", "application/octet-stream")
    )


def _kind_of(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip()


def _format_of(request: Request) -> StreamFormat:
    accepted = request.headers.get("accept", "")
    if "text/event-stream" in accepted:
        return "events"
    wants_lines = request.method == "POST" or "ndjson" in accepted
    return "lines" if wants_lines and request.url.path.endswith("/stream") else "events"


def _object(text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
