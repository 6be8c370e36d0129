"""A local server in a process of its own, in memory or on the file named by its argument.

Prints port and key as JSON, ends with its standard input.
"""

import asyncio
import json
import sys
from pathlib import Path

from ably_ai_transport.local import LocalServer, LocalServerOptions


async def main() -> None:
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    async with LocalServer(LocalServerOptions(data=data)) as server:
        print(json.dumps({"port": server.port, "key": server.key}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
