"""Holds connections on one channel, and measures the latency of messages on each.

Arguments: an address, a number of connections, a number of messages. Prints JSON twice: when all are
attached, and when all messages have arrived on all of them.
"""

import asyncio
import json
import resource
import sys
import time
from contextlib import AsyncExitStack

from websockets.asyncio.client import ClientConnection, connect


async def follow(socket: ClientConnection, messages: int) -> list[float]:
    took: list[float] = []
    while len(took) < messages:
        frame = json.loads(await socket.recv())
        if frame["action"] == 15:
            now = time.time()
            took += [now - float(message["data"]) for message in frame["messages"]]
    return took


async def main(url: str, connections: int, messages: int) -> None:
    async with AsyncExitStack() as stack:
        sockets: list[ClientConnection] = []
        for _ in range(connections):
            socket = await stack.enter_async_context(connect(url, compression=None, ping_interval=None))
            await socket.recv()
            await socket.send(json.dumps({"action": 10, "channel": "all"}))
            await socket.recv()
            sockets.append(socket)
        print(json.dumps({"attached": len(sockets)}), flush=True)
        took = await asyncio.gather(*(follow(socket, messages) for socket in sockets))
        every = [seconds for one in took for seconds in one]
        print(json.dumps({"connections": len(sockets), "took": every}), flush=True)


most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
