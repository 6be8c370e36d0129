"""A local server in a process of its own; its arguments are the limits, and the file to keep everything in.

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
from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions


async def main() -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    # A descriptor for each connection, as many as there may be.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # A million messages take more than a server may hold by default.
    limits = Limits.ably() if sys.argv[1] == "ably" else Limits(max_memory=2**32)
    data = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    async with LocalServer(LocalServerOptions(data=data, limits=limits)) as server:
        print(json.dumps({"port": server.port, "key": server.key, "pid": os.getpid()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
