"""A server that says what a test wants it to, in JSON, and remembers every frame that it was sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import parse_qsl, urlsplit

import anyio
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

Frame: TypeAlias = dict[str, Any]
Refusal: TypeAlias = "tuple[int, str]"

HEARTBEAT, ACK, NACK, CONNECTED, DISCONNECTED, CLOSE, CLOSED = 0, 1, 2, 4, 6, 7, 8
ERROR, ATTACH, ATTACHED, DETACH, DETACHED, MESSAGE, AUTH = 9, 10, 11, 12, 13, 15, 17
RESUMED = 4


class Link:
    """One connection as the server sees it.

    Attributes:
        number: 0 for the first connection to the server, then 1, …
        query: What the client asked for.
        connection_id: Its connection id.
        frames: What it sent.
    """

    def __init__(self, socket: ServerConnection, number: int, query: Mapping[str, str]) -> None:
        self.number = number
        self.query = query
        self.connection_id = ""
        self.frames: list[Frame] = []
        self._socket = socket

    async def send(self, *frames: Frame) -> None:
        """Send frames; nothing where the client has gone."""
        for frame in frames:
            try:
                await self._socket.send(json.dumps(frame))
            except ConnectionClosed:
                return

    async def ack(self, serial: int, *serials: str | None) -> None:
        """Acknowledge one frame."""
        await self.send({"action": ACK, "msgSerial": serial, "count": 1, "res": [{"serials": list(serials)}]})

    async def close(self) -> None:
        """Close properly."""
        await self._socket.close()

    def cut(self) -> None:
        """Cut without a closing handshake."""
        self._socket.transport.abort()

    def sent(self, action: int) -> list[Frame]:
        """Return the frames of one kind."""
        return [frame for frame in self.frames if frame["action"] == action]


Script: TypeAlias = Callable[["FakeAbly", Link, Frame], bool]
"""Sees each frame first; returns whether it has dealt with it."""


class FakeAbly:
    """The server. Tests change its attributes to change what it does.

    Attributes:
        links: All connections, oldest first.
        holds_acks: Whether publishes stay unanswered.
        forgets: Whether the next connection is a new one, even if the client asks to resume.
        refuses_upgrades: Whether websockets are refused.
        upgrade_status: The HTTP status that refuses them.
        attempts: Upgrades that were asked for.
        connect_error: What to answer connections with instead of CONNECTED.
        attach_error: What to answer ATTACH with.
        silent: Actions that are not answered.
        details: Added to the details of CONNECTED.
        pages: Bodies of the pages of history by path; anything else is an empty page.
        texts: Bodies of plain text by path.
        requests: HTTP requests: path and authorization.
        refuses_token: A token that REST calls are refused for.
    """

    def __init__(self) -> None:
        self.links: list[Link] = []
        self.holds_acks = False
        self.forgets = False
        self.refuses_upgrades = False
        self.upgrade_status = 503
        self.attempts = 0
        self.connect_error: Refusal | None = None
        self.attach_error: Refusal | None = None
        self.attach_flags = 0
        self.silent: set[int] = set()
        self.details: Frame = {}
        self.pages: dict[str, object] = {}
        self.texts: dict[str, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.refuses_token: str | None = None
        self.port = 0
        self._ids = 0
        self._serial = 0
        self._known: dict[str, str] = {}
        self._changed = anyio.Event()

    def options(self, **overrides: object) -> dict[str, Any]:
        """Return what an ``AblyRealtime`` needs to come here."""
        return {
            "key": "app.key:secret",
            "endpoint": f"127.0.0.1:{self.port}/",
            "tls": False,
            "use_binary_protocol": False,
            **overrides,
        }

    @property
    def link(self) -> Link:
        """The latest connection."""
        return self.links[-1]

    def serial(self) -> str:
        """Mint a serial."""
        self._serial += 1
        return f"{self._serial:014d}-000@fake"

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once a condition holds; looked at after each frame and connection."""
        while not condition():
            await self._changed.wait()

    async def received(self, action: int, count: int, link: int = -1) -> list[Frame]:
        """Return the frames of one kind that a connection sent, once there are so many."""

        def enough() -> bool:
            at = link if link >= 0 else len(self.links) - 1
            return 0 <= at < len(self.links) and len(self.links[at].sent(action)) >= count

        await self.until(enough)
        return self.links[link].sent(action)

    async def deliver(self, channel: str, *messages: Frame, link: int = -1) -> None:
        """Send messages to a connection."""
        await self.links[link].send(
            {
                "action": MESSAGE,
                "channel": channel,
                "channelSerial": self.serial(),
                "id": "other:0",
                "connectionId": "other",
                "timestamp": 1,
                "messages": list(messages),
            }
        )

    def changed(self) -> None:
        """Have conditions looked at again."""
        event, self._changed = self._changed, anyio.Event()
        event.set()

    # Inside

    async def serve_socket(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        request = cast("Request", socket.request)
        link = Link(socket, len(self.links), dict(parse_qsl(urlsplit(request.path).query)))
        if self.connect_error is not None:
            self.links.append(link)
            code, message = self.connect_error
            await link.send({"action": ERROR, "error": _error(code, message)})
            self.changed()
            return
        await link.send(self.connected(link))
        self.links.append(link)
        self.changed()
        try:
            async for raw in socket:
                frame: Frame = json.loads(raw)
                link.frames.append(frame)
                await self._answer(link, frame)
                self.changed()
        except ConnectionClosed:
            pass

    def connected(self, link: Link) -> Frame:
        """Make a CONNECTED."""
        resumed = self._known.get(link.query.get("resume", ""))
        frame: Frame = {"action": CONNECTED}
        if resumed is not None and not self.forgets:
            link.connection_id = resumed
        else:
            self._ids += 1
            link.connection_id = f"connection-{self._ids}"
            if "resume" in link.query:
                frame["error"] = _error(80018, "unable to resume")
        self.forgets = False
        self._known[f"{link.connection_id}!key"] = link.connection_id
        frame["connectionId"] = link.connection_id
        frame["connectionDetails"] = {
            "connectionKey": f"{link.connection_id}!key",
            "connectionStateTtl": 120000,
            "maxIdleInterval": 15000,
            **({"clientId": link.query["clientId"]} if "clientId" in link.query else {}),
            **self.details,
        }
        return frame

    def attached(self, frame: Frame, *, resumed: bool | None = None) -> Frame:
        """Make an ATTACHED; resumed where the client says how far it is."""
        on = bool(frame.get("channelSerial")) if resumed is None else resumed
        return {
            "action": ATTACHED,
            "channel": frame["channel"],
            "channelSerial": self.serial(),
            "flags": 3080192 | (RESUMED if on else 0),
        }

    async def _answer(self, link: Link, frame: Frame) -> None:
        action = frame["action"]
        if action in self.silent:
            return
        match action:
            case 0:
                await link.send(frame)
            case 7:
                await link.send({"action": CLOSED})
            case 10 if self.attach_error is not None:
                error = _error(*self.attach_error)
                await link.send({"action": ERROR, "channel": frame["channel"], "error": error})
            case 10:
                await link.send(self.attached(frame))
            case 12:
                await link.send({"action": DETACHED, "channel": frame["channel"]})
            case 15 if not self.holds_acks:
                serials = [f"{self.serial()}:{index:03d}" for index, _ in enumerate(frame["messages"])]
                await link.ack(frame["msgSerial"], *serials)
            case 17:
                await link.send(self.connected(link) | {"connectionId": link.connection_id})
            case _:
                pass

    def serve_http(self, _socket: ServerConnection, request: Request) -> Response | None:
        """Answer REST calls; None leaves the request to the websocket."""
        if "Upgrade" in request.headers:
            self.attempts += 1
            self.changed()
            return _json(self.upgrade_status, {}) if self.refuses_upgrades else None
        path, authorization = request.path, request.headers.get("Authorization", "")
        self.requests.append((path, authorization))
        self.changed()
        if self.refuses_token is not None and authorization.endswith(self.refuses_token):
            return _json(401, {"error": _error(40142, "token expired")})
        text = self.texts.get(urlsplit(path).path)
        if text is not None:
            return _response(200, "text/plain", text.encode())
        page = self.pages.get(urlsplit(path).path, [])
        if isinstance(page, tuple):
            code, message = cast("Refusal", page)
            return _json(code // 100, {"error": _error(code, message)})
        return _json(200, page)


def _error(code: int, message: str) -> Frame:
    return {"code": code, "statusCode": code // 100 if code < 60000 else 400, "message": message}


def _json(status: int, body: object) -> Response:
    return _response(status, "application/json", json.dumps(body).encode())


def _response(status: int, kind: str, body: bytes) -> Response:
    return Response(status, "", Headers({"Content-Type": kind, "Content-Length": str(len(body))}), body)


@asynccontextmanager
async def fake_ably() -> AsyncGenerator[FakeAbly]:
    """Run a server."""
    server = FakeAbly()
    async with serve(server.serve_socket, "127.0.0.1", 0, process_request=server.serve_http) as running:
        server.port = next(iter(running.sockets)).getsockname()[1]
        yield server
