"""Heartbeats: finds connections that are open but dead, and cuts them so that the SDK reconnects.

When a peer or the network between disappears without a word, the socket stays open. The Ably SDK for Python
3.1.4 gives such a connection up after ``maxIdleInterval`` and ``realtimeRequestTimeout`` (25 s on Ably), and
then waits another 10 s for the closing handshake. Publishes wait for all that time.
"""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ably_ai_transport.channel.ably.sdk import ConnectionManager, StateChange, Transport

logger = logging.getLogger("ably_ai_transport.channel")

UNACKED_SECONDS: Final = 3.0
"""Silence after which a connection is probed while publishes have no ack."""
ANSWER_SECONDS: Final = 2.0
"""How long a probe waits for any frame, and a websocket for the closing handshake."""
_TICKS_PER_ANSWER: Final = 4
_HEARTBEAT: Final = 0


class Verdict(Enum):
    """The outcome of one tick."""

    WAIT = auto()
    """The connection is alive, or has not been silent for long."""
    PROBE = auto()
    """The connection has been silent for too long: ask the server for a heartbeat."""
    CUT = auto()
    """The server did not answer: the connection is dead."""


class Silence:
    """Measures the silence of one connection in ticks.

    Ticks are counted, not seconds: an event loop that was blocked for a while has missed one tick, and finds
    the frames that arrived meanwhile before the next.

    Args:
        idle: Ticks of silence before a probe; infinite for none.
        unacked: The same while publishes have no ack.
        answer: Ticks between a probe and the verdict that the connection is dead.
    """

    __slots__ = ("_answer", "_idle", "_probed", "_silent", "_unacked", "_waiting")

    def __init__(self, *, idle: float, unacked: float, answer: int) -> None:
        self._idle = idle
        self._unacked = unacked
        self._answer = answer
        self.heard()

    def heard(self) -> None:
        """Take note of a frame from the server; any frame shows that the connection is alive."""
        self._silent = self._waiting = 0
        self._probed: int | None = None

    def tick(self, *, has_unacked: bool) -> Verdict:
        """Count a tick.

        Args:
            has_unacked: Whether publishes have no ack.
        """
        self._silent += 1
        self._waiting = self._waiting + 1 if has_unacked else 0
        if self._probed is not None:
            self._probed += 1
            return Verdict.CUT if self._probed >= self._answer else Verdict.WAIT
        if self._silent >= self._idle or self._waiting >= self._unacked:
            self._probed = 0
            return Verdict.PROBE
        return Verdict.WAIT


class Heartbeat:
    """Watches the connections of one client, one after another.

    The SDK's emitter keeps it: it lives as long as the client.

    Args:
        manager: The SDK's connection.
    """

    def __init__(self, manager: ConnectionManager) -> None:
        self._manager = manager
        self._interval: float | None = None
        self._tick_seconds = 0.0
        self._silence: Silence | None = None
        self._transport: Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._probe: asyncio.Task[None] | None = None
        manager.on("connectionstate", self._on_state)
        if manager.state == "connected":
            self._start()

    def choose_interval(self, seconds: float) -> None:
        """Probe the connection after this much silence, whether or not publishes have no ack."""
        self._interval = seconds
        if self._manager.state == "connected":
            self._start()

    def heard(self) -> None:
        """Take note of a frame from the server."""
        if self._silence is not None:
            self._silence.heard()

    def _on_state(self, change: StateChange) -> None:
        if change.current == "connected":
            self._start()
        else:
            self._stop()

    def _start(self) -> None:
        self._stop()
        manager = self._manager
        transport = manager.transport
        details = manager.connection_details
        websocket = None if transport is None else transport.websocket
        if websocket is None:
            return
        chosen = self._interval or math.inf
        announced = (details.max_idle_interval if details is not None else 0) or math.inf
        answer = min(ANSWER_SECONDS, chosen)
        # The SDK waits for the closing handshake, and a dead peer never answers it.
        websocket.close_timeout = answer
        self._tick_seconds = answer / _TICKS_PER_ANSWER
        self._silence = Silence(
            idle=self._ticks(min(announced / 1000, chosen)),
            unacked=self._ticks(min(UNACKED_SECONDS, chosen)),
            answer=_TICKS_PER_ANSWER,
        )
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def _stop(self) -> None:
        self._silence = self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def _ticks(self, seconds: float) -> float:
        """Return the ticks that take at least so many seconds; the first may be near."""
        return seconds if math.isinf(seconds) else math.ceil(seconds / self._tick_seconds) + 1

    def _tick(self) -> None:
        transport, silence = self._transport, self._silence
        if transport is None or silence is None or transport.is_disposed:
            return
        verdict = silence.tick(has_unacked=self._manager.pending_message_queue.count() > 0)
        if verdict is Verdict.CUT:
            self._cut(transport)
            return
        if verdict is Verdict.PROBE:
            # This object owns the task, and cancels it when the connection ends.
            self._probe = asyncio.get_running_loop().create_task(_ask(transport), name="ably heartbeat")
        self._timer = asyncio.get_running_loop().call_later(self._tick_seconds, self._tick)

    def _cut(self, transport: Transport) -> None:
        """Cut the socket: the SDK reconnects and resumes at once, as after any broken connection."""
        logger.warning("The server does not answer a heartbeat; reconnecting")
        self._stop()
        if transport.websocket is not None:
            transport.websocket.transport.abort()


async def _ask(transport: Transport) -> None:
    """Ask for a heartbeat. The SDK ignores the answer: its id belongs to no ping."""
    try:
        await transport.send({"action": _HEARTBEAT, "id": uuid.uuid4().hex})
    except Exception as error:  # noqa: BLE001
        # Broad: a dying websocket may raise anything, and the SDK deals with its end.
        logger.debug("A heartbeat was not sent: %s", type(error).__name__)
