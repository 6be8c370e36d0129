"""The websocket endpoint, from upgrade to close, and the websockets of ASGI servers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import MAX_LINE_LENGTH

from ably_ai_transport.local.auth.credentials import Credentials
from ably_ai_transport.local.core.transport import Socket, SocketClosedError, Transport
from ably_ai_transport.local.protocol.formats import load_frame
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.query import format_of, params_of, parse_query
from ably_ai_transport.local.protocol.refusals import RefusedError, internal_error, too_large
from ably_ai_transport.local.protocol.values import size_of_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Receive, Scope, Send

    from ably_ai_transport.local.core.apps import Apps
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.engine import Engine

logger = logging.getLogger("ably_ai_transport.local")

_EXTENSION: Final = "ably_ai_transport.socket"
_EMPTY: Final = b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_URI_TOO_LONG: Final = b"HTTP/1.1 414 URI Too Long" + _EMPTY
_HEAD_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large" + _EMPTY


class WebSocketEndpoint:
    """The ASGI application for the websockets of Ably's realtime protocol."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one websocket."""
        await receive()
        params = params_of(scope["query_string"])
        credentials = Credentials(
            key=params.get("key"),
            token=params.get("access_token") or params.get("accessToken"),
            client_id=params.get("clientId"),
        )
        engine = self._apps.of(credentials.key_name)
        if engine.rules.refuses_connections:
            await _refuse(scope, send)
            return
        await send({"type": "websocket.accept"})
        transport = Transport(
            _socket_of(scope, send),
            format_of(params),
            params.get("conn") or params.get("clientId") or "",
            clock=engine.clock,
            stats=engine.stats,
            limits=engine.options.limits,
            observers=engine.observers,
            quota=engine.quota,
        )
        engine.stats.connections += 1
        engine.stats.connections_opened += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    self._serve, engine, credentials, params, transport, receive, tasks.cancel_scope
                )
                await transport.write()
                # The writer has ended: frames that still arrive cannot be answered.
                tasks.cancel_scope.cancel()
        finally:
            engine.stats.connections -= 1

    async def _serve(
        self,
        engine: Engine,
        credentials: Credentials,
        params: Mapping[str, str],
        transport: Transport,
        receive: Receive,
        scope: anyio.CancelScope,
    ) -> None:
        connection = self._connect(engine, credentials, params, transport)
        if connection is None:
            return
        try:
            await self._read(engine, connection, transport, receive)
        except Exception:
            logger.exception("unable to read frames", extra={"connection": connection.id})
            engine.connections.fail(connection, internal_error())
        finally:
            engine.connections.transport_lost(connection, transport)
        if transport.is_open:
            scope.cancel()

    def _connect(
        self, engine: Engine, credentials: Credentials, params: Mapping[str, str], transport: Transport
    ) -> Connection | None:
        refused_with = Action.ERROR
        try:
            query = parse_query(params)
            identity = engine.authority.identify(credentials)
            # A client that meets a full server may try again.
            refused_with = Action.DISCONNECTED
            engine.connections.admit()
            connection = engine.connections.connect(transport, identity, query)
        except RefusedError as caught:
            refusal = caught
            logger.debug("connection refused: %s", refusal.message, extra={"code": refusal.code})
        except Exception:
            logger.exception("unable to connect a client")
            refused_with, refusal = Action.ERROR, internal_error()
        else:
            transport.label = connection.label
            return connection
        transport.send({"action": int(refused_with), "error": refusal.to_wire()})
        transport.finish()
        return None

    async def _read(
        self, engine: Engine, connection: Connection, transport: Transport, receive: Receive
    ) -> None:
        handle = engine.connections.handle
        limit = engine.options.limits.max_frame_size
        format_ = transport.format
        while transport.is_open:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            payload = event.get("bytes")
            if payload is None:
                payload = event["text"]
            if not transport.is_open:
                return
            if transport.is_black_hole:
                continue
            size = size_of_text(payload)
            try:
                if size > limit:
                    raise too_large(size, limit)
                frame = load_frame(payload, format_)
            except RefusedError as refusal:
                engine.connections.fail(connection, refusal)
                return
            transport.received(frame, size)
            handle(connection, frame, size)


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol; the application finds it among the extensions of its scope."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*args, **kwargs)
        self._swallows = False
        # Below warnings, uvicorn and websockets log query strings and frames, which hold keys and tokens.
        self.logger = self.conn.logger = _quiet_logger()
        self.conn.debug = False

    async def run_asgi(self) -> None:
        """Run the application with this protocol among the extensions of its scope."""
        extensions = cast("dict[str, Any]", self.scope.get("extensions", {}))
        extensions[_EXTENSION] = self
        await super().run_asgi()

    def swallow(self) -> None:
        """Ignore the bytes that the peer sends from now on, its pongs included."""
        self._swallows = True
        self.stop_keepalive()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self._swallows:
            return
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            # The parser has given up on a line or on the number of headers; it answers nothing by itself.
            is_url = len(data.partition(b"\r\n")[0]) > MAX_LINE_LENGTH
            self.transport.write(_URI_TOO_LONG if is_url else _HEAD_TOO_LARGE)
            self.transport.close()


class AsgiSocket:
    """The websocket of any ASGI server."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def send(self, payloads: Sequence[bytes], *, text: bool) -> None:
        """Write frames; waits while the peer does not read."""
        try:
            for payload in payloads:
                if text:
                    await self._send({"type": "websocket.send", "text": payload.decode()})
                else:
                    await self._send({"type": "websocket.send", "bytes": payload})
        except (OSError, RuntimeError) as error:
            raise SocketClosedError from error

    async def close(self, code: int) -> None:
        """Start the closing handshake."""
        try:
            await self._send({"type": "websocket.close", "code": code})
        except (OSError, RuntimeError) as error:
            raise SocketClosedError from error

    def abort(self) -> None:
        """Do nothing: the web server cuts the connection when the endpoint returns."""

    def cut(self, payload: bytes, *, text: bool) -> None:
        """Do nothing: ASGI cannot write half of a frame; the connection is only cut."""

    def swallow(self) -> None:
        """Do nothing: ASGI has no access to pings and closing handshakes; frames are ignored elsewhere."""


class UvicornSocket:
    """The websocket of the server's own uvicorn: it writes several frames at once and can really abort."""

    def __init__(self, protocol: SocketProtocol, send: Send) -> None:
        self._protocol = protocol
        self._send = send

    async def send(self, payloads: Sequence[bytes], *, text: bool) -> None:
        """Write frames; waits while the peer does not read."""
        protocol = self._protocol
        await protocol.writable.wait()
        if protocol.disconnected or protocol.close_sent:
            raise SocketClosedError
        connection = protocol.conn
        write = connection.send_text if text else connection.send_binary
        try:
            for payload in payloads:
                write(payload)
        except InvalidState as error:
            raise SocketClosedError from error
        protocol.transport.write(b"".join(connection.data_to_send()))

    async def close(self, code: int) -> None:
        """Start the closing handshake."""
        try:
            await self._send({"type": "websocket.close", "code": code})
        except OSError as error:
            raise SocketClosedError from error

    def abort(self) -> None:
        """Cut the connection without a closing handshake."""
        self._protocol.transport.abort()

    def cut(self, payload: bytes, *, text: bool) -> None:
        """Write half of a frame and cut the connection."""
        protocol = self._protocol
        if not (protocol.disconnected or protocol.close_sent):
            connection = protocol.conn
            (connection.send_text if text else connection.send_binary)(payload)
            data = b"".join(connection.data_to_send())
            protocol.transport.write(data[: len(data) // 2])
            protocol.transport.close()

    def swallow(self) -> None:
        """Ignore everything that the peer sends."""
        self._protocol.swallow()


def _socket_of(scope: Scope, send: Send) -> Socket:
    """Return the best socket that the web server offers."""
    protocol = scope.get("extensions", {}).get(_EXTENSION)
    if isinstance(protocol, SocketProtocol):
        return UvicornSocket(protocol, send)
    return AsgiSocket(send)


def _quiet_logger() -> logging.Logger:
    quiet = logging.getLogger("ably_ai_transport.local.websocket")
    quiet.setLevel(logging.WARNING)
    return quiet


async def _refuse(scope: Scope, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "websocket.close", "code": 1013})
