"""An agent behind an HTTP endpoint. It replies on the session's channel, not in the HTTP response.

ABLY_KEY=… python examples/agent.py            # then, elsewhere: python examples/client.py "Hello"
"""

import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import uvicorn
from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, UIMessageCodec, text_of
from connection import connect
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ably_ai_transport import AgentSession, Invocation


async def model(messages: list[UIMessage]) -> AsyncIterator[UIMessageChunk]:
    """Stand in for a model: say back what was said, word by word."""
    yield {"type": "start"}
    yield {"type": "text-start", "id": "reply"}
    for word in f"There are {len(messages)} messages, and the last one says: {text_of(messages[-1])}".split():
        await anyio.sleep(0.1)
        yield {"type": "text-delta", "id": "reply", "delta": f"{word} "}
    yield {"type": "text-end", "id": "reply"}
    yield {"type": "finish"}


async def work(ably: AblyRealtime, invocation: Invocation, invocation_id: str) -> None:
    """Reply to one question. Any client may cancel it; what is raised in here ends the run as failed."""
    async with (
        AgentSession(ably, invocation.session_name, codec=UIMessageCodec()) as session,
        session.create_run(invocation, invocation_id=invocation_id) as run,
    ):
        conversation = [message.message for message in await run.view.load_all()]
        await run.pipe(model(conversation))


async def chat(request: Request) -> JSONResponse:
    """Take a question. The request is answered at once, and the work goes on behind it."""
    invocation = Invocation.from_json(await request.body())
    invocation_id = str(uuid.uuid4())
    later = BackgroundTask(work, request.state.ably, invocation, invocation_id)
    return JSONResponse({"invocationId": invocation_id}, background=later)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[dict[str, object]]:
    """Own the Ably client."""
    ably = connect("agent")
    yield {"ably": ably}
    await ably.close()


app = Starlette(routes=[Route("/api/chat", chat, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))
