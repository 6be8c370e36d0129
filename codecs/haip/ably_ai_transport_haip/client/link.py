"""The connection of a client: kept up, and made again when it is lost."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import anyio

from ably_ai_transport_haip.client.state import HaipPerformanceMetrics
from ably_ai_transport_haip.client.transport import CLEAN, HaipTransport
from ably_ai_transport_haip.protocol import (
    HaipAuthenticationError,
    HaipConnectionError,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipMessage,
    HaipPeer,
    HaipProtocolError,
    Handshaken,
    PeerEvent,
    Violated,
    exponential_backoff,
)

logger = logging.getLogger("ably_ai_transport_haip")

MOST_DELAY = 30.0
JITTER = 0.25
MISSED_HEARTBEATS = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """How long and how often a link tries. Times are seconds.

    Attributes:
        attempts: How often to connect again before giving up.
        delay: What to wait before the first of these attempts.
        heartbeat: How often to ask whether the other side is there.
        timeout: How long a connection may take, with its handshake.
    """

    attempts: int
    delay: float
    heartbeat: float
    timeout: float


class Link:
    """Moves frames between a peer and a transport, in one task from the first connection to the last.

    Args:
        peer: The protocol.
        transport: What carries the frames.
        patience: How long and how often it tries.
        on_event: Called with what the peer says.
        on_up: Called when there is a connection with its handshake.
        on_down: Called with the reason when it is lost or closed.
        on_error: Called with what went wrong.
        on_end: Called when there will be no connection any more.

    Attributes:
        attempts: How often it has been tried to connect again since the connection was lost.
        metrics: What went over the wire.
    """

    def __init__(
        self,
        peer: HaipPeer,
        transport: HaipTransport,
        patience: Patience,
        *,
        on_event: Callable[[PeerEvent], None],
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        on_error: Callable[[Exception], None],
        on_end: Callable[[], None],
    ) -> None:
        self._peer = peer
        self._transport = transport
        self._patience = patience
        self._on_event = on_event
        self._on_up = on_up
        self._on_down = on_down
        self._on_error = on_error
        self._on_end = on_end
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()
        self._work = asyncio.Event()
        self._writing = asyncio.Lock()
        self._reason = CLEAN
        self._failure: HaipError | None = None
        self._has_been_up = False
        self._heard = 0.0
        self._up_since: float | None = None
        self.attempts = 0
        self.metrics = HaipPerformanceMetrics()
        transport.on("message", self._take_text)
        transport.on("binary", self._take_binary)
        transport.on("disconnect", self._lose)
        transport.on("error", self._hear_of)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection with its handshake."""
        return self._transport.is_connected() and self._peer.is_handshaken

    @property
    def connection_time(self) -> float:
        """For how many seconds there has been a connection, in all."""
        now = 0.0 if self._up_since is None else time.monotonic() - self._up_since
        return self.metrics.connection_time + now

    async def open(self) -> None:
        """Connect.

        Raises:
            HaipConnectionError: The server cannot be reached, or does not introduce itself in time.
            HaipAuthenticationError: The token was refused.
            HaipError: The server speaks another version.
        """
        if self._task is not None and not self._task.done():
            await self.ready()
            return
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect; whoever waits for a connection is told that there will be none."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])

    async def ready(self) -> None:
        """Wait until there is a connection.

        Raises:
            HaipError: There is none, and there will be none.
        """
        if self._ready is None:
            raise HaipConnectionError("unable to send; the client is not connected (await connect() first)")
        await asyncio.shield(self._ready)

    async def flush(self) -> None:
        """Write what the peer has to send."""
        async with self._writing:
            if not self._transport.is_connected():
                return
            try:
                while (frame := self._peer.next_outgoing()) is not None:
                    # Nothing may come between the two halves of a message.
                    with anyio.CancelScope(shield=frame.binary is not None):
                        for data in (frame.text, frame.binary):
                            if data is not None:
                                await self._transport.send(data)
                                self._count(sent=data)
            except HaipError as error:
                # What was not written is written again when the session goes on.
                self._lose(str(error))

    def _give_up(self, error: HaipError) -> None:
        """Tell who waits for a connection, and who will, that there is none."""
        ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.set_exception(error)
            # Nobody need wait for it.
            ready.exception()

    async def _run(self) -> None:
        try:
            while True:
                try:
                    await self._live()
                    return
                except HaipAuthenticationError as error:
                    self._fail(error)
                    return
                except HaipConnectionError as error:
                    if not self._has_been_up or self.attempts >= self._patience.attempts:
                        self._fail(error)
                        return
                except HaipError as error:
                    self._fail(error)
                    return
                if self._ready is None or self._ready.done():
                    self._ready = asyncio.get_running_loop().create_future()
                await asyncio.sleep(
                    exponential_backoff(self.attempts, self._patience.delay, MOST_DELAY, JITTER)
                )
                self.attempts += 1
        finally:
            with anyio.CancelScope(shield=True):
                await self._transport.disconnect()
            self._went_down(CLEAN)
            self._give_up(HaipConnectionError("unable to send; the connection is closed"))
            self._on_end()

    def _fail(self, error: HaipError) -> None:
        if self._has_been_up:
            self._on_error(error)
        self._give_up(error)

    async def _live(self) -> None:
        """Live through one connection; return when the server has closed it in peace."""
        self._lost = asyncio.Event()
        self._peer.reconnect()
        try:
            with anyio.fail_after(self._patience.timeout):
                await self._transport.connect()
                self._peer.greet()
                await self.flush()
                while not (self._peer.is_handshaken or self._lost.is_set()):
                    await self._work.wait()
                    self._work.clear()
        except TimeoutError:
            await self._transport.disconnect()
            raise HaipConnectionError(
                f"unable to connect; there was no handshake within {self._patience.timeout} s",
                HaipErrorCode.TIMEOUT,
            ) from None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write)
            tasks.start_soon(self._beat)
            await self._lost.wait()
            tasks.cancel_scope.cancel()
        reason = self._reason
        await self._transport.disconnect()
        self._went_down(reason)
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if reason != CLEAN:
            raise HaipConnectionError(f"the connection was lost: {reason}")

    async def _write(self) -> None:
        """Write what the peer says by itself: answers, grants, what has waited, and what is due."""
        while True:
            due = self._peer.due
            wait = None if due is None else max(0.0, due - self._peer.config.clock())
            with anyio.move_on_after(wait):
                await self._work.wait()
            self._work.clear()
            self._take_events(self._peer.tick())
            await self.flush()

    async def _beat(self) -> None:
        self._heard = time.monotonic()
        while True:
            await asyncio.sleep(self._patience.heartbeat)
            if time.monotonic() - self._heard > MISSED_HEARTBEATS * self._patience.heartbeat:
                self._lose("the server does not answer")
            self._peer.send(HaipMessage(HaipEventType.PING, {"nonce": str(time.monotonic_ns())}))
            # Somebody else writes it: who listens for a sign of life must not be stuck in writing.
            self._work.set()

    def _hear_of(self, error: Exception) -> None:
        if isinstance(error, HaipAuthenticationError | HaipProtocolError):
            # It would be the same another time.
            self._failure = error
        if self._has_been_up or self._failure is None:
            self._on_error(error)

    def _lose(self, reason: str) -> None:
        if not self._lost.is_set():
            self._reason = reason
            self._lost.set()
            self._work.set()

    def _went_down(self, reason: str) -> None:
        if self._up_since is None:
            return
        self.metrics = replace(self.metrics, connection_time=self.connection_time)
        self._up_since = None
        self._on_down(reason)

    def _take_text(self, text: str) -> None:
        self._count(received=text)
        self._take(self._peer.receive_text(text))

    def _take_binary(self, data: bytes) -> None:
        self._count(received=data)
        self._take(self._peer.receive_binary(data))

    def _take(self, events: Sequence[PeerEvent]) -> None:
        self._heard = time.monotonic()
        self._take_events(events)
        self._work.set()

    def _take_events(self, events: Sequence[PeerEvent]) -> None:
        for event in events:
            if isinstance(event, Handshaken):
                self._came_up()
            if isinstance(event, Violated) and event.fatal:
                self._failure = event.error
                self._lose(str(event.error))
            self._on_event(event)

    def _came_up(self) -> None:
        self._up_since = time.monotonic()
        self._has_been_up = True
        self.attempts = 0
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)
        self._on_up()

    def _count(self, *, sent: str | bytes = b"", received: str | bytes = b"") -> None:
        old = self.metrics
        self.metrics = replace(
            old,
            messages_sent=old.messages_sent + bool(sent and isinstance(sent, str)),
            messages_received=old.messages_received + bool(received and isinstance(received, str)),
            bytes_sent=old.bytes_sent + _bytes(sent),
            bytes_received=old.bytes_received + _bytes(received),
            last_updated=time.time(),
        )


def _bytes(data: str | bytes) -> int:
    return len(data.encode()) if isinstance(data, str) else len(data)
