"""A port that serves an ASGI application from inside a program."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
import uvicorn

from ably_ai_transport.local.web.deadlines import DeadlineProtocol

if TYPE_CHECKING:
    from collections.abc import Generator

    from starlette.types import ASGIApp

_GRACE_SECONDS = 5.0
_HEAD_SECONDS = 30.0
_KEPT_ALIVE_SECONDS = 75
"""Seconds that a connection waits for its next request. With uvicorn's default of five seconds, a client that
pauses that long sends its request while the server closes the connection, and the request fails."""


class WebListener:
    """An ASGI application on a port, without signal handlers and without polling.

    The constructor takes the port; clients are served from `start` to `stop`.

    Args:
        app: The application.
        host: The address to listen on.
        port: The port; 0 picks a free one.
        head_seconds: How long a client may take to send the head of a request.
        request_seconds: How long it may take to send the body of a request, and then to read the answer; None
            where these are streams.
        options: Further options of uvicorn.

    Attributes:
        port: The port that it listens on.

    Raises:
        OSError: The address cannot be used.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        *,
        head_seconds: float = _HEAD_SECONDS,
        request_seconds: float | None = None,
        **options: Any,  # noqa: ANN401 - uvicorn's
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family)
        # asyncio sets this for sockets that name their protocol, and this one does not. Without it, a frame
        # waits up to 40 ms for the TCP ack of the one before. Accepted sockets inherit it.
        self._listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._listener.getsockname()[1]
        protocol = partial(DeadlineProtocol, head_seconds=head_seconds, request_seconds=request_seconds)
        config = uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", protocol),
            lifespan="off",
            log_config=None,
            access_log=False,
            log_level="warning",
            timeout_keep_alive=_KEPT_ALIVE_SECONDS,
            **options,
        )
        self._server = _Uvicorn(config)
        self._task: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Release the port of a listener that has not been started."""
        self._listener.close()

    async def start(self) -> None:
        """Serve until `stop` is called; returns when clients can connect."""
        server = self._server
        # A task instead of a task group: fixtures may enter and leave a server in different tasks.
        self._task = asyncio.create_task(server.serve([self._listener]), name="web listener")
        self._task.add_done_callback(lambda _: server.ready.set())
        await server.ready.wait()
        if self._task.done():
            self.close()
            await self._task

    async def stop(self) -> None:
        """Close all connections and release the port, even while being cancelled."""
        if self._task is None:
            self.close()
            return
        self._server.stop()
        with anyio.CancelScope(shield=True):
            await self._task


class _Uvicorn(uvicorn.Server):
    """uvicorn without signal handlers and without polling."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Make `serve` return."""
        self._stop.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the program."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Wait for `stop`; renew the Date header once a second."""
        while not self._stop.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close listeners and connections and wait for their tasks."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        if self.server_state.tasks:
            _, pending = await asyncio.wait(self.server_state.tasks, timeout=_GRACE_SECONDS)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        for server in self.servers:
            await server.wait_closed()
        for listener in sockets or []:
            listener.close()
