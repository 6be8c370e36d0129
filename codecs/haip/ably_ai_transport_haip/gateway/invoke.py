"""How a gateway calls an agent."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import httpx

from ably_ai_transport import Invocation

Invoke: TypeAlias = Callable[[Invocation], Awaitable[None]]
"""Tells an agent that somebody waits for it; returns when it knows."""


class PostToAgent:
    """Posts invocations to an agent's endpoint, as JavaScript clients do.

    Args:
        url: The endpoint.
        client: The HTTP client.

    Example:
        >>> invoke = PostToAgent("http://localhost:8000/api/chat", httpx.AsyncClient())
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client

    async def __call__(self, invocation: Invocation) -> None:
        """Post one.

        Args:
            invocation: The invocation.

        Raises:
            httpx.HTTPError: The agent cannot be reached, or refuses.
        """
        response = await self._client.post(self._url, json=invocation.to_json())
        response.raise_for_status()
