"""What a server holds is bounded by `max_memory`, whatever it is filled with."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.local.raw_client import pack, unpack

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator

    from tests.local.raw_client import Frame

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ROOT = Path(__file__).parents[2]
TIME_LIMIT = 60
LIMIT = 24 * 2**20
FULL = 40112
WINDOW = 64


class MemoryServer:
    """The server's process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        told = self._read()
        self.port: int = told["port"]
        self.key: str = told["key"]
        self._before = self._resident()

    def grown(self) -> int:
        """Return the bytes of memory by which it has grown."""
        return self._resident() - self._before

    def _resident(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()["resident"]

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def memory_server(**limits: int) -> Generator[MemoryServer]:
    program = [sys.executable, "-m", "tests.local.memory_server", json.dumps({"max_memory": LIMIT, **limits})]
    with subprocess.Popen(  # noqa: S603 - our own module
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield MemoryServer(process)
        finally:
            process.kill()


@asynccontextmanager
async def socket_to(server: MemoryServer, **params: str) -> AsyncGenerator[ClientConnection]:
    query = urlencode({"key": server.key, "format": "msgpack", **params})
    url = f"ws://127.0.0.1:{server.port}/?{query}"
    async with connect(url, compression=None, max_size=None) as socket:
        await socket.recv()
        yield socket


async def fill(socket: ClientConnection, frames: Iterable[Frame], most: int = 200_000) -> dict[int, int]:
    """Send frames until one is refused because the server is full; returns the answers by their code."""
    codes: dict[int, int] = {}
    answered, sent = 0, 0
    for frame in islice(frames, most):
        await socket.send(pack({**frame, "msgSerial": sent}))
        sent += 1
        while sent - answered >= WINDOW:
            answered += await _answer(socket, codes)
        if FULL in codes:
            break
    while answered < sent:
        answered += await _answer(socket, codes)
    return codes


async def _answer(socket: ClientConnection, codes: dict[int, int]) -> int:
    while (frame := unpack(await _bytes(socket)))["action"] not in (1, 2):
        pass
    code = frame.get("error", {}).get("code", 0)
    codes[code] = codes.get(code, 0) + frame["count"]
    return frame["count"]


async def _bytes(socket: ClientConnection) -> bytes:
    payload = await socket.recv()
    assert isinstance(payload, bytes)
    return payload


def messages(make: Callable[[int], Frame], batch: int = 1) -> Iterator[Frame]:
    """Return frames of `batch` messages each."""
    for number in count(0, batch):
        made = [make(number + index) for index in range(batch)]
        yield {"action": 15, "channel": "c", "messages": made}


HEADERS = {f"header-{index}": "x" * 36 for index in range(12)}
KINDS: dict[str, Callable[[], Iterator[Frame]]] = {
    "large messages": lambda: messages(lambda _: {"data": "x" * 60_000}),
    "small messages": lambda: messages(lambda _: {"data": "x"}, 100),
    "wide text": lambda: messages(lambda _: {"data": "x" * 50_000 + "🎉", "name": "x" * 5000 + "🎉"}),
    "headers": lambda: messages(lambda n: {"extras": {"headers": {**HEADERS, "n": str(n)}}}, 20),
    "lists in extras": lambda: messages(lambda _: {"extras": [[] for _ in range(5000)]}),
    "numbers in extras": lambda: messages(lambda n: {"extras": [n * 1e9 + i / 7 for i in range(2000)]}),
    "ids": lambda: messages(lambda n: {"id": f"{n // 20}:{n % 20}", "extras": {"ephemeral": True}}, 20),
    "wide ids": lambda: messages(
        lambda n: {"id": f"{n}" + "x" * 60_000 + "🎉", "extras": {"ephemeral": True}}
    ),
    "channels": lambda: (
        {"action": 15, "channel": f"c{number}", "messages": [{"data": "x"}]} for number in count()
    ),
    "presence": lambda: (
        {"action": 14, "channel": "c", "presence": [{"action": 4, "clientId": "a", "data": f"{n}" * 5}] * 50}
        for n in count()
    ),
    "members": lambda: (
        {
            "action": 14,
            "channel": f"c{n}",
            "presence": [{"action": 2, "clientId": f"a{n}", "data": "x" * 30_000}],
        }
        for n in count()
    ),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_published_stays_within_the_limit(kind: str) -> None:
    with memory_server() as server:
        async with socket_to(server) as socket:
            codes = await fill(socket, KINDS[kind]())
            grown = server.grown()
    assert FULL in codes
    assert set(codes) == {0, FULL}
    assert grown < 1.5 * LIMIT
    assert grown > LIMIT / 4, "what is counted is what is held"


async def create(socket: ClientConnection) -> str:
    await socket.send(
        pack({"action": 15, "channel": "c", "msgSerial": 0, "messages": [{"data": "", "extras": HEADERS}]})
    )
    return unpack(await _bytes(socket))["res"][0]["serials"][0]


@pytest.mark.parametrize("actions", [[5], [1], [5, 1], [1, 5, 5]])
async def test_changes_stay_within_the_limit(actions: list[int]) -> None:
    """Appends, updates, and the versions that they leave."""
    with memory_server() as server:
        async with socket_to(server) as socket:
            serial = await create(socket)

        def change(number: int) -> Frame:
            action = actions[number % len(actions)]
            data = {"data": f"token {number}"} if action == 5 else {}
            return {"action": action, "serial": serial, "extras": {"headers": HEADERS}, **data}

        async with socket_to(server) as socket:
            codes = await fill(socket, messages(change))
            grown = server.grown()
    assert FULL in codes
    assert set(codes) == {0, FULL}
    assert LIMIT / 4 < grown < 1.5 * LIMIT


async def test_attached_channels_stay_within_the_limit() -> None:
    with memory_server() as server:
        refusals: list[int] = []
        async with socket_to(server) as socket:
            for number in count():
                await socket.send(pack({"action": 10, "channel": f"c{number}"}))
                answer = unpack(await _bytes(socket))
                if answer["action"] == 9:
                    refusals.append(answer["error"]["code"])
                    break
            grown = server.grown()
    assert refusals == [FULL]
    assert LIMIT / 4 < grown < 1.5 * LIMIT


async def test_bases_of_deltas_stay_within_the_limit() -> None:
    text = "x" * 50_000

    def frames() -> Iterator[Frame]:
        for number in count():
            channel = f"c{number}"
            yield {"action": 10, "channel": channel, "params": {"delta": "vcdiff"}}
            # The message itself is not stored: only the attachment keeps it.
            message = {"data": text, "extras": {"ephemeral": True}}
            yield {"action": 15, "channel": channel, "msgSerial": number, "messages": [message]}

    with memory_server() as server:
        async with socket_to(server) as socket:
            refused: list[int] = []
            for frame in frames():
                await socket.send(pack(frame))
                while (answer := unpack(await _bytes(socket)))["action"] not in (1, 2, 9, 11):
                    pass
                if "error" in answer:
                    refused.append(answer["error"]["code"])
                    break
            grown = server.grown()
    assert refused == [FULL]
    assert LIMIT / 2 < grown < 1.5 * LIMIT


async def test_results_of_refused_publishes_stay_within_the_limit() -> None:
    with memory_server(max_memory=LIMIT // 4) as server:
        async with socket_to(server) as socket:
            frames = ({"action": 15, "channel": f":{n}", "messages": [{"data": "x"}]} for n in count())
            assert await fill(socket, frames, 20_000) == {40010: 20_000}
            grown = server.grown()
    assert grown < 1.5 * LIMIT / 4


async def test_frames_for_slow_consumers_stay_within_the_limit() -> None:
    """They have a quarter of the limit for themselves; the slowest lose their connection."""
    with memory_server(max_queued_bytes=2**30) as server:
        async with socket_to(server) as publisher:
            slow = [await _slow(server, f"c{index}") for index in range(6)]
            try:
                data = "x" * 30_000
                frames = (
                    {
                        "action": 15,
                        "channel": f"c{n % 6}",
                        "messages": [{"data": data, "extras": {"ephemeral": True}}],
                    }
                    for n in count()
                )
                assert await fill(publisher, frames, 4000) == {0: 4000}
                grown = server.grown()
            finally:
                for socket in slow:
                    socket.transport.abort()
                await asyncio.gather(*(socket.wait_closed() for socket in slow))
    assert grown < 1.5 * LIMIT


async def _slow(server: MemoryServer, channel: str) -> ClientConnection:
    """Attach to a channel and read no further."""
    query = urlencode({"key": server.key, "format": "msgpack"})
    url = f"ws://127.0.0.1:{server.port}/?{query}"
    socket = await connect(url, compression=None, max_size=None, max_queue=1)
    await socket.recv()
    await socket.send(pack({"action": 10, "channel": channel}))
    await socket.recv()
    return socket
