"""The websocket endpoint: from upgrade to close."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import anyio

from ably_ai_transport.local.auth import Credentials
from ably_ai_transport.local.dispatch import Dispatcher
from ably_ai_transport.local.formats import load_frame
from ably_ai_transport.local.protocol import Action
from ably_ai_transport.local.refusals import RefusedError
from ably_ai_transport.local.sockets import socket_of
from ably_ai_transport.local.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope, Send

    from ably_ai_transport.local.connection import Connection
    from ably_ai_transport.local.engine import Engine


class WebSocketEndpoint:
    """An ASGI application for the websockets of Ably's realtime protocol."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._dispatcher = Dispatcher(engine)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one websocket."""
        await receive()
        if self._engine.faults.refuses_connections:
            await _refuse(scope, send)
            return
        await send({"type": "websocket.accept"})
        params = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        engine = self._engine
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
                tasks.start_soon(self._serve, params, transport, receive, tasks.cancel_scope)
                await transport.write()
                # Nothing more can be said; what the client still says is of no interest.
                tasks.cancel_scope.cancel()
        finally:
            engine.stats.connections -= 1

    async def _serve(
        self,
        params: Mapping[str, str],
        transport: Transport,
        receive: Receive,
        scope: anyio.CancelScope,
    ) -> None:
        connection = self._connect(params, transport)
        if connection is None:
            return
        try:
            await self._read(connection, transport, receive)
        finally:
            self._engine.transport_lost(connection, transport)
        if transport.is_open:
            scope.cancel()

    def _connect(self, params: Mapping[str, str], transport: Transport) -> Connection | None:
        credentials = Credentials(
            key=params.get("key"),
            token=params.get("access_token") or params.get("accessToken"),
            client_id=params.get("clientId"),
        )
        try:
            identity = self._engine.authority.identify(credentials)
        except RefusedError as refusal:
            transport.send({"action": int(Action.ERROR), "error": refusal.to_wire()})
            transport.finish()
            return None
        connection = self._engine.connect(transport, identity, params)
        transport.label = connection.label
        return connection

    async def _read(self, connection: Connection, transport: Transport, receive: Receive) -> None:
        handle = self._dispatcher.handle
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
            try:
                frame = load_frame(payload, format_)
            except RefusedError as refusal:
                connection.fail(refusal)
                return
            transport.received(frame, len(payload))
            handle(connection, frame)


async def _refuse(scope: Scope, send: Send) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": 503, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
    else:
        await send({"type": "websocket.close", "code": 1013})
