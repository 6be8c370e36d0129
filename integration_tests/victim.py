"""An agent in a process of its own, to be killed in the middle of a step.

``python -m integration_tests.victim OPTIONS INVOCATION RUN_ID STEP_ID`` begins a reply, and never ends it.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport import AgentSession, Invocation
from integration_tests.streams import reply


async def beginning() -> AsyncIterator[Any]:
    """Yield the beginning of a reply, and wait."""
    for chunk in reply("what nobody shall remember")[:-3]:
        yield chunk
    await asyncio.Event().wait()


async def main(options: str, invocation: str, run_id: str, step_id: str) -> None:
    """Serve an invocation."""
    ably = AblyRealtime(**json.loads(options))
    pointer = Invocation.from_json(json.loads(invocation))
    session = AgentSession(ably, pointer.session_name, codec=UIMessageCodec(), announce_runs=True)
    async with session:
        run = session.create_run(pointer, run_id=run_id)
        await run.start()
        step = run.create_step(step_id=step_id)
        await step.start()
        await step.pipe(beginning())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
