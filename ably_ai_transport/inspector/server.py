"""The inspector: a page on its own port, and the updates that it gets."""

import contextlib
import json
from collections.abc import Mapping
from importlib.resources import files
from types import TracebackType
from typing import Any, Final, Self, cast

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ably_ai_transport import AITransportError
from ably_ai_transport.channel import make_client
from ably_ai_transport.inspector.conversations import Conversation, codec_named
from ably_ai_transport.inspector.watcher import FrameLog, Json
from ably_ai_transport.local import LocalServer
from ably_ai_transport.local.web.listener import WebListener

CLIENT_ID: Final = "inspector"
PAUSE_SECONDS: Final = 0.1
"""Updates are sent at most ten times a second."""
_SAFE: Final = {
    # The page shows the content of frames as text only; nothing of it is executed.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline';"
    " connect-src 'self' ws: wss:; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Inspector:
    """Shows the channels, frames and conversations of a local server, live.

    Args:
        server: The server; it must run as long as the inspector.
        host: The address to listen on.
        port: The port; 0 picks a free one.

    Example:
        >>> async with LocalServer() as server, Inspector(server) as inspector:  # doctest: +SKIP
        ...     print(inspector.url)
    """

    def __init__(self, server: LocalServer, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server = server
        self._host = host
        self._port = port
        self._log = FrameLog(frozenset({CLIENT_ID}))
        self._web: WebListener
        self.app = Starlette(
            routes=[Route("/", self._page), WebSocketRoute("/news", self._news)],
            # A foreign page can point a host name of its own at this machine, so host names are checked.
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[host, "localhost"])],
        )

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{self._host}:{self._port}/"

    async def __aenter__(self) -> Self:
        web = WebListener(self.app, self._host, self._port)
        self._port = web.port
        self._server.on_frame(self._log.take)
        self._web = web
        await web.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._web.stop()

    async def _page(self, _: Request) -> Response:
        page = files("ably_ai_transport.inspector").joinpath("page.html").read_text(encoding="utf-8")
        return HTMLResponse(page, headers=_SAFE)

    async def _news(self, websocket: WebSocket) -> None:
        """Send updates to one page and follow the channel that it selects."""
        if not self._is_own(websocket):
            await websocket.close(1008)
            return
        await websocket.accept()
        reader = _Reader(self._server, self._log, websocket)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(reader.tell)
                tasks.start_soon(reader.follow)
                await reader.listen()
                tasks.cancel_scope.cancel()
        except* WebSocketDisconnect:
            pass

    def _is_own(self, websocket: WebSocket) -> bool:
        """Tell whether the page is ours: any page in the browser can open a websocket to this machine."""
        origin = websocket.headers.get("origin")
        return origin is None or origin.partition("://")[2] == websocket.headers.get("host")


class _Reader:
    """One open page."""

    def __init__(self, server: LocalServer, log: FrameLog, websocket: WebSocket) -> None:
        self._server = server
        self._log = log
        self._websocket = websocket
        self._seen = 0
        self._wanted: str | None = None
        self._changed = anyio.Event()
        self._drawing: Json | None = None

    async def listen(self) -> None:
        """Receive the channel that the page selects."""
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                said = _read(await self._websocket.receive())
                channel = said.get("channel")
                self._wanted = channel if isinstance(channel, str) else None
                self._changed.set()

    async def tell(self) -> None:
        """Send changes, at most ten times a second."""
        told: Json = {}
        while True:
            news: Json = {
                "channels": [channel.to_json() for channel in self._log.channels.values()],
                "stats": self._server.stats.snapshot(),
                "conversation": self._drawing,
            }
            changed = {key: value for key, value in news.items() if told.get(key) != value}
            frames = self._log.since(self._seen)
            self._seen = self._log.last
            if frames:
                changed["frames"] = frames
            if changed:
                await self._websocket.send_text(json.dumps(changed, default=str))
                told = {**told, **changed}
            await anyio.sleep(PAUSE_SECONDS)

    async def follow(self) -> None:
        """Follow the selected channel."""
        while True:
            self._changed = anyio.Event()
            self._drawing = None
            channel = self._wanted
            if channel is None:
                await self._changed.wait()
                continue
            info = self._log.channels.get(channel)
            codec = codec_named(None if info is None else info.adapter)
            if codec is None:
                why = "no session here, or its codec is not installed"
                self._drawing = _nothing(channel, why)
                await self._changed.wait()
                continue
            await self._draw(channel, codec)

    async def _draw(self, channel: str, codec: Any) -> None:  # noqa: ANN401
        client = make_client(self._server.python_options(CLIENT_ID))
        news = anyio.Event()

        def note() -> None:
            news.set()

        try:
            async with Conversation(client, channel, codec, note) as conversation:
                while not self._changed.is_set():
                    self._drawing = conversation.draw()
                    with anyio.move_on_after(1):
                        await news.wait()
                    news = anyio.Event()
                    await anyio.sleep(PAUSE_SECONDS)
        except AITransportError as error:
            self._drawing = _nothing(channel, str(error))
            await self._changed.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await client.close()


def _nothing(channel: str, why: str) -> Json:
    return {"channel": channel, "nodes": [], "left_out": 0, "error": why}


def _read(event: Mapping[str, Any]) -> Json:
    """Parse a message of the page; a malformed one becomes an empty object."""
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", 1000))
    try:
        said: object = json.loads(event.get("text") or "null")
    except ValueError:
        return {}
    return cast("Json", said) if isinstance(said, dict) else {}
