"""An agent behind an HTTP endpoint. It replies on the session's channel, not in the HTTP response.

ABLY_KEY=… python examples/agent.py            # then, elsewhere: python examples/client.py "Hello"

ABLY_ENDPOINT=http://127.0.0.1:8099 leads both to a local server, or to any other that speaks Ably's protocol.
"""

import logging
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import uvicorn
from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, UIMessageCodec, text_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ably_ai_transport import AgentSession, AITransportError, Invocation, connect

logger = logging.getLogger("agent")


async def model(messages: list[UIMessage]) -> AsyncIterator[UIMessageChunk]:
    """Stand in for a model: say back what was said, word by word. It fails on the question "fail"."""
    question = text_of(messages[-1])
    yield {"type": "start"}
    yield {"type": "text-start", "id": "reply"}
    for word in f"There are {len(messages)} messages, and the last one says: {question}".split():
        await anyio.sleep(0.1)
        yield {"type": "text-delta", "id": "reply", "delta": f"{word} "}
    if question == "fail":
        raise RuntimeError("the model went away")
    yield {"type": "text-end", "id": "reply"}
    yield {"type": "finish"}


async def work(ably: AblyRealtime, invocation: Invocation, invocation_id: str) -> None:
    """Reply to one question. Any client may cancel it; an exception ends the run as failed."""
    try:
        async with (
            AgentSession(ably, invocation.session_name, codec=UIMessageCodec()) as session,
            session.create_run(invocation, invocation_id=invocation_id) as run,
        ):
            conversation = [message.message for message in await run.view.load_all()]
            await run.pipe(model(conversation), raise_on_error=True)
    except Exception:
        logger.exception("invocation %s failed", invocation_id)


async def chat(request: Request) -> JSONResponse:
    """Take a question. The response is sent at once; the work goes on in the application's task group."""
    try:
        invocation = Invocation.from_json(await request.body())
    except AITransportError as error:
        return JSONResponse({"error": error.message}, status_code=error.status_code)
    invocation_id = str(uuid.uuid4())
    request.state.tasks.start_soon(work, request.state.ably, invocation, invocation_id)
    return JSONResponse({"invocationId": invocation_id})


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[dict[str, object]]:
    """Own the Ably client and the work. Runs that are under way when the server stops end as cancelled."""
    address, key = os.environ.get("ABLY_ENDPOINT"), os.environ["ABLY_KEY"]
    async with connect(address, key=key, client_id="agent") as ably, anyio.create_task_group() as tasks:
        yield {"ably": ably, "tasks": tasks}
        tasks.cancel_scope.cancel()


app = Starlette(routes=[Route("/api/chat", chat, methods=["POST"])], lifespan=lifespan)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    # At INFO the SDK and its HTTP client log every frame, and access tokens.
    for name in ("ably", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=1)
