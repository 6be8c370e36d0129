"""The demo's agent: an HTTP endpoint takes an invocation, and a task replies on the channel."""

import logging
import socket
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import anyio
import anyio.abc
import uvicorn
from ably_ai_transport_vercel import (
    UIMessage,
    UIMessageChunk,
    UIMessageCodec,
    VercelInput,
    VercelProjection,
    text_of,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ably_ai_transport import AgentSession, AITransportError, ChannelClient, ErrorCode, Invocation
from ably_ai_transport.channel import opened
from ably_ai_transport.cli.demo.figures import Figures
from ably_ai_transport.cli.demo.replies import ReplySource, delta_of, text_delta_of

logger = logging.getLogger("ably_ai_transport.cli")

Session: TypeAlias = AgentSession[VercelInput, UIMessageChunk, VercelProjection, UIMessage]

FAILING_QUESTION = "/error"
"""The question that makes the agent fail in the middle of its reply."""
_TOKENS_BEFORE_FAILURE = 25


class Agent:
    """Replies to every invocation.

    Attributes:
        replies: The text that the model has produced so far, by run.
    """

    def __init__(self, options: Mapping[str, Any], source: ReplySource, figures: Figures) -> None:
        self.replies: dict[str, str] = {}
        self._options = options
        self._source = source
        self._figures = figures
        self._desk: _Desk | None = None

    def app(self) -> Starlette:
        """Return the web application. Its lifespan owns the tasks that requests start."""
        return Starlette(
            routes=[Route("/api/chat", self._chat, methods=["POST"])], lifespan=lambda _: self._lifespan()
        )

    @asynccontextmanager
    async def _lifespan(self) -> AsyncGenerator[None]:
        async with (
            opened(self._options) as client,
            AsyncExitStack() as sessions,
            anyio.create_task_group() as tasks,
        ):
            self._desk = _Desk(client, sessions, tasks)
            yield
            self._desk = None
            tasks.cancel_scope.cancel()

    async def _chat(self, request: Request) -> JSONResponse:
        try:
            invocation = Invocation.from_json(await request.body())
        except AITransportError as error:
            return JSONResponse({"error": error.message}, status_code=error.status_code)
        if self._desk is None:
            return JSONResponse({"error": "the agent is closing"}, status_code=503)
        invocation_id = str(uuid.uuid4())
        self._desk.tasks.start_soon(self._work, self._desk, invocation, invocation_id)
        return JSONResponse({"invocationId": invocation_id})

    async def _work(self, desk: "_Desk", invocation: Invocation, invocation_id: str) -> None:
        try:
            session = await desk.session(invocation.session_name)
            logger.info("invocation %s is taken", invocation_id, extra={"session": invocation.session_name})
            async with session.create_run(invocation, invocation_id=invocation_id) as run:
                conversation = [message.message for message in await run.view.load_all()]
                await run.pipe(self._reply(run.run_id, conversation), raise_on_error=True)
        except Exception:  # one failed invocation must not stop the agent
            logger.exception(
                "invocation %s failed", invocation_id, extra={"session": invocation.session_name}
            )

    async def _reply(self, run_id: str, conversation: Sequence[UIMessage]) -> AsyncIterator[UIMessageChunk]:
        fails = bool(conversation) and text_of(conversation[-1]) == FAILING_QUESTION
        tokens = 0
        self.replies[run_id] = ""
        async with aclosing(self._source.reply(conversation)) as chunks:
            async for chunk in chunks:
                if delta_of(chunk) is not None:
                    tokens += 1
                    self._figures.tokens += 1
                    self.replies[run_id] += text_delta_of(chunk)
                if fails and tokens > _TOKENS_BEFORE_FAILURE:
                    raise AITransportError("the model went away in mid-sentence", ErrorCode.STREAM_ERROR)
                yield chunk


@dataclass(slots=True)
class _Desk:
    """The agent's client, tasks and sessions. Sessions stay connected from one run to the next."""

    client: ChannelClient
    exits: AsyncExitStack
    tasks: anyio.abc.TaskGroup
    sessions: dict[str, Session] = field(default_factory=dict[str, Session])
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    async def session(self, name: str) -> Session:
        async with self.lock:
            if name not in self.sessions:
                opened = AgentSession(self.client, name, codec=UIMessageCodec())
                self.sessions[name] = await self.exits.enter_async_context(opened)
            return self.sessions[name]


@asynccontextmanager
async def serving(app: Starlette) -> AsyncGenerator[str]:
    """Serve a web application on a free port of this machine.

    Args:
        app: The application.

    Yields:
        Its address.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server = _Server(
        uvicorn.Config(
            app,
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=2,
        )
    )

    async def serve() -> None:
        # Stopped by should_exit, never cancelled: the application ends its work in order.
        with anyio.CancelScope(shield=True):
            await server.serve([listener])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serve)
        try:
            await server.ready.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True


class _Server(uvicorn.Server):
    """A web server that leaves signals to the command."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.ready.set()
