"""Connects the examples to Ably: ``ABLY_KEY``, and ``ABLY_ENDPOINT`` for a local server.

ably-ai-transport serve --key dev.key:secret
export ABLY_KEY=dev.key:secret ABLY_ENDPOINT=127.0.0.1:8099/
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from ably import AblyRealtime


@asynccontextmanager
async def connect(client_id: str) -> AsyncGenerator[AblyRealtime]:
    """Open an Ably client, and close it when the block ends."""
    options: dict[str, Any] = {"key": os.environ["ABLY_KEY"], "client_id": client_id}
    endpoint = os.environ.get("ABLY_ENDPOINT")
    if endpoint is not None:
        options |= {
            "endpoint": endpoint,
            "tls": False,
            "use_token_auth": True,
            "default_token_params": {"client_id": client_id},
        }
    ably = AblyRealtime(**options)
    try:
        yield ably
    finally:
        await ably.close()
