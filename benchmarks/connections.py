"""Connections that a server holds: how many, the cost of each, and the time of a message to all."""

import asyncio
import json
import resource
import sys
import time
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import connect

from benchmarks.measure import ROOT, Address, percentile, resident, say, server_process, table

CONNECTIONS = 9_900
PROCESSES = 3
MESSAGES = 10
PAUSE = 3.0


async def measure(server: Address) -> list[str]:
    """Hold connections on one channel in several processes, and send messages to it."""
    query = {"key": server.key, "format": "json", "echo": "false"}
    url = f"ws://{server.host}:{server.port}/?{urlencode(query)}"
    before = resident(server.pid)
    began = time.perf_counter()
    holders = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.holder", url, str(CONNECTIONS // PROCESSES), str(MESSAGES)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        for _ in range(PROCESSES)
    ]
    await asyncio.gather(*(read(holder) for holder in holders))
    seconds = time.perf_counter() - began
    after = resident(server.pid)
    async with connect(url, compression=None) as socket:
        await socket.recv()
        for number in range(MESSAGES):
            messages = [{"name": "now", "data": str(time.time())}]
            frame = {"action": 15, "channel": "all", "msgSerial": number, "messages": messages}
            await socket.send(json.dumps(frame))
            await socket.recv()
            await asyncio.sleep(PAUSE)
    told = await asyncio.gather(*(read(holder) for holder in holders))
    await asyncio.gather(*(holder.wait() for holder in holders))
    took = [seconds for entry in told for seconds in entry["took"]]
    return [
        f"{sum(entry['connections'] for entry in told):,}",
        f"{seconds:.0f}",
        f"{(after - before) / 1024 / CONNECTIONS:.1f}",
        f"{len(took):,}",
        f"{percentile(took, 0.5) * 1000:.0f}",
        f"{percentile(took, 0.99) * 1000:.0f}",
    ]


async def read(holder: asyncio.subprocess.Process) -> dict[str, Any]:
    """Read the next line that a process prints."""
    assert holder.stdout is not None
    line = await holder.stdout.readline()
    if not line:
        raise RuntimeError("a process that was to hold connections has ended")
    return json.loads(line)


def main() -> None:
    """Run the benchmark and print it."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    say(f"connections: {CONNECTIONS} in {PROCESSES} processes")
    with server_process() as server:
        row = asyncio.run(measure(server))
    head = ["connections", "seconds to open", "KiB a connection", "deliveries", "p50 ms", "p99 ms"]
    table(
        f"Connections held on one channel; {MESSAGES} messages to all of them, one in {PAUSE:.0f} s",
        [head, row],
    )


if __name__ == "__main__":
    main()
