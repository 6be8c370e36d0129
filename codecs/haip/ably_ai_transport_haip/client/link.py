"""Link: keeps one client connected, and connects again after a lost connection."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import anyio

from ably_ai_transport_haip.client.backoff import exponential_backoff
from ably_ai_transport_haip.client.events import Emitter, logger
from ably_ai_transport_haip.client.http import HttpTransport
from ably_ai_transport_haip.client.state import HaipPerformanceMetrics
from ably_ai_transport_haip.client.transport import CLEAN, HaipTransport
from ably_ai_transport_haip.protocol import (
    Frame,
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
    Received,
    Violated,
)
from ably_ai_transport_haip.protocol.messages import size_of

MOST_DELAY: Final = 30.0
JITTER: Final = 0.25
MISSED_HEARTBEATS: Final = 3
_BATCH_FRAMES: Final = 100
_BATCH_BYTES: Final = 256 * 1024


class LinkState(StrEnum):
    """The states of a link."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    UP = "up"
    RECONNECTING = "reconnecting"


class Trigger(StrEnum):
    """The events that move a link from one state to another."""

    OPEN = "open"
    HANDSHAKE = "handshake"
    LOST = "lost"
    END = "end"


TRANSITIONS: Final[Mapping[tuple[LinkState, Trigger], LinkState]] = {
    (LinkState.CLOSED, Trigger.OPEN): LinkState.CONNECTING,
    (LinkState.CONNECTING, Trigger.HANDSHAKE): LinkState.UP,
    (LinkState.CONNECTING, Trigger.END): LinkState.CLOSED,
    (LinkState.UP, Trigger.LOST): LinkState.RECONNECTING,
    (LinkState.UP, Trigger.END): LinkState.CLOSED,
    (LinkState.RECONNECTING, Trigger.HANDSHAKE): LinkState.UP,
    (LinkState.RECONNECTING, Trigger.LOST): LinkState.RECONNECTING,
    (LinkState.RECONNECTING, Trigger.END): LinkState.CLOSED,
}
"""The state after each trigger. A pair that is not listed changes nothing: a link that loses its first
connection, for example, does not try again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of a link. Times are in seconds.

    Attributes:
        attempts: The number of attempts to connect again.
        delay: The delay before the first of these attempts.
        heartbeat: The interval between pings.
        timeout: The longest time for a connection with its handshake.
    """

    attempts: int
    delay: float
    heartbeat: float
    timeout: float


class Link:
    """Moves frames between a peer and a transport, in one task from the first connection to the last.

    Args:
        peer: The protocol state.
        transport: The transport.
        patience: The limits.
        events: Emits ``connect``, ``disconnect``, ``error`` and ``closed``.
        take: Called with each event of the peer.

    Attributes:
        state: The state.
        attempts: The number of attempts to connect again since the connection was lost.
        traffic: The traffic.
    """

    def __init__(
        self,
        peer: HaipPeer,
        transport: HaipTransport,
        patience: Patience,
        events: Emitter,
        take: Callable[[PeerEvent], None],
    ) -> None:
        self._peer = peer
        self._transport = transport
        self._patience = patience
        self._events = events
        self._take_event = take
        self._task: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._lost = asyncio.Event()
        self._work = asyncio.Event()
        self._writing = asyncio.Lock()
        self._reason = CLEAN
        self._failure: HaipError | None = None
        self._ended: HaipError | None = None
        self._heard = 0.0
        self._up_since = 0.0
        self._connected_for = 0.0
        self.state = LinkState.CLOSED
        self.attempts = 0
        self._transport_batches = isinstance(transport, HttpTransport)
        self.traffic = Traffic()
        transport.on("message", self._take_text)
        transport.on("binary", self._take_binary)
        transport.on("disconnect", self._lose)
        transport.on("error", self._take_error)

    @property
    def is_up(self) -> bool:
        """Whether there is a connection with its handshake."""
        return self._transport.is_connected() and self._peer.is_handshaken

    @property
    def connection_time(self) -> float:
        """The total time with a connection, in seconds."""
        current = time.monotonic() - self._up_since if self.state is LinkState.UP else 0.0
        return self._connected_for + current

    async def open(self) -> None:
        """Connect.

        Raises:
            HaipConnectionError: The server cannot be reached, or sends no handshake in time.
            HaipAuthenticationError: The token was refused.
            HaipProtocolError: The server speaks another version.
        """
        if self._task is not None and not self._task.done():
            await self.ready()
            return
        self._move(Trigger.OPEN)
        self._ended = None
        self._ready = asyncio.get_running_loop().create_future()
        self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            await self.ready()
        except BaseException:  # a cancelled caller, too, leaves no connection behind
            await self.close()
            raise

    async def close(self) -> None:
        """Disconnect. Senders that wait for a connection get an error."""
        task = self._task
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([task])
            self._task = None

    async def ready(self) -> None:
        """Wait until there is a connection with its handshake.

        Raises:
            HaipError: There is no connection, and none is attempted.
        """
        if self.state is LinkState.UP:
            return
        if self._ready is None:
            raise self._ended or HaipConnectionError(
                "unable to send; the client is not connected (await connect() first)"
            )
        await asyncio.shield(self._ready)

    def nudge(self) -> None:
        """Let the writer write what the peer has queued."""
        if self._peer.backlog:
            self._work.set()

    async def flush(self) -> None:
        """Write the frames that the peer has queued."""
        async with self._writing:
            if not self._transport.is_connected():
                return
            try:
                if self._transport_batches and self._peer.accepts_batches:
                    await self._write_batches()
                while (frame := self._peer.next_outgoing()) is not None:
                    await self._write_frame(frame)
            except (HaipError, OSError) as error:
                # The frames that were not written are replayed when the session is resumed.
                self._lose(str(error))

    async def _write_batches(self) -> None:
        """Write the queued text frames, several per request."""
        while frames := self._peer.next_texts(_BATCH_FRAMES, _BATCH_BYTES):
            await self._transport.send("\n".join(frame.text or "" for frame in frames))
            for frame in frames:
                self.traffic.sent(frame.size, is_message=True)

    async def _write_frame(self, frame: Frame) -> None:
        text, binary = frame.text, frame.binary
        if binary is None:
            if text is not None:
                await self._transport.send(text)
        else:
            # The two frames of a message must not be separated.
            with anyio.CancelScope(shield=True):
                if text is not None:
                    await self._transport.send(text)
                await self._transport.send(binary)
        self.traffic.sent(frame.size, is_message=text is not None)

    def _move(self, trigger: Trigger, reason: str = CLEAN) -> bool:
        """Follow the table of transitions.

        Args:
            trigger: The event.
            reason: The reason of a disconnect.

        Returns:
            Whether the table lists the trigger for the current state.
        """
        before, after = self.state, TRANSITIONS.get((self.state, trigger))
        if after is None:
            return False
        self.state = after
        logger.debug("Link: %s -> %s", before, after, extra={"haip_session": self._peer.session_id})
        if before is LinkState.UP:
            self._connected_for += time.monotonic() - self._up_since
            self._log_end(reason)
            self._events.emit("disconnect", reason)
        if after is LinkState.UP:
            self._up_since = time.monotonic()
            self.attempts = 0
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
            logger.info("Connected", extra={"haip_session": self._peer.session_id})
            self._events.emit("connect")
        if after is LinkState.RECONNECTING and (self._ready is None or self._ready.done()):
            self._ready = asyncio.get_running_loop().create_future()
        if after is LinkState.CLOSED:
            self._give_up(HaipConnectionError("unable to send; the connection is closed"))
            self._events.emit("closed")
        return True

    def _log_end(self, reason: str) -> None:
        logger.info("Disconnected: %s", reason, extra={"haip_session": self._peer.session_id})

    def _give_up(self, error: HaipError) -> None:
        """Fail the senders that wait for a connection."""
        ready, self._ready = self._ready, None
        if ready is not None and not ready.done():
            ready.set_exception(error)
            # Marks the exception as seen: there may be no sender.
            ready.exception()

    async def _run(self) -> None:
        try:
            while (error := await self._live()) is not None:
                is_retried = (
                    isinstance(error, HaipConnectionError) and self.attempts < self._patience.attempts
                )
                was_up = self.state is not LinkState.CONNECTING
                if not (self._move(Trigger.LOST, self._reason) and is_retried):
                    self._fail(error, was_up=was_up)
                    return
                delay = exponential_backoff(self.attempts, self._patience.delay, MOST_DELAY, JITTER)
                logger.debug("Attempt %d to connect again, in %.1f s", self.attempts + 1, delay)
                await asyncio.sleep(delay)
                self.attempts += 1
        except Exception:  # noqa: BLE001 - nobody awaits this task
            logger.exception("The connection failed for an unexpected reason")
            self._fail(HaipConnectionError("unable to go on; see the log"), was_up=True)
        finally:
            with anyio.CancelScope(shield=True):
                await self._transport.disconnect()
            self._move(Trigger.END)

    def _fail(self, error: HaipError, *, was_up: bool) -> None:
        if was_up:
            # Nobody awaits connect() any more, so the listeners are told.
            logger.warning("The connection is given up: %s", error)
            self._ended = HaipConnectionError(
                f"unable to send; the connection has ended ({error})", error.details, code=error.code
            )
            self._events.emit("error", error)
        self._give_up(self._ended or error)

    async def _live(self) -> HaipError | None:
        """Run one connection to its end; return None after the server closed it normally."""
        self._lost = asyncio.Event()
        self._reason, self._failure = CLEAN, None
        self._peer.reconnect()
        try:
            await self._connect()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write)
                tasks.start_soon(self._beat)
                await self._lost.wait()
                tasks.cancel_scope.cancel()
        except HaipError as error:
            self._reason = str(error)
            return error
        finally:
            with anyio.CancelScope(shield=True):
                await self._transport.disconnect()
        if self._failure is not None:
            return self._failure
        return (
            None if self._reason == CLEAN else HaipConnectionError(f"the connection was lost: {self._reason}")
        )

    async def _connect(self) -> None:
        try:
            with anyio.fail_after(self._patience.timeout):
                await self._transport.connect()
                self._peer.greet()
                await self.flush()
                while not (self._peer.is_handshaken or self._lost.is_set()):
                    await self._work.wait()
                    self._work.clear()
        except TimeoutError:
            raise HaipConnectionError(
                f"unable to connect; no handshake arrived within {self._patience.timeout} s",
                code=HaipErrorCode.TIMEOUT,
            ) from None
        except HaipError:
            raise
        except Exception as error:
            # A token function or a transport of the user failed.
            logger.exception("Unable to connect")
            raise HaipConnectionError(f"unable to connect; {type(error).__name__} was raised") from error

    async def _write(self) -> None:
        """Write the frames that the peer queues by itself, and do its work when it is due."""
        while True:
            self._work.clear()
            self._take_events(self._peer.tick())
            await self.flush()
            due = self._peer.due
            if due is None:
                await self._work.wait()
                continue
            with anyio.move_on_after(max(0.0, due - self._peer.config.clock())):
                await self._work.wait()

    async def _beat(self) -> None:
        self._heard = time.monotonic()
        while True:
            await asyncio.sleep(self._patience.heartbeat)
            if time.monotonic() - self._heard > MISSED_HEARTBEATS * self._patience.heartbeat:
                self._lose("the server does not answer")
            self._peer.ping(str(time.monotonic_ns()))
            # The writer sends it: this task must not block in a write while it checks for answers.
            self._work.set()

    def _take_error(self, error: Exception) -> None:
        if self._lost.is_set():
            # The reason is known already.
            return
        if isinstance(error, HaipAuthenticationError | HaipProtocolError):
            # Another attempt would fail in the same way.
            self._failure = error
            if self.state is LinkState.CONNECTING:
                # connect() raises it.
                return
        self._events.emit("error", error)

    def _lose(self, reason: str) -> None:
        if not self._lost.is_set():
            self._reason = reason
            self._lost.set()
            self._work.set()

    def _take_text(self, text: str) -> None:
        self.traffic.received(size_of(text), is_message=True)
        self._take(self._peer.receive_text(text))

    def _take_binary(self, data: bytes) -> None:
        self.traffic.received(len(data), is_message=False)
        self._take(self._peer.receive_binary(data))

    def _take(self, events: Sequence[PeerEvent]) -> None:
        self._heard = time.monotonic()
        self._take_events(events)
        if self._peer.backlog or self._peer.due is not None:
            self._work.set()

    def _take_events(self, events: Sequence[PeerEvent]) -> None:
        for event in events:
            if isinstance(event, Handshaken):
                self._move(Trigger.HANDSHAKE)
                self._work.set()
            if isinstance(event, Received) and _is_expiry(event.message):
                # A token function returns a fresh token for the next attempt.
                self._lose("the token has expired")
            if isinstance(event, Violated) and event.fatal:
                self._failure = event.error
                self._lose(str(event.error))
            self._take_event(event)


class Traffic:
    """Counts messages and bytes."""

    def __init__(self) -> None:
        self._messages_sent = self._messages_received = 0
        self._bytes_sent = self._bytes_received = 0
        self._updated = 0.0

    def sent(self, size: int, *, is_message: bool) -> None:
        """Count frames that were sent."""
        self._messages_sent += is_message
        self._bytes_sent += size
        self._updated = time.time()

    def received(self, size: int, *, is_message: bool) -> None:
        """Count a frame that was received."""
        self._messages_received += is_message
        self._bytes_received += size
        self._updated = time.time()

    def snapshot(self, connection_time: float) -> HaipPerformanceMetrics:
        """Return the figures so far.

        Args:
            connection_time: The total time with a connection, in seconds.
        """
        return HaipPerformanceMetrics(
            self._messages_sent,
            self._messages_received,
            self._bytes_sent,
            self._bytes_received,
            connection_time,
            self._updated,
        )


def _is_expiry(message: HaipMessage) -> bool:
    return message.type is HaipEventType.ERROR and message.payload.get("code") == HaipErrorCode.TOKEN_EXPIRED
