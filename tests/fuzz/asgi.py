"""ASGI applications, driven without a network."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from tests.fuzz.target import BrokenPromiseError

Payload: TypeAlias = str | bytes

_PATIENCE: Final = 30
_CRASHED: Final = 1011


@dataclass
class Reply:
    """The answer to a request."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""


class Socket:
    """A websocket's other end.

    Attributes:
        received: The payloads that the application sent.
        closed: The code with which it closed the websocket; None while it is open.
    """

    def __init__(self) -> None:
        self.received: list[Payload] = []
        self.closed: int | None = None
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._events.put_nowait({"type": "websocket.connect"})

    def send(self, payload: Payload) -> None:
        """Send one frame."""
        kind = "text" if isinstance(payload, str) else "bytes"
        self._events.put_nowait({"type": "websocket.receive", kind: payload})

    def leave(self) -> None:
        """Close the websocket."""
        self._events.put_nowait({"type": "websocket.disconnect", "code": 1000})

    @property
    def has_unread(self) -> bool:
        """Whether the application has frames to read."""
        return not self._events.empty()

    async def receive(self) -> Message:
        """Return the next event for the application."""
        return await self._events.get()

    async def take(self, message: Message) -> None:
        """Take an event of the application."""
        if message["type"] == "websocket.send":
            payload: Payload | None = message.get("bytes")
            if payload is None:
                payload = message["text"]
            self.received.append(payload if payload is not None else b"")
        elif message["type"] == "websocket.close":
            self.closed = message.get("code", 1000)


@asynccontextmanager
async def websocket(
    app: ASGIApp, query: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()
) -> AsyncGenerator[Socket]:
    """Open a websocket; it is closed, and the application has returned, at the end of the block."""
    socket = Socket()
    scope: dict[str, Any] = _scope("websocket", "/", query, headers) | {"scheme": "ws", "subprotocols": []}
    task = asyncio.ensure_future(app(scope, socket.receive, socket.take))  # type: ignore[arg-type]
    try:
        yield socket
        socket.leave()
        await task
    finally:
        task.cancel()
    if socket.closed == _CRASHED:
        raise BrokenPromiseError("a websocket was closed because of an internal error")


async def settle(*sockets: Socket) -> None:
    """Let the application read what was sent, and answer."""
    for _ in range(10):
        await asyncio.sleep(0)
        for _ in range(_PATIENCE):
            await asyncio.sleep(0)
        if not any(socket.has_unread and socket.closed is None for socket in sockets):
            return


async def request(
    app: ASGIApp,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    headers: Mapping[str, bytes] | None = None,
    body: bytes = b"",
) -> Reply:
    """Send one request.

    Args:
        app: The application.
        method: The method.
        path: The path as it is on the wire, percent-encoded.
        query: The query as it is on the wire.
        headers: The headers.
        body: The body.
    """
    events: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    reply = Reply()

    async def receive() -> Message:
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = {
                key.decode("latin-1"): value.decode("latin-1") for key, value in message["headers"]
            }
        elif message["type"] == "http.response.body":
            reply.body += message.get("body", b"")

    listed = [(name.lower().encode(), value) for name, value in (headers or {}).items()]
    scope = _scope("http", path, query, listed) | {"scheme": "http", "method": method}
    await app(scope, receive, send)
    return reply


def _scope(kind: str, path: str, query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    return {
        "type": kind,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "path": unquote(path),
        "raw_path": path.encode("latin-1", "replace"),
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"127.0.0.1"), *headers],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
        "extensions": {},
    }
