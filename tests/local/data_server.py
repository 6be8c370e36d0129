"""A local server on a data file, in a process of its own that tests can kill: prints port and key as JSON."""

import asyncio
import json
import sys
from pathlib import Path

from ably_ai_transport.local import LocalServer, LocalServerOptions


async def main(data: str, port: str) -> None:
    async with LocalServer(LocalServerOptions(port=int(port), data=Path(data))) as server:
        sys.stdout.write(json.dumps({"port": server.port, "key": server.key}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main(sys.argv[1], sys.argv[2]))
