"""Ably clients on the local server, closed at the end."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ably import AblyRealtime

from ably_ai_transport.local import LocalServer


@asynccontextmanager
async def realtime(server: LocalServer, client_id: str) -> AsyncGenerator[AblyRealtime]:
    """Open a client that reconnects soon after a connection was refused."""
    client = AblyRealtime(**server.python_options(client_id=client_id, disconnected_retry_timeout=50))
    try:
        yield client
    finally:
        await client.close()
