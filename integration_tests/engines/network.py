"""The network between clients and a server: connections that are cut, and doors that are closed.

A proxy for TCP. It needs nothing of the server, so that any engine can be cut off.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from integration_tests.engines.server import RemoteServer, Server
from tests.support.tcp_proxy import TcpProxy


class Network:
    """Ways to a server, one for each client id, that can be cut and closed.

    It is a server itself: clients are given its options instead of those of the server behind.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._doors: dict[str | None, _Door] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for door in self._doors.values():
            door.leave()
        await self._tasks.__aexit__(None, None, None)

    def cut(self, *client_ids: str) -> None:
        """Cut the connections of clients; they may connect again."""
        for client_id in client_ids:
            self._doors[client_id].proxy.cut()

    def close(self, *client_ids: str) -> None:
        """Cut the connections of clients, and refuse new ones."""
        for client_id in client_ids:
            proxy = self._doors[client_id].proxy
            proxy.refuses = True
            proxy.cut()

    def open(self, *client_ids: str) -> None:
        """Let clients connect again."""
        for client_id in client_ids:
            self._doors[client_id].proxy.refuses = False

    # A server

    @property
    def url(self) -> str:
        """The address of the server behind, which no cut touches."""
        return self._server.url

    @property
    def key(self) -> str:
        """The API key."""
        return self._server.key

    def token(
        self, client_id: str | None = None, *, capability: Mapping[str, Sequence[str]] | None = None
    ) -> str:
        """Return a JWT."""
        return self._server.token(client_id, capability=capability)

    def python_options(self, client_id: str | None = None, **overrides: object) -> dict[str, Any]:
        """Return keyword arguments for the Python SDK, by way of this client's door."""
        return self._via(client_id).python_options(client_id, **overrides)

    def javascript_options(self, client_id: str | None = None, **overrides: object) -> dict[str, Any]:
        """Return options for the JavaScript SDK, by way of this client's door."""
        return self._via(client_id).javascript_options(client_id, **overrides)

    def _via(self, client_id: str | None) -> RemoteServer:
        door = self._doors.get(client_id)
        if door is None:
            server = self._server
            behind = server.node_of(client_id) if isinstance(server, RemoteServer) else server.url
            door = self._doors[client_id] = _Door(behind, self._tasks)
        return RemoteServer([door.url], self._server.key)


class _Door:
    """A port that leads to a server."""

    def __init__(self, behind: str, tasks: asyncio.TaskGroup) -> None:
        address = urlsplit(behind)
        assert address.hostname is not None
        assert address.port is not None
        self.proxy = TcpProxy(address.port, address.hostname)
        # The SDKs' options are made at once, so the port must be known before anything listens on it.
        self._socket = socket.create_server(("127.0.0.1", 0))
        port = self._socket.getsockname()[1]
        self.url = urlunsplit((address.scheme, f"127.0.0.1:{port}", "", "", ""))
        self._listening = tasks.create_task(self._listen())

    async def _listen(self) -> None:
        async with await asyncio.start_server(self.proxy.serve, sock=self._socket) as listener:
            await listener.serve_forever()

    def leave(self) -> None:
        self.proxy.refuses = True
        self._listening.cancel()
        self.proxy.cut()
