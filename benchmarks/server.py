"""A local server in a process of its own, in memory or on the file named by its argument.

Prints port, key and process as JSON, ends with its standard input.
"""

import asyncio
import gc
import json
import os
import resource
import sys
from pathlib import Path

from ably_ai_transport.cli.serve import GC_THRESHOLDS
from ably_ai_transport.local import LocalServer, LocalServerOptions


async def main() -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    # A descriptor for each connection, as many as there may be.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    async with LocalServer(LocalServerOptions(data=data)) as server:
        print(json.dumps({"port": server.port, "key": server.key, "pid": os.getpid()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
