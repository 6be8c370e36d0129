"""Websockets as the web server gives them: of any ASGI server, and, faster, of our own uvicorn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState

from ably_ai_transport.local.core.transport import Socket, SocketClosedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import Scope, Send

EXTENSION: Final = "ably_ai_transport.socket"


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
        """Leave it to the web server to cut the connection when the endpoint returns."""

    def cut(self, payload: bytes, *, text: bool) -> None:
        """Nothing can be written by halves through an ASGI server: the connection is only cut."""


class UvicornSocket:
    """The websocket of the server's own uvicorn: several frames in one write, and a real abort."""

    def __init__(self, protocol: WebSocketsSansIOProtocol, send: Send) -> None:
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
        """Write half of a frame, and cut the connection."""
        protocol = self._protocol
        if not (protocol.disconnected or protocol.close_sent):
            connection = protocol.conn
            (connection.send_text if text else connection.send_binary)(payload)
            data = b"".join(connection.data_to_send())
            protocol.transport.write(data[: len(data) // 2])
            protocol.transport.close()


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's websocket protocol, which hands itself to the application."""

    async def run_asgi(self) -> None:
        """Run the application with the socket among the extensions of its scope."""
        extensions = cast("dict[str, Any]", self.scope.get("extensions", {}))
        extensions[EXTENSION] = self
        await super().run_asgi()


def socket_of(scope: Scope, send: Send) -> Socket:
    """Return the best socket that the web server offers."""
    protocol = scope.get("extensions", {}).get(EXTENSION)
    if isinstance(protocol, SocketProtocol):
        return UvicornSocket(protocol, send)
    return AsgiSocket(send)
