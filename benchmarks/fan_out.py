"""Appends per second and their latency with 1, 10 and 100 followers, in memory and on a data file."""

import asyncio
import base64
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import msgpack
from websockets.asyncio.client import ClientConnection, connect

from ably_ai_transport.local import LocalServer
from benchmarks.measure import percentile, say, server_process, table

APPENDS = 4000
WINDOW = 256
PACED = 500
INTERVAL = 0.005
FOLLOWERS = (1, 10, 100)
EXTRAS = {"ai": {"transport": {f"header-{i}": "x" * 32 for i in range(12)}}}

_MARK = re.compile(rb"#(\d{6})#")
_pack = cast("Any", msgpack).packb
_unpack = cast("Any", msgpack).unpackb


class Follower(asyncio.Protocol):
    """Reads raw bytes and searches them for marks: a hundred of these cost next to nothing."""

    def __init__(self, server: LocalServer, channel: str, binary: bool) -> None:
        self._server = server
        self._channel = channel
        self._binary = binary
        self._rest = b""
        self._upgraded = False
        self._transport: asyncio.Transport | None = None
        self.attached = asyncio.get_running_loop().create_future()
        self.done = asyncio.Event()
        self.times: dict[int, float] = {}
        self.until = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        query = urlencode({"key": self._server.key, "format": "msgpack" if self._binary else "json"})
        nonce = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /?{query} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def _attach(self) -> None:
        attach = {"action": 10, "channel": self._channel}
        payload = cast("bytes", _pack(attach)) if self._binary else json.dumps(attach).encode()
        # A short masked frame; the mask of zeros leaves the payload as it is.
        head = bytes([0x82 if self._binary else 0x81, 0x80 | len(payload), 0, 0, 0, 0])
        if self._transport is not None:
            self._transport.write(head + payload)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self._upgraded:
            self._upgraded = True
            self._attach()
        data = self._rest + data
        if not self.attached.done() and b"channelSerial" in data:
            self.attached.set_result(None)
        end = 0
        for match in _MARK.finditer(data):
            self.times[int(match[1])] = now
            end = match.end()
        self._rest = data[max(end, len(data) - 8) :]
        if len(self.times) >= self.until:
            self.done.set()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


async def measure(server: LocalServer, count: int, *, binary: bool) -> tuple[float, list[float]]:
    """Append as fast as possible, then at a steady pace.

    Returns:
        Appends per second until the last follower has the last one, and the seconds from each paced append to
        each follower.
    """
    channel = f"fan:{os.urandom(4).hex()}"
    loop = asyncio.get_running_loop()
    followers: list[Follower] = []
    for _ in range(count):
        _, follower = await loop.create_connection(
            lambda: Follower(server, channel, binary), server.host, server.port
        )
        followers.append(follower)
        await follower.attached
    query = {"key": server.key, "format": "msgpack" if binary else "json", "echo": "false"}
    url = f"ws://{server.host}:{server.port}/?{urlencode(query)}"
    async with connect(url, compression=None, max_queue=None) as socket:
        await socket.recv()
        publisher = Publisher(socket, channel, binary)
        await publisher.create()
        for follower in followers:
            follower.until = APPENDS
        began = time.perf_counter()
        await publisher.append(range(APPENDS), pause=0)
        await asyncio.gather(*(follower.done.wait() for follower in followers))
        rate = APPENDS / (time.perf_counter() - began)
        for follower in followers:
            follower.until = APPENDS + PACED
            follower.done.clear()
        sent = await publisher.append(range(APPENDS, APPENDS + PACED), pause=INTERVAL)
        await asyncio.gather(*(follower.done.wait() for follower in followers))
    for follower in followers:
        follower.close()
    return rate, [f.times[number] - when for number, when in sent.items() for f in followers]


class Publisher:
    """Appends to one message, with a window in flight."""

    def __init__(self, socket: ClientConnection, channel: str, binary: bool) -> None:
        self._socket = socket
        self._channel = channel
        self._binary = binary
        self._next = 0
        self._serial = ""

    async def create(self) -> None:
        await self._send({"name": "ai-output", "data": "", "extras": EXTRAS})
        self._serial = (await self._answer())["res"][0]["serials"][0]

    async def append(self, numbers: range, *, pause: float) -> dict[int, float]:
        sent: dict[int, float] = {}
        room = asyncio.Semaphore(WINDOW)

        async def acknowledge() -> None:
            answered = 0
            while answered < len(numbers):
                count = (await self._answer())["count"]
                answered += count
                for _ in range(count):
                    room.release()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(acknowledge())
            due = time.perf_counter()
            for number in numbers:
                await room.acquire()
                sent[number] = time.perf_counter()
                data = f" #{number:06d}#"
                await self._send({"action": 5, "serial": self._serial, "data": data, "extras": EXTRAS})
                if pause:
                    due += pause
                    await asyncio.sleep(max(0, due - time.perf_counter()))
        return sent

    async def _send(self, message: dict[str, object]) -> None:
        frame = {"action": 15, "channel": self._channel, "msgSerial": self._next, "messages": [message]}
        self._next += 1
        await self._socket.send(_pack(frame) if self._binary else json.dumps(frame))

    async def _answer(self) -> dict[str, Any]:
        payload = await self._socket.recv()
        answer = json.loads(payload) if isinstance(payload, str) else _unpack(payload)
        if answer["action"] != 1:
            raise RuntimeError(f"an append was answered with {answer}")
        return answer


def main() -> None:
    """Run the benchmark and print it."""
    rows = [["", "followers", "appends/s", "deliveries/s", "p50 ms", "p99 ms", "x memory"]]
    base: dict[tuple[bool, int], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for data in (None, Path(folder) / "data.sqlite"):
            for binary in (False, True):
                for count in FOLLOWERS:
                    where = "on a file" if data else "in memory"
                    name = f"{'msgpack' if binary else 'JSON'}, {where}"
                    say(f"fan-out: {name}, {count} followers")
                    with server_process(data) as server:
                        rate, took = asyncio.run(measure(server, count, binary=binary))
                    base.setdefault((binary, count), rate)
                    rows.append(
                        [
                            name,
                            str(count),
                            f"{rate:,.0f}",
                            f"{rate * count:,.0f}",
                            f"{percentile(took, 0.5) * 1000:.2f}",
                            f"{percentile(took, 0.99) * 1000:.2f}",
                            f"{rate / base[binary, count]:.2f}",
                        ]
                    )
    table(
        f"Fan-out: {APPENDS} appends of 600 bytes, {WINDOW} in flight; latency at {1 / INTERVAL:.0f}/s", rows
    )


if __name__ == "__main__":
    main()
