"""An agent that replies without end, in a process of its own, to be killed.

Arguments: the options of the Ably client and the invocation, as JSON. It prints a line when it is connected.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessageChunk, UIMessageCodec

from ably_ai_transport import AgentSession, Invocation

PAUSE = 0.005


async def endless() -> AsyncIterator[UIMessageChunk]:
    yield {"type": "start"}
    yield {"type": "text-start", "id": "t"}
    while True:
        yield {"type": "text-delta", "id": "t", "delta": "word "}
        await asyncio.sleep(PAUSE)


async def main(options: str, invocation: str) -> None:
    ably = AblyRealtime(**json.loads(options))
    asked = Invocation.from_json(invocation)
    session = AgentSession(ably, asked.session_name, codec=UIMessageCodec(), announce_runs=True)
    async with session:
        print("connected", flush=True)
        async with session.create_run(asked) as run:
            await run.pipe(endless())


asyncio.run(main(*sys.argv[1:]))
