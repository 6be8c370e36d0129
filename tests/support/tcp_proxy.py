"""A wire between two programs that a test can cut."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class TcpProxy:
    """Passes bytes on, until it is told to cut.

    Attributes:
        port: Where to connect to.
        connections: How many there have been.
        refuses: Whether new connections are aborted.
        is_silent: Whether what comes is kept back, as when a machine in between has gone.
    """

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self._target = (host, target)
        self._open: set[asyncio.WriteTransport] = set()
        self.port = 0
        self.connections = 0
        self.refuses = False
        self.is_silent = False

    def cut(self) -> None:
        """Abort all connections, both ends, as when a cable is pulled."""
        for transport in tuple(self._open):
            transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuses:
            writer.transport.abort()
            return
        self.connections += 1
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:  # nothing listens there any more
            writer.transport.abort()
            return
        ends = {writer.transport, far_writer.transport}
        self._open |= ends
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            self._open -= ends
            for end in ends:
                end.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if not self.is_silent:
                    writer.write(data)
                    await writer.drain()
        writer.close()


@asynccontextmanager
async def tcp_proxy(target: int) -> AsyncGenerator[TcpProxy]:
    """Stand between a port and its clients for as long as the block lasts."""
    proxy = TcpProxy(target)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await proxy.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        if tasks:
            await asyncio.wait(tasks)
        await server.wait_closed()
