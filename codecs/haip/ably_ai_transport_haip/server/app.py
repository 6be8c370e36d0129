"""The HAIP server, an ASGI application."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ably_ai_transport_haip.protocol import PROTOCOL_VERSION, HaipAuthenticationError, HaipError
from ably_ai_transport_haip.server.auth import Authenticate, identify
from ably_ai_transport_haip.server.connection import Connection
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.outlets import SocketOutlet
from ably_ai_transport_haip.server.registry import SessionHandler, SessionRegistry, ignore
from ably_ai_transport_haip.server.streams import Streams, token_of
from ably_ai_transport_haip.server.tools import ServerTool

PATHS: Final = (
    "/",
    "/haip",
    "/haip/sse",
    "/haip/connect",
    "/haip/stream",
    "/haip/message",
    "/haip/handshake",
)


class HaipServer:
    """A HAIP server over WebSocket, server-sent events and streamed HTTP, as an ASGI application.

    WebSockets are accepted on every path. Streams are on ``/haip/sse``, ``/haip/connect`` and
    ``/haip/stream``; requests with frames go to the same paths or to ``/haip/message``. ``/health`` and
    ``/stats`` return the state of the server.

    Args:
        authenticate: Returns the owner of a token, such as :class:`JwtAuthenticator`.
        handler: Serves one session, across its connections. Without a handler, only the tools reply.
        tools: The tools of every session.
        options: Limits and times.
        cors_origins: The origins of web pages that may connect over HTTP.
        clock: Returns the current time: seconds since 1970.

    Example:
        >>> async def echo(session: HaipServerSession) -> None:
        ...     async for message in session.messages():
        ...         if message.type == "MESSAGE_PART":
        ...             await session.send_text_message("AGENT", str(message.payload["text"]))
        >>> app = HaipServer(JwtAuthenticator("a secret of at least thirty-two bytes"), echo)
        >>> # uvicorn module:app
    """

    def __init__(
        self,
        authenticate: Authenticate,
        handler: SessionHandler = ignore,
        *,
        tools: Iterable[ServerTool] = (),
        options: HaipServerOptions | None = None,
        cors_origins: Sequence[str] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.options = options or HaipServerOptions()
        self._authenticate = authenticate
        self._registry = SessionRegistry(handler, self.options, tools, clock)
        self._streams = Streams(self._registry, authenticate, self.options)
        self._connections = 0
        self._sweeper: asyncio.Task[None] | None = None
        self._app = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/stats", self._stats),
                *(Route(path, _Endpoint(self._streams)) for path in PATHS),
                WebSocketRoute("/{path:path}", self._socket),
            ],
            middleware=[
                Middleware(
                    CORSMiddleware, allow_origins=cors_origins, allow_headers=["*"], allow_methods=["*"]
                )
            ],
        )

    def __len__(self) -> int:
        """Return the number of sessions, with and without a connection."""
        return len(self._registry)

    async def __aenter__(self) -> Self:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._registry.sweep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        sweeper, self._sweeper = self._sweeper, None
        await self._registry.close()
        if sweeper is not None:
            sweeper.cancel()
            await asyncio.wait([sweeper])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self:
            await send({"type": "lifespan.startup.complete"})
            ended: Message = await receive()
        if ended["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})

    async def _socket(self, websocket: WebSocket) -> None:
        protocols: list[str] = websocket.scope.get("subprotocols") or []
        token = token_of(websocket.query_params, websocket.headers)
        for protocol in protocols:
            if protocol.startswith("token."):
                token = protocol.removeprefix("token.")
        await websocket.accept("haip" if "haip" in protocols else None)
        outlet = SocketOutlet(websocket)
        try:
            principal = await identify(self._authenticate, token)
        except HaipError as error:
            is_refused = isinstance(error, HaipAuthenticationError)
            await outlet.close(error.message, "refused" if is_refused else "leaving")
            return
        heartbeat = self.options.heartbeat_interval
        connection = Connection(self._registry, principal, outlet, self.options, heartbeat)

        async def read() -> None:
            while (event := await websocket.receive())["type"] == "websocket.receive":
                text, data = event.get("text"), event.get("bytes")
                if text is not None:
                    await connection.take_text(text)
                elif data is not None:
                    await connection.take_binary(data)

        self._connections += 1
        try:
            await connection.serve(read)
            await outlet.close("the connection has ended")
        finally:
            self._connections -= 1

    async def _health(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "haip_version": PROTOCOL_VERSION})

    async def _stats(self, _: Request) -> JSONResponse:
        streams = self._streams.count
        return JSONResponse(
            {"sessions": len(self._registry), "connections": self._connections + streams, "streams": streams}
        )


class _Endpoint:
    """An ASGI application for one path and all methods."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._streams.events(scope, receive, send)
