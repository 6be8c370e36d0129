"""The websocket endpoint: from upgrade to close."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import anyio

from ably_ai_transport.local.auth.credentials import Credentials
from ably_ai_transport.local.core.transport import Transport
from ably_ai_transport.local.protocol.formats import load_frame
from ably_ai_transport.local.protocol.frames import Action
from ably_ai_transport.local.protocol.refusals import RefusedError, too_large
from ably_ai_transport.local.web.sockets import socket_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from ably_ai_transport.local.core.apps import Apps
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.core.engine import Engine


class WebSocketEndpoint:
    """An ASGI application for the websockets of Ably's realtime protocol."""

    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one websocket."""
        await receive()
        params = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
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
            socket_of(scope, send),
            "msgpack" if params.get("format") == "msgpack" else "json",
            params.get("conn") or params.get("clientId") or "",
            clock=engine.clock,
            stats=engine.stats,
            limits=engine.options.limits,
            observers=engine.observers,
        )
        engine.stats.connections += 1
        engine.stats.connections_opened += 1
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    self._serve, engine, credentials, params, transport, receive, tasks.cancel_scope
                )
                await transport.write()
                # Nothing more can be said; what the client still says is of no interest.
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
        finally:
            engine.connections.transport_lost(connection, transport)
        if transport.is_open:
            scope.cancel()

    def _connect(
        self, engine: Engine, credentials: Credentials, params: Mapping[str, str], transport: Transport
    ) -> Connection | None:
        refused_with = Action.ERROR
        try:
            identity = engine.authority.identify(credentials)
            # Who comes when the server is full may try again.
            refused_with = Action.DISCONNECTED
            engine.connections.admit()
        except RefusedError as refusal:
            transport.send({"action": int(refused_with), "error": refusal.to_wire()})
            transport.finish()
            return None
        connection = engine.connections.connect(transport, identity, params)
        transport.label = connection.label
        return connection

    async def _read(
        self, engine: Engine, connection: Connection, transport: Transport, receive: Receive
    ) -> None:
        handle = engine.dispatcher.handle
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
            size = len(payload)
            try:
                if size > limit:
                    raise too_large(size, limit)
                frame = load_frame(payload, format_)
            except RefusedError as refusal:
                engine.connections.fail(connection, refusal)
                return
            transport.received(frame, size)
            handle(connection, frame, size)


async def _refuse(scope: Scope, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "websocket.close", "code": 1013})
