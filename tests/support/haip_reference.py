"""A client that behaves like the reference SDK of HAIP 1.1.2, over raw WebSockets."""

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
from ably_ai_transport_haip.protocol import HaipEventType, new_id
from ably_ai_transport_haip.protocol.names import wire_name
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

Json = dict[str, Any]

CHUNK_UNITS: Final = 1000
MOST_ATTEMPTS: Final = 5
_CHANNELS: Final = ("USER", "AGENT", "SYSTEM", "AUDIO_IN", "AUDIO_OUT")


class ReferenceClient:
    """The habits of the reference SDK that matter to a server.

    It numbers messages by the clock, never acks, and returns the last ack that it received as its
    ``last_rx_seq``. It charges all of its messages, those on ``SYSTEM`` too, and queues what its credits do
    not cover. When any of its connections is closed, it connects twice: its client and its transport both do.
    It listens on all open connections, sends on the newest, and drops no duplicates.

    Args:
        url: The address of the server, with the token.
        credits_: The message credits per channel at the start.
    """

    def __init__(self, url: str, credits_: int = 10) -> None:
        self.session = new_id()
        self.received: list[Json] = []
        self.connections = 0
        self.closed: list[int] = []
        self._url = url
        self._credits = dict.fromkeys(_CHANNELS, credits_)
        self._initial = credits_
        self._waiting: dict[str, deque[Json]] = {channel: deque() for channel in _CHANNELS}
        self._last_ack = ""
        self._is_connected = False
        self._attempts = 0
        self._again: asyncio.Task[None] | None = None
        self._newest: ClientConnection | None = None
        self._open: set[ClientConnection] = set()
        self._tasks: asyncio.TaskGroup
        self._all: set[asyncio.Task[None]] = set()
        self._news = anyio.Event()

    @property
    def open_connections(self) -> int:
        return len(self._open)

    @property
    def queued(self) -> int:
        """The number of messages that wait for credits."""
        return sum(map(len, self._waiting.values()))

    @property
    def text(self) -> str:
        parts = (m for m in self.received if m["type"] == "TEXT_MESSAGE_PART")
        return "".join(part["payload"]["text"] for part in parts)

    def of(self, kind: str) -> list[Json]:
        return [message for message in self.received if message["type"] == kind]

    async def until(self, number: int, kind: str) -> list[Json]:
        """Wait for a number of messages of a type; return all of them."""
        with anyio.fail_after(20):
            while len(self.of(kind)) < number:
                await self._news.wait()
        return self.of(kind)

    async def until_connected(self, number: int) -> None:
        """Wait until a number of connections were opened."""
        with anyio.fail_after(20):
            while self.connections < number:
                await self._news.wait()

    async def send(self, kind: str, payload: Json, channel: str = "SYSTEM") -> None:
        now = str(time.time_ns() // 1_000_000)
        message = {"id": new_id(), "session": self.session, "seq": now, "ts": now, "channel": channel}
        await self._send({**message, "type": kind, "payload": payload})

    async def say(self, text: str) -> None:
        """Send a text, cut by UTF-16 units."""
        message_id = new_id()
        await self.send("TEXT_MESSAGE_START", {"message_id": message_id}, "USER")
        units = text.encode("utf-16-le")
        for first in range(0, len(units), 2 * CHUNK_UNITS):
            chunk = units[first : first + 2 * CHUNK_UNITS].decode("utf-16-le", "surrogatepass")
            await self.send("TEXT_MESSAGE_PART", {"message_id": message_id, "text": chunk}, "USER")
        await self.send("TEXT_MESSAGE_END", {"message_id": message_id}, "USER")

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["ReferenceClient"]:
        """Keep the client connected for as long as the block lasts."""
        async with asyncio.TaskGroup() as self._tasks:
            self._spawn(self._transport_connects(0.0))
            await self.until(1, "HAI")
            yield self
            for task in tuple(self._all):
                task.cancel()

    def _spawn(self, work: Any) -> asyncio.Task[None]:  # noqa: ANN401 - a coroutine
        task: asyncio.Task[None] = self._tasks.create_task(work)
        self._all.add(task)
        task.add_done_callback(self._all.discard)
        return task

    async def _client_connects(self) -> None:
        await asyncio.sleep(0.01)
        if not self._is_connected:
            await self._transport_connects(0.0)

    async def _transport_connects(self, delay: float) -> None:
        await asyncio.sleep(delay)
        try:
            socket = await connect(self._url, proxy=None, ping_interval=None)
        except (OSError, WebSocketException):
            self._lose()
            return
        self._spawn(self._read(socket))

    async def _read(self, socket: ClientConnection) -> None:
        self._newest = socket
        self._open.add(socket)
        self.connections += 1
        self._is_connected = True
        self._attempts = 0
        try:
            await self._shake_hands()
            while True:
                await self._take(json.loads(await socket.recv()))
        except ConnectionClosed:
            self.closed.append(socket.close_code or 0)
        finally:
            self._open.discard(socket)
            await socket.close()
        self._lose()

    def _lose(self) -> None:
        self._is_connected = False
        if self._again is not None:
            self._again.cancel()
        self._again = self._spawn(self._client_connects())
        if self._attempts < MOST_ATTEMPTS:
            self._attempts += 1
            self._spawn(self._transport_connects(0.02))

    async def _shake_hands(self) -> None:
        events = [wire_name(event) for event in HaipEventType]
        flow = {"initial_credit_messages": self._initial, "initial_credit_bytes": 1024 * 1024}
        payload: Json = {
            "haip_version": "1.1.2",
            "accept_major": [1],
            "accept_events": events,
            "capabilities": {"binary_frames": True, "flow_control": flow, "max_concurrent_runs": 5},
        }
        if self._last_ack:
            payload["last_rx_seq"] = self._last_ack
        await self.send("HAI", payload)

    async def _take(self, message: Json) -> None:
        self._last_ack = message.get("ack") or self._last_ack
        self.received.append(message)
        match message["type"]:
            case "PING":
                await self.send("PONG", message["payload"])
            case "FLOW_UPDATE":
                channel = message["payload"]["channel"]
                self._credits[channel] += message["payload"].get("add_messages", 0)
                waiting, self._waiting[channel] = self._waiting[channel], deque()
                for waited in waiting:
                    await self._send(waited)
            case _:
                pass
        self._news.set()
        self._news = anyio.Event()

    async def _send(self, message: Json) -> None:
        channel = message["channel"]
        if self._credits[channel] <= 0:
            self._waiting[channel].append(message)
            return
        self._credits[channel] -= 1
        if self._newest is not None:
            try:
                await self._newest.send(json.dumps(message))
            except ConnectionClosed:
                # The SDK raises an error and does not send again.
                return
