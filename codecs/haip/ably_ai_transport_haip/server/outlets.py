"""Outlets: connections that carry frames to a client, as a WebSocket or as an open HTTP response."""

import base64
import json
from typing import Any, Final, Literal, TypeAlias, cast

import anyio
from starlette.types import Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from ably_ai_transport_haip.protocol import Frame
from ably_ai_transport_haip.server.outlet import Ending

StreamFormat: TypeAlias = Literal["events", "lines"]

_CODES: Final = {"over": 1000, "refused": 1008, "leaving": 1012}
_REASON_BYTES: Final = 120
_CLOSE_SECONDS: Final = 5.0


class SocketOutlet:
    """An outlet over a WebSocket.

    Args:
        websocket: The accepted socket.
    """

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._open = True
        self.reopens = True

    async def write(self, frame: Frame) -> None:
        """Send a frame. Does nothing after the connection is lost."""
        try:
            if frame.binary is None:
                if self._open and frame.text is not None:
                    await self._websocket.send_text(frame.text)
                return
            # The two frames of a message must not be separated.
            with anyio.CancelScope(shield=True):
                if self._open and frame.text is not None:
                    await self._websocket.send_text(frame.text)
                if self._open:
                    await self._websocket.send_bytes(frame.binary)
        except (WebSocketDisconnect, RuntimeError):
            # The reader notices the loss, too, and ends the connection.
            self._open = False

    async def close(self, reason: str, ending: Ending = "over") -> None:
        """Close the connection. May be repeated."""
        if not self._open:
            return
        self._open = False
        short = reason.encode(errors="replace")[:_REASON_BYTES].decode(errors="ignore")
        try:
            # A client that does not read would hold up the close, and whoever waits for it.
            with anyio.move_on_after(_CLOSE_SECONDS):
                await self._websocket.close(_CODES[ending], short)
        except (WebSocketDisconnect, RuntimeError):
            return


class StreamOutlet:
    """An outlet over an open HTTP response.

    Args:
        send: The ASGI function that sends the parts of the response.
        format_: ``events`` for server-sent events, ``lines`` for one JSON object per line. Binary frames are
            sent as base64.
    """

    def __init__(self, send: Send, format_: StreamFormat) -> None:
        self._send = send
        self._format = format_
        self._open = True
        self.reopens = False

    async def begin(self) -> None:
        """Send the headers of the response and its first bytes."""
        kind = "text/event-stream" if self._format == "events" else "application/x-ndjson"
        headers = [
            (b"content-type", f"{kind}; charset=utf-8".encode()),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._part(": here\n\n" if self._format == "events" else "\n")

    async def write(self, frame: Frame) -> None:
        """Send a frame. Does nothing after the connection is lost."""
        if not self._open:
            return
        if self._format == "lines":
            line = _inlined(frame)
            await self._part(line + "\n")
            return
        with anyio.CancelScope(shield=frame.binary is not None):
            if frame.text is not None:
                await self._part(f"data: {frame.text}\n\n")
            if frame.binary is not None:
                await self._part(f"event: haip-binary\ndata: {base64.b64encode(frame.binary).decode()}\n\n")

    async def close(self, reason: str, ending: Ending = "over") -> None:
        """Close the connection. May be repeated."""
        if not self._open:
            return
        self._open = False
        if ending != "leaving":
            done = "data: [DONE]\n\n" if self._format == "events" else "[DONE]\n"
            await self._part(done)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _part(self, text: str) -> None:
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _inlined(frame: Frame) -> str:
    """Return a frame as one line, with its binary body as base64."""
    if frame.binary is None:
        return frame.text or ""
    data = base64.b64encode(frame.binary).decode()
    if frame.text is None:
        return json.dumps({"type": "haip-binary", "data": data})
    message = cast("dict[str, Any]", json.loads(frame.text))
    message.pop("bin_len", None)
    message.pop("bin_mime", None)
    message["payload"] = {**message["payload"], "data": data}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))
