"""A payload store whose operations end in time."""

from typing import Final

import anyio

from ably_ai_transport.payloads.contract import PayloadStore

TIMEOUT_SECONDS: Final = 30.0


class TimedPayloads:
    """Fails the operations of another store that take too long: messages and history wait for them.

    Args:
        store: The other store.
        timeout: How long an operation may take, in seconds.
    """

    def __init__(self, store: PayloadStore, timeout: float = TIMEOUT_SECONDS) -> None:
        self._store = store
        self._timeout = timeout

    async def put(self, key: str, content: bytes, media_type: str) -> str:
        """Keep a content.

        Raises:
            TimeoutError: It took too long.
        """
        with anyio.fail_after(self._timeout):
            return await self._store.put(key, content, media_type)

    async def get(self, key: str) -> bytes:
        """Return a content.

        Raises:
            TimeoutError: It took too long.
        """
        with anyio.fail_after(self._timeout):
            return await self._store.get(key)
