"""A publisher and a follower on a server that is killed again and again."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import deque
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from ably_ai_transport.local.protocol.frames import Action, Flag
from tests.local.raw_client import Frame, RawClient, WireFormat

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from random import Random

ROOT = Path(__file__).parents[2]
CHANNEL = "c"
WINDOW = 64
APPENDS_PER_MESSAGE = 25


class DataServer:
    """The server's process."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self.port = 0
        self.key = ""
        self.starts = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, on the port that it had before."""
        program = [sys.executable, "-m", "tests.local.data_server", str(self._data), str(self.port)]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.readline())
        assert self.key in ("", told["key"]), "the key is kept in the file"
        self.port, self.key = told["port"], told["key"]
        self.starts += 1

    def kill(self) -> None:
        """Kill it: no handler runs, nothing is flushed."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()


@contextmanager
def data_server(data: Path) -> Generator[DataServer]:
    server = DataServer(data)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@asynccontextmanager
async def client_of(server: DataServer, format_: WireFormat, **params: str) -> AsyncGenerator[RawClient]:
    query = {"key": server.key, **params}
    if format_ == "msgpack":
        query["format"] = "msgpack"
    socket: ClientConnection
    async with connect(f"ws://127.0.0.1:{server.port}/?{urlencode(query)}", compression=None) as socket:
        client = RawClient(socket, format_)
        client.connected = await client.receive()
        yield client


@dataclass
class Publisher:
    """Publishes as an SDK does: what has no answer is sent again with its msgSerial after a resume.

    Attributes:
        texts: What each message is meant to hold in the end, in order.
        acknowledged: Answers so far.
    """

    server: DataServer
    format_: WireFormat
    limit: int
    texts: list[str] = field(default_factory=list[str])
    acknowledged: int = 0
    _pending: deque[Frame] = field(default_factory=deque[Frame])
    _next: int = 0
    _serials: dict[int, str] = field(default_factory=dict[int, str])
    _key: str = ""
    _id: str = ""
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Go on until everything is published and acknowledged."""
        while self.acknowledged < self.limit:
            params = {"resume": self._key} if self._key else {}
            try:
                async with client_of(self.server, self.format_, **params) as client:
                    assert self._id in ("", client.id), "the connection is resumed"
                    self._id, self._key = client.id, client.key
                    for frame in self._pending:
                        await client.send(frame)
                    await self._publish(client)
            except (OSError, WebSocketException):
                await asyncio.sleep(0.01)  # the server is away

    async def _publish(self, client: RawClient) -> None:
        while self.acknowledged < self.limit:
            while len(self._pending) < WINDOW and (frame := self._compose()) is not None:
                self._pending.append(frame)
                await client.send(frame)
            self._take(await client.answer())

    def _compose(self) -> Frame | None:
        """Return a new message or an append to the latest one; None while nothing can be published."""
        number = self._next
        if number == self.limit:
            return None
        which = number // APPENDS_PER_MESSAGE
        message: dict[str, Any]
        if number % APPENDS_PER_MESSAGE == 0:
            message = {"name": "m", "data": f"{number};"}
            self.texts.append("")
        elif which in self._serials:
            message = {"action": 5, "serial": self._serials[which], "data": f"{number};"}
        else:
            return None
        self.texts[which] += f"{number};"
        self._next += 1
        return {"action": Action.MESSAGE, "channel": CHANNEL, "msgSerial": number, "messages": [message]}

    def _take(self, answer: Frame) -> None:
        self.progress.set()
        assert answer["action"] == Action.ACK, answer
        for offset, result in enumerate(answer["res"]):
            number = answer["msgSerial"] + offset
            assert self._pending.popleft()["msgSerial"] == number
            if number % APPENDS_PER_MESSAGE == 0:
                self._serials[number // APPENDS_PER_MESSAGE] = result["serials"][0]
            self.acknowledged += 1


@dataclass
class Follower:
    """Holds what has been delivered, and goes on where it was cut off.

    Attributes:
        texts: The text of each message, in the order in which they appeared.
        lost: Whether an attach was not a continuation.
    """

    server: DataServer
    format_: WireFormat
    texts: dict[str, str] = field(default_factory=dict[str, str])
    lost: int = 0
    _serial: str | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                async with client_of(self.server, self.format_) as client:
                    resume = {"channelSerial": self._serial} if self._serial else {}
                    attached = await client.attach(CHANNEL, **resume)
                    if self._serial is not None and not attached["flags"] & Flag.RESUMED:
                        self.lost += 1
                    self._serial = attached["channelSerial"]
                    while True:
                        self._take(await client.receive())
            except (OSError, WebSocketException):
                await asyncio.sleep(0.01)  # the server is away

    def _take(self, frame: Frame) -> None:
        if frame["action"] != Action.MESSAGE:
            return
        self._serial = frame["channelSerial"]
        for message in frame["messages"]:
            serial = message["serial"]
            if message["action"] == 5:
                self.texts[serial] += message["data"]
            else:
                assert message["action"] == 1 or serial not in self.texts, "no message is created twice"
                self.texts[serial] = message["data"]
        self.changed.set()


async def survive(
    server: DataServer, *, kills: int, steps: int, format_: WireFormat, random: Random
) -> tuple[Publisher, Follower]:
    """Publish `steps` steps for each kill, and some more, while the server is killed at random moments."""
    publisher = Publisher(server, format_, limit=steps * (kills + 1))
    follower = Follower(server, format_)
    publishing = asyncio.create_task(publisher.run())
    following = asyncio.create_task(follower.run())
    publishing.add_done_callback(lambda _: publisher.progress.set())
    following.add_done_callback(lambda _: follower.changed.set())
    try:
        for number in range(kills):
            moment = steps * number + random.randrange(steps)
            while publisher.acknowledged <= moment and not publishing.done():
                publisher.progress.clear()
                await publisher.progress.wait()
            await asyncio.sleep(random.random() / 100)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await publishing
        while "".join(follower.texts.values()) != "".join(publisher.texts) and not following.done():
            follower.changed.clear()
            await asyncio.wait_for(follower.changed.wait(), 5)
        if following.done():
            await following
    finally:
        for task in (publishing, following):
            task.cancel()
        await asyncio.gather(publishing, following, return_exceptions=True)
    return publisher, follower
