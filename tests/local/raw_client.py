"""A client that speaks frames, nothing more."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast
from urllib.parse import urlencode

import msgpack
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ably_ai_transport.local.protocol.frames import Action

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ably_ai_transport.local import LocalServer

Frame: TypeAlias = "dict[str, Any]"
WireFormat: TypeAlias = Literal["json", "msgpack"]

_msgpack = cast("Any", msgpack)


def pack(value: object) -> bytes:
    return _msgpack.packb(value)


unpack: Callable[[bytes], Any] = _msgpack.unpackb


class RawClient:
    def __init__(self, socket: ClientConnection, format_: WireFormat) -> None:
        self.socket = socket
        self.format = format_
        self.connected: Frame = {}
        self.next_serial = 0
        self._barriers = 0
        self._passed: list[Frame] = []

    @property
    def id(self) -> str:
        return self.connected["connectionId"]

    @property
    def key(self) -> str:
        return self.connected["connectionDetails"]["connectionKey"]

    async def send(self, frame: Frame) -> None:
        await self.socket.send(json.dumps(frame) if self.format == "json" else pack(frame))

    async def receive(self) -> Frame:
        payload = await self.socket.recv()
        assert isinstance(payload, str if self.format == "json" else bytes)
        return json.loads(payload) if isinstance(payload, str) else unpack(payload)

    async def until(self, action: Action) -> Frame:
        """Return the next frame with this action; those before it are kept for `settled`."""
        return await self._first(action)

    async def settled(self) -> list[Frame]:
        """Return all frames not returned yet that the server had sent before it answered our heartbeat."""
        self._barriers += 1
        barrier = f"barrier-{self._barriers}"
        await self.send({"action": Action.HEARTBEAT, "id": barrier})
        frames, self._passed = self._passed, []
        while (frame := await self.receive()).get("id") != barrier:
            frames.append(frame)
        return frames

    async def messages(self) -> list[Frame]:
        """Return the messages in what has arrived."""
        return [m for frame in await self.settled() for m in frame.get("messages", ())]

    async def attach(self, channel: str, **fields: object) -> Frame:
        await self.send({"action": Action.ATTACH, "channel": channel, **fields})
        return await self.until(Action.ATTACHED)

    async def post(self, channel: str, *messages: Frame, **fields: object) -> int:
        """Publish without waiting; returns the msgSerial."""
        serial = self.next_serial
        self.next_serial += 1
        await self.send(
            {
                "action": Action.MESSAGE,
                "channel": channel,
                "msgSerial": serial,
                "messages": list(messages),
                **fields,
            }
        )
        return serial

    async def answer(self) -> Frame:
        """Return the next ACK or NACK."""
        return await self._first(Action.ACK, Action.NACK)

    async def _first(self, *actions: Action) -> Frame:
        while (frame := await self.receive())["action"] not in actions:
            self._passed.append(frame)
        return frame

    async def publish(self, channel: str, *messages: Frame) -> str:
        """Publish and return the first serial of its ACK, whatever else is acknowledged before."""
        serial = await self.post(channel, *messages)
        while serial >= (answer := await self.answer())["msgSerial"] + answer["count"]:
            pass
        assert answer["action"] == Action.ACK, answer
        return answer["res"][serial - answer["msgSerial"]]["serials"][0]

    async def refused(self, channel: str, *messages: Frame) -> Frame:
        """Publish and return the error of the NACK."""
        await self.post(channel, *messages)
        answer = await self.answer()
        assert answer["action"] == Action.NACK, answer
        return answer["error"]

    async def append(self, channel: str, serial: str, data: object, **fields: object) -> str:
        return await self.publish(channel, {"action": 5, "serial": serial, "data": data, **fields})

    async def closed(self) -> int | None:
        """Read until the websocket ends; returns the close code."""
        try:
            while True:
                await self.receive()
        except ConnectionClosed:
            return self.socket.close_code

    async def cut(self) -> None:
        """Break the connection without a closing handshake."""
        self.socket.transport.abort()
        await self.socket.wait_closed()


@asynccontextmanager
async def raw_client(
    server: LocalServer,
    client_id: str | None = None,
    *,
    format_: WireFormat = "json",
    credentials: bool = True,
    **params: str,
) -> AsyncGenerator[RawClient]:
    """Open a websocket and read the first frame."""
    query = dict(params)
    if client_id is not None:
        query["clientId"] = client_id
    if credentials:
        query["key"] = server.key
    if format_ == "msgpack":
        query["format"] = "msgpack"
    url = f"ws://{server.host}:{server.port}/?{urlencode(query)}"
    async with connect(url, compression=None) as socket:
        client = RawClient(socket, format_)
        client.connected = await client.receive()
        yield client
    await socket.wait_closed()
