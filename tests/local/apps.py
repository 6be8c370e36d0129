"""Apps that are provisioned as the test suites of Ably's SDKs do it."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx

from ably_ai_transport.local import LocalServer, LocalServerOptions

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@dataclass(frozen=True)
class Key:
    name: str
    secret: str

    @property
    def auth(self) -> tuple[str, str]:
        return self.name, self.secret

    def __str__(self) -> str:
        return f"{self.name}:{self.secret}"


@dataclass(frozen=True)
class App:
    id: str
    keys: list[Key]
    told: dict[str, Any]
    server: LocalServer
    client: httpx.AsyncClient


@asynccontextmanager
async def provision(spec: object, server: LocalServer | None = None) -> AsyncGenerator[App]:
    """Provision an app on a server, one of its own unless given."""
    async with AsyncExitStack() as stack:
        if server is None:
            server = await stack.enter_async_context(LocalServer(LocalServerOptions(sandbox=True)))
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, trust_env=False))
        response = await client.post("/apps", json=spec)
        assert response.status_code == 201, response.text
        told = response.json()
        keys = [Key(key["keyName"], key["keySecret"]) for key in told["keys"]]
        yield App(told["appId"], keys, told, server, client)
