"""Invocation of agents."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import httpx

from ably_ai_transport import Invocation

Invoke: TypeAlias = Callable[[Invocation], Awaitable[None] | None]
"""A plain or coroutine function that invokes an agent. It returns once the agent has the invocation."""


class PostToAgent:
    """Posts invocations to the endpoint of an agent, as JavaScript clients do.

    Args:
        url: The address of the endpoint.
        client: The HTTP client.

    Example:
        >>> invoke = PostToAgent("http://localhost:8000/api/chat", httpx.AsyncClient())
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client

    async def __call__(self, invocation: Invocation) -> None:
        """Post an invocation.

        Args:
            invocation: The invocation.

        Raises:
            httpx.HTTPError: The agent cannot be reached, or its response has an error status.
        """
        response = await self._client.post(self._url, json=invocation.to_json())
        response.raise_for_status()
