"""Connections that end as soon as they are made: frames that are too large, and pauses between attempts.

When an established connection ends, the Ably SDK for Python 3.1.4 connects again at once, every time. Where
the server sends the frame that ended the connection again, that happens dozens of times a second, for ever,
and nobody is told. And the SDK reads no frame over 1 MiB, the default of its websocket library. A message
that has grown by appends comes as a whole, in one frame, to a client that has not seen it yet.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from ably_ai_transport.wire import AITransportError
from ably_ai_transport.wire.errors import MESSAGE_TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ably_ai_transport.channel.ably.sdk import ConnectionManager, StateChange
    from ably_ai_transport.channel.ably.shared import SharedChannel

logger = logging.getLogger("ably_ai_transport.channel")

MAX_FRAME_RECEIVED: Final = 100 * 2**20
"""Bytes of the largest frame that is read: what the JavaScript SDK reads in Node."""
STABLE_SECONDS: Final = 10.0
"""How long a connection must last until the next may follow it at once."""
_AT_ONCE: Final = 3
_FIRST_PAUSE: Final = 0.1
_CLOSE_TOO_LARGE: Final = 1009


class Reconnects:
    """Paces the reconnects of one client, and lets its websockets read large frames.

    The SDK's emitter keeps it: it lives as long as the client.

    Args:
        manager: The SDK's connection.
        shared: The channels by name; each is told when its messages cannot be received.
    """

    def __init__(self, manager: ConnectionManager, shared: Mapping[str, SharedChannel]) -> None:
        self._manager = manager
        self._shared = shared
        self._made_at = 0.0
        self._short_lived = 0
        manager.on("connectionstate", self._on_state)
        if manager.state == "connected":
            self._connected()

    def pause(self, reason: Exception | None) -> float:
        """Return how many seconds to wait now that an established connection has ended.

        Args:
            reason: Why it ended.
        """
        lasted = asyncio.get_running_loop().time() - self._made_at
        self._short_lived = 0 if lasted >= STABLE_SECONDS else self._short_lived + 1
        late = self._short_lived - _AT_ONCE
        longest = self._manager.options.disconnected_retry_timeout / 1000
        seconds = min(_FIRST_PAUSE * 2 ** min(late - 1, 30), longest) if late > 0 else 0.0
        if _is_too_large(reason):
            self._report(seconds)
        elif seconds:
            logger.warning(
                "%d connections in a row have ended within %g s; reconnecting in %g s",
                self._short_lived,
                STABLE_SECONDS,
                seconds,
            )
        return seconds

    def _report(self, seconds: float) -> None:
        logger.error(
            "The server sent a frame of more than %d bytes, which cannot be received; reconnecting in %g s",
            MAX_FRAME_RECEIVED,
            seconds,
        )
        if self._short_lived != _AT_ONCE:
            return
        error = AITransportError(
            f"unable to receive messages; a frame has more than {MAX_FRAME_RECEIVED} bytes", MESSAGE_TOO_LARGE
        )
        for shared in list(self._shared.values()):
            shared.interrupt(error)

    def _on_state(self, change: StateChange) -> None:
        if change.current == "connected":
            self._connected()

    def _connected(self) -> None:
        self._made_at = asyncio.get_running_loop().time()
        transport = self._manager.transport
        if transport is not None and transport.websocket is not None:
            # There is no option for it. Frames before CONNECTED are small.
            transport.websocket.protocol.max_size = MAX_FRAME_RECEIVED


def _is_too_large(reason: Exception | None) -> bool:
    """Tell whether this side closed a websocket because of a frame that it could not read."""
    return getattr(getattr(reason, "sent", None), "code", None) == _CLOSE_TOO_LARGE
