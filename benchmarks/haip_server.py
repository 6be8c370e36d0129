"""A HAIP server in a process of its own that echoes text parts on AGENT; ends with its standard input.

Prints port and process as JSON.
"""

import asyncio
import json
import os
import sys

from ably_ai_transport_haip import HaipChannel, HaipEnvelope, HaipEventType, HaipMessage
from ably_ai_transport_haip.server import HaipServer, HaipServerSession, Principal

from ably_ai_transport.local.web.listener import WebListener

ECHO = HaipEnvelope(channel=HaipChannel.AGENT)


async def echo(session: HaipServerSession) -> None:
    async for message in session.messages():
        if message.type is HaipEventType.MESSAGE_PART:
            await session.send_message(HaipMessage(message.type, message.payload, ECHO))


async def main() -> None:
    async with HaipServer(lambda _: Principal("anyone"), echo) as server:
        # As the reference server does, which has no compression.
        listener = WebListener(server, "127.0.0.1", 0, ws_per_message_deflate=False)
        await listener.start()
        print(json.dumps({"port": listener.port, "pid": os.getpid()}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await listener.stop()


asyncio.run(main())
