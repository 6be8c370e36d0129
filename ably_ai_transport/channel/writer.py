"""The one who writes: publishes leave in the order of the calls, across reconnections too."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from ably_ai_transport.channel.convert import word
from ably_ai_transport.wire import AITransportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ably_ai_transport.channel.inflight import InFlight
    from ably_ai_transport.channel.sdk import ConnectionManager, Pending

logger = logging.getLogger("ably_ai_transport.channel")

_NOT_CONNECTED = 90000
_BURST = 64
"""Messages after which others get a turn; a socket that takes everything never makes the writer wait."""


class Writer:
    """Numbers and sends what is published on one client.

    The SDK's own way makes a task of each publish, whose order is that in which they happen to run; what
    waits for a connection is put in two queues and, in the end, sent twice or in the wrong order (ably
    3.1.4). Here there is one queue and one task, which exists while there is something to write.

    Args:
        manager: The SDK's connection.
        in_flight: Where to note what has been sent.
    """

    def __init__(self, manager: ConnectionManager, in_flight: InFlight) -> None:
        self._manager = manager
        self._in_flight = in_flight
        self._again: deque[Pending] = deque()
        self._outbox: deque[Pending] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, publication: Pending) -> None:
        """Send a message, now or when there is a connection."""
        if self._manager.state == "connected":
            self._outbox.append(publication)
            if self._task is None:
                self._start()
        elif self._manager.options.queue_messages:
            self._outbox.append(publication)
        elif publication.future is not None:
            state = self._manager.state
            publication.future.set_exception(
                AITransportError(f"unable to publish; connection is {word(state)}", _NOT_CONNECTED)
            )

    def resume(self, again: Iterable[Pending]) -> None:
        """Go on with a new connection.

        Args:
            again: What was sent before and not answered, in order; goes first.
        """
        self._again = deque(again)
        if self._task is None and (self._again or self._outbox):
            self._start()

    def fail(self, error: BaseException) -> None:
        """Refuse all that waits for a connection."""
        self._again.clear()
        waiting, self._outbox = self._outbox, deque()
        for publication in waiting:
            if publication.future is not None:
                publication.future.set_exception(error)

    def _start(self) -> None:
        # Owned by this writer; it ends with the queue, or with the connection.
        self._task = asyncio.get_running_loop().create_task(self._write(), name="ably publishes")

    async def _write(self) -> None:
        written = 0
        try:
            while True:
                transport = self._manager.transport
                if self._manager.state != "connected" or transport is None or transport.is_disposed:
                    return
                if self._again:
                    pending = self._again.popleft()
                elif self._outbox:
                    pending = self._outbox.popleft()
                    pending.message["msgSerial"] = self._manager.msg_serial
                    self._manager.msg_serial += 1
                    self._in_flight.push(pending)
                else:
                    return
                try:
                    await transport.send(pending.message)
                except (TypeError, ValueError, OverflowError) as error:
                    self._take_back(pending, error)
                except Exception as error:  # noqa: BLE001
                    # The socket died under it. Whether it arrived, nobody knows: it is sent again under the
                    # same number, and the server tells. The SDK fails the caller and sends it all the same.
                    logger.debug("A publish waits for the next connection: %r", error)
                written += 1
                if not written % _BURST:
                    await asyncio.sleep(0)
        finally:
            self._task = None

    def _take_back(self, pending: Pending, error: Exception) -> None:
        """Undo the numbering of what cannot be encoded: a gap would confuse the server."""
        self._in_flight.discard(pending)
        if pending.message.get("msgSerial") == self._manager.msg_serial - 1:
            self._manager.msg_serial -= 1
        if pending.future is not None and not pending.future.done():
            pending.future.set_exception(error)
