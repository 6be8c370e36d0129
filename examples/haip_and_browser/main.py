"""A HAIP client in this terminal and a browser, in one conversation with an agent.

python examples/haip_and_browser/main.py     # then open the page that it prints, and type here

The browser loads Ably's packages from ``node_modules``; ``make test`` puts them into ``integration_tests``.
"""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import jwt
import uvicorn
from ably import AblyRealtime
from ably_ai_transport_haip import FlowControlConfig, HaipMessage, create_haip_client
from ably_ai_transport_haip.gateway import HaipGateway, UIMessages
from ably_ai_transport_haip.server import JwtAuthenticator
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, UIMessageCodec, text_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ably_ai_transport import AgentSession, AITransportError, ChannelClient, Invocation
from ably_ai_transport.local import LocalServer

logger = logging.getLogger("example")

HERE = Path(__file__).parent
PACKAGES = HERE.parents[1] / "integration_tests" / "node_modules"
SECRET = "a secret for this example, which is long enough"  # noqa: S105
THREAD = "example"


async def model(messages: list[UIMessage]) -> AsyncIterator[UIMessageChunk]:
    """Stand in for a model: repeat the last message, word by word."""
    yield {"type": "start"}
    yield {"type": "text-start", "id": "reply"}
    for word in f"That is message {len(messages)} of ours, and you said: {text_of(messages[-1])}".split():
        await asyncio.sleep(0.15)
        yield {"type": "text-delta", "id": "reply", "delta": f"{word} "}
    yield {"type": "text-end", "id": "reply"}
    yield {"type": "finish"}


class Example:
    """The agent, the gateway and the page, on one local server."""

    def __init__(self, server: LocalServer, tasks: asyncio.TaskGroup) -> None:
        self._server = server
        self._tasks = tasks
        self.gateway = HaipGateway(self._connect, UIMessages(), JwtAuthenticator(SECRET), self._invoke)
        self.app = Starlette(
            routes=[
                Route("/", self._page),
                Route("/config", self._config),
                Route("/api/chat", self._chat, methods=["POST"]),
                Mount("/npm", StaticFiles(directory=PACKAGES, check_dir=False)),
                Mount("/haip-gateway", self.gateway),
            ]
        )

    @asynccontextmanager
    async def _connect(self, client_id: str) -> AsyncGenerator[ChannelClient]:
        client = AblyRealtime(**self._server.python_options(client_id))
        yield client
        await client.close()

    async def _invoke(self, invocation: Invocation) -> None:
        self._tasks.create_task(self._answer(invocation))

    async def _answer(self, invocation: Invocation) -> None:
        try:
            async with (
                self._connect("agent") as ably,
                AgentSession(ably, invocation.session_name, codec=UIMessageCodec()) as session,
                session.create_run(invocation) as run,
            ):
                conversation = [entry.message for entry in await run.view.load_all()]
                await run.pipe(model(conversation), raise_on_error=True)
        except Exception:
            logger.exception("A question was not answered")

    async def _page(self, _: Request) -> FileResponse:
        return FileResponse(HERE / "page.html")

    async def _config(self, _: Request) -> JSONResponse:
        options = self._server.javascript_options("browser")
        return JSONResponse({"ably": options, "channel": f"haip:{THREAD}"})

    async def _chat(self, request: Request) -> JSONResponse:
        try:
            invocation = Invocation.from_json(await request.body())
        except AITransportError as error:
            return JSONResponse({"error": error.message}, 400)
        await self._invoke(invocation)
        return JSONResponse({})


def show(message: HaipMessage) -> None:
    """Print the texts of other participants as they arrive."""
    match message.type:
        case "MESSAGE_START":
            print(f"\n{message.payload['author']}: ", end="", flush=True)
        case "MESSAGE_PART":
            print(message.payload["text"], end="", flush=True)
        case "MESSAGE_END":
            print(flush=True)
        case _:
            pass


async def speak_haip(port: int) -> None:
    """Send the lines of this terminal, until its input ends."""
    claims = {"sub": "terminal", "exp": int(time.time()) + 3600}
    async with create_haip_client(
        url=f"ws://127.0.0.1:{port}/haip-gateway/",
        token=cast("Any", jwt).encode(claims, SECRET, algorithm="HS256"),
        flow_control=FlowControlConfig(on_exhausted="wait"),
    ) as client:
        client.on("message", show)
        run_id = await client.start_run(THREAD)
        if not PACKAGES.exists():
            print(f"The browser needs Ably's packages in {PACKAGES}: run 'make test', or npm there.")
        print(f"The same conversation in a browser: http://127.0.0.1:{port}/")
        print("Type here, and see it there.\n", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await client.send_text_message("USER", line.strip(), run_id=run_id)
            run_id = await client.start_run(THREAD)


async def main(port: int) -> None:
    """Run the example until the input of the terminal ends."""
    async with LocalServer() as server, asyncio.TaskGroup() as tasks:
        example = Example(server, tasks)
        async with example.gateway:
            with socket.create_server(("127.0.0.1", port)) as listener:
                web = uvicorn.Server(uvicorn.Config(example.app, log_level="warning"))
                serving = tasks.create_task(web.serve([listener]))
                try:
                    await speak_haip(port)
                finally:
                    web.should_exit = True
                    await serving


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8200))
