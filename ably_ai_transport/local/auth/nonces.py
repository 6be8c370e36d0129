"""Nonces of signed token requests: each passes once."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.protocol.refusals import RefusedError

if TYPE_CHECKING:
    from ably_ai_transport.local.clock import Clock

MOST_NONCES: Final = 100_000
"""Nonces that are known at a time, some 20 MB."""


class UsedNonces:
    """The nonces that were used recently, as digests: they take the same memory whatever clients send."""

    def __init__(self, clock: Clock, kept_ms: int) -> None:
        """Create a table without nonces.

        Args:
            clock: The clock.
            kept_ms: How long a nonce is known; its token request must be too old afterwards.
        """
        self._clock = clock
        self._kept_ms = kept_ms
        self._digests: set[bytes] = set()
        self._order: deque[tuple[int, bytes]] = deque()

    def use(self, key_name: str, nonce: str, timestamp: int) -> None:
        """Note a nonce.

        Raises:
            RefusedError: 40105, it was used before; 42910, too many were used recently.
        """
        now = self._clock.now()
        order = self._order
        while order and now - order[0][0] > self._kept_ms:
            self._digests.discard(order.popleft()[1])
        used = hashlib.sha256(f"{key_name}\n{timestamp}\n{nonce}".encode(errors="replace")).digest()
        if used in self._digests:
            raise RefusedError(40105, 401, "the nonce of the token request has been used before")
        if len(order) >= MOST_NONCES:
            raise RefusedError(42910, 429, f"more than {MOST_NONCES} signed token requests; try again later")
        self._digests.add(used)
        order.append((now, used))
