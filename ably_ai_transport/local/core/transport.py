"""Transport: a websocket with a bounded queue of frames and the loop that writes them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, Protocol, TypeAlias

from ably_ai_transport.local.core.steps import Packet
from ably_ai_transport.local.protocol.formats import dump_frame
from ably_ai_transport.local.protocol.frames import Action, Frame
from ably_ai_transport.local.protocol.refusals import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.core.limits import Quota
    from ably_ai_transport.local.options import Limits
    from ably_ai_transport.local.protocol.formats import Format
    from ably_ai_transport.local.stats import Stats

logger = logging.getLogger("ably_ai_transport.local")

Direction: TypeAlias = Literal["c2s", "s2c"]
FrameObserver: TypeAlias = "Callable[[Direction, str, Frame], None]"
"""Called with (direction, label of the connection, frame)."""

_BATCH: Final = 256
_BATCH_BYTES: Final = 2**17
_FAIR_BYTES: Final = 2**16
"""Bytes that may wait on a connection even when the queues of the app are full."""
_LINGER_MS: Final = 10_000
_GONE: Final = RefusedError(80003, 503, "the connection does not read fast enough")


class SocketClosedError(Exception):
    """The peer is gone."""


class Socket(Protocol):
    """The websocket of a web server."""

    async def send(self, payloads: Sequence[bytes], *, text: bool) -> None:
        """Write frames; waits while the peer does not read.

        Raises:
            SocketClosedError: The websocket is closed.
        """
        ...

    async def close(self, code: int) -> None:
        """Start the closing handshake."""
        ...

    def abort(self) -> None:
        """Cut the connection without a closing handshake, as a broken network does."""
        ...

    def cut(self, payload: bytes, *, text: bool) -> None:
        """Write half of a frame and cut the connection."""
        ...

    def swallow(self) -> None:
        """Ignore everything that the peer sends, pings and closing handshakes included."""
        ...


class Transport:
    """The current websocket of a connection."""

    def __init__(
        self,
        socket: Socket,
        format_: Format,
        label: str,
        *,
        clock: Clock,
        stats: Stats,
        limits: Limits,
        observers: Sequence[FrameObserver],
        quota: Quota,
    ) -> None:
        self.format: Format = format_
        self.label = label
        self.delay_ms = 0.0
        self._socket = socket
        self._clock = clock
        self._stats = stats
        self._limits = limits
        self._observers = observers
        self._quota = quota
        self._queue: deque[Packet] = deque()
        self._queued_bytes = 0
        self._delayed: deque[Packet] = deque()
        self._timers: dict[Timer, None] = {}
        self._wake = asyncio.Event()
        self._closing: int | None = None
        self._aborted = False
        self._cuts = False
        self.is_black_hole = False
        self.last_written = clock.now()

    @property
    def is_open(self) -> bool:
        """Whether the websocket is still in use."""
        return self._closing is None and not self._aborted

    def send(self, frame: Frame) -> None:
        """Queue a frame."""
        if self.is_open:
            self._enqueue(Packet(frame, dump_frame(frame, self.format)))

    def deliver(self, packet: Packet) -> None:
        """Queue a frame for a subscriber; the delivery delay applies."""
        if not self.is_open:
            return
        if self.delay_ms or self._delayed:
            self._delayed.append(packet)
            self._start_timer(self.delay_ms)
        else:
            self._enqueue(packet)

    def finish(self, code: int = 1000) -> None:
        """Close the websocket once the queue is written; further frames are dropped."""
        if self.is_black_hole:
            self.abort()
        elif self._closing is None:
            self._closing = code
            self._stop_timers()
            # A peer that does not read would keep the websocket open forever.
            self._timers[self._clock.call_later(_LINGER_MS, self.abort)] = None
            self._wake.set()

    def abort(self) -> None:
        """Cut the websocket now; queued frames are lost."""
        if not self._aborted:
            self._aborted = True
            self._empty()
            self._stop_timers()
            self._wake.set()
            self._socket.abort()

    def cut_next(self) -> None:
        """Cut the websocket in the middle of the next frame."""
        self._cuts = True

    def become_black_hole(self) -> None:
        """Stay open, but lose everything that either side sends from now on."""
        self.is_black_hole = True
        self._empty()
        self._socket.swallow()

    def received(self, frame: Frame, size: int) -> None:
        """Count a frame that was read and pass it to the observers."""
        self._stats.frames_in += 1
        self._stats.bytes_in += size
        for observer in self._observers:
            self._show(observer, "c2s", frame)

    async def write(self) -> None:
        """Write queued frames until the transport is closed or lost."""
        queue = self._queue
        try:
            while not self._aborted:
                if queue and self._cuts:
                    self._socket.cut(queue[0].payload, text=self.format == "json")
                    self.abort()
                elif queue:
                    batch = self._batch()
                    await self._socket.send([p.payload for p in batch], text=self.format == "json")
                    self._written(batch)
                elif self._closing is not None:
                    await self._socket.close(self._closing)
                    return
                else:
                    self._wake.clear()
                    await self._wake.wait()
        except SocketClosedError:
            return
        finally:
            self._empty()
            self._stop_timers()

    def _batch(self) -> list[Packet]:
        """Take the frames that are written at once: the web server holds them until the peer reads."""
        queue = self._queue
        batch: list[Packet] = []
        size = 0
        while queue and len(batch) < _BATCH and size < _BATCH_BYTES:
            packet = queue.popleft()
            batch.append(packet)
            size += len(packet.payload)
            self._quota.queued -= packet.leave()
        self._queued_bytes -= size
        return batch

    def _empty(self) -> None:
        for packet in self._queue:
            self._quota.queued -= packet.leave()
        self._queue.clear()
        self._queued_bytes = 0

    def _put(self, packet: Packet) -> None:
        self._queue.append(packet)
        self._queued_bytes += len(packet.payload)
        self._quota.queued += packet.enter()

    def _is_too_slow(self) -> bool:
        """Tell whether too much waits, here or in all queues of the app together."""
        limits, waiting = self._limits, self._queued_bytes
        if len(self._queue) > limits.max_queued_frames or waiting > limits.max_queued_bytes:
            return True
        return waiting > _FAIR_BYTES and self._quota.has_full_queues

    def _enqueue(self, packet: Packet) -> None:
        if self.is_black_hole:
            return
        self._put(packet)
        if len(self._queue) == 1:
            self._wake.set()
        elif self._is_too_slow():
            self._empty()
            frame: Frame = {"action": int(Action.DISCONNECTED), "error": _GONE.to_wire()}
            self._put(Packet(frame, dump_frame(frame, self.format)))
            self.finish()

    def _written(self, batch: Sequence[Packet]) -> None:
        self.last_written = self._clock.now()
        self._stats.frames_out += len(batch)
        self._stats.bytes_out += sum(len(packet.payload) for packet in batch)
        for observer in self._observers:
            for packet in batch:
                self._show(observer, "s2c", packet.frame)

    def _show(self, observer: FrameObserver, direction: Direction, frame: Frame) -> None:
        try:
            observer(direction, self.label, frame)
        except Exception:  # an observer may raise anything; the client must not suffer from it
            logger.exception("a frame observer failed", extra={"connection": self.label})

    def _start_timer(self, delay_ms: float) -> None:
        def fire() -> None:
            del self._timers[timer]
            self._enqueue(self._delayed.popleft())

        timer = self._clock.call_later(delay_ms, fire)
        self._timers[timer] = None

    def _stop_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._delayed.clear()
