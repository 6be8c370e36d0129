"""A local server in a process of its own: prints port and key as JSON, ends with its standard input."""

import asyncio
import json
import sys

from ably_ai_transport.local import LocalServer


async def main() -> None:
    async with LocalServer() as server:
        print(json.dumps({"port": server.port, "key": server.key}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
