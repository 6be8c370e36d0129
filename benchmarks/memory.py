"""Memory of a server with many channels that have a history, in memory and on a data file."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

import msgpack
from websockets.asyncio.client import connect

from ably_ai_transport.local import LocalServer
from benchmarks.measure import resident, say, server_process, table

CHANNELS = 10_000
MESSAGES = 100
DATA = "x" * 100

_pack = cast("Any", msgpack).packb
_unpack = cast("Any", msgpack).unpackb


async def fill(server: LocalServer) -> float:
    """Publish to many channels; return the seconds that it took."""
    url = f"ws://{server.host}:{server.port}/?{urlencode({'key': server.key, 'format': 'msgpack'})}"
    began = time.perf_counter()
    async with connect(url, compression=None, max_queue=None) as socket:
        await socket.recv()
        room = asyncio.Semaphore(64)

        async def acknowledge() -> None:
            answered = 0
            while answered < CHANNELS:
                answer = cast("dict[str, Any]", _unpack(cast("bytes", await socket.recv())))
                if answer["action"] != 1:
                    raise RuntimeError(f"a publish was answered with {answer}")
                answered += answer["count"]
                for _ in range(answer["count"]):
                    room.release()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(acknowledge())
            for number in range(CHANNELS):
                await room.acquire()
                messages = [{"name": "said", "data": DATA} for _ in range(MESSAGES)]
                frame = {"action": 15, "channel": f"c{number}", "msgSerial": number, "messages": messages}
                await socket.send(cast("bytes", _pack(frame)))
    return time.perf_counter() - began


def main() -> None:
    """Run the benchmark and print it."""
    rows = [["", "messages", "seconds", "MiB before", "MiB after", "bytes a message"]]
    with tempfile.TemporaryDirectory() as folder:
        for data in (None, Path(folder) / "data.sqlite"):
            where = "in memory" if data is None else "on a file"
            say(f"memory: {CHANNELS} channels {where}")
            with server_process(data) as server:
                before = resident(server.pid)
                seconds = asyncio.run(fill(server))
                after = resident(server.pid)
            number = CHANNELS * MESSAGES
            rows.append(
                [
                    where,
                    f"{number:,}",
                    f"{seconds:.0f}",
                    f"{before / 2**20:.0f}",
                    f"{after / 2**20:.0f}",
                    f"{(after - before) / number:.0f}",
                ]
            )
    table(f"{CHANNELS:,} channels of {MESSAGES} messages of {len(DATA)} bytes", rows)


if __name__ == "__main__":
    main()
