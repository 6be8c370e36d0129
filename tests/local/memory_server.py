"""A local server in a process of its own, which tells how much memory it takes.

It answers each line that it reads with a line of JSON.
"""

import asyncio
import gc
import json
import sys
from pathlib import Path

from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions


def resident() -> int:
    """Return the bytes of memory that the process takes."""
    gc.collect()
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def tell(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def main(limits: dict[str, int]) -> None:
    async with LocalServer(LocalServerOptions(limits=Limits(**limits))) as server:
        tell(port=server.port, key=server.key)
        while await asyncio.to_thread(sys.stdin.readline):
            tell(resident=resident())


asyncio.run(main(json.loads(sys.argv[1])))
