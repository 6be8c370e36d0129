"""Appends: a bounded window, text that waits for room, repair of refused appends.

A plain state machine. Callers and acks drive it; it has no tasks of its own.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import partial
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, TypeVar

import anyio

from ably_ai_transport.codec.contract import Ack, ChannelWriter, EncoderOptions, EncoderStats, Timer
from ably_ai_transport.codec.text import well_formed, whole_characters
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InvalidArgumentError,
    OutboundMessage,
    error_of,
    names,
)
from ably_ai_transport.wire.messages import ai_extras

T = TypeVar("T")
EndStatus: TypeAlias = Literal["complete", "cancelled"]

MAX_BUFFER: Final = 256 * 1024
"""Bytes of a stream's text that may wait for the window; beyond that the writer waits too."""
REPAIR_ATTEMPTS: Final = 2

logger = logging.getLogger("ably_ai_transport.codec")


def check_text(text: object, action: str) -> str:
    """Return a piece of text for a stream.

    Args:
        text: The text; None stands for no text.
        action: The operation, for the error's message.

    Returns:
        The text; empty for None. It may hold half a character: see :meth:`OutgoingStream.take`.

    Raises:
        InvalidArgumentError: It is not text (40003).
    """
    if text is None:
        return ""
    if not isinstance(text, str):
        raise InvalidArgumentError(f"unable to {action}; text is {type(text).__name__}, not str")
    return text


def utf8_size(text: str) -> int:
    """Return how many bytes a text has in UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def split_text(text: str, limit: int) -> list[str]:
    """Cut a text into pieces of at most ``limit`` bytes of UTF-8, never inside a character.

    Args:
        text: Any well-formed text.
        limit: At least 4, the longest character there is.

    Returns:
        The pieces, which concatenate to the text; a single piece, possibly empty, if the text fits.
    """
    if len(text) * 4 <= limit:
        return [text]
    data = text.encode()
    pieces: list[str] = []
    start = 0
    while len(data) - start > limit:
        end = start + limit
        while data[end] & 0xC0 == 0x80:  # a continuation byte: the character began before the cut
            end -= 1
        pieces.append(data[start:end].decode())
        start = end
    pieces.append(data[start:].decode())
    return pieces


class StreamPhase(Enum):
    """The phase of an outgoing stream. :data:`TRANSITIONS` has the steps between phases.

    Text is sent in OPEN only. In STARTING, DAMAGED and REPAIRING it waits in the buffer.
    """

    STARTING = auto()
    OPEN = auto()
    DAMAGED = auto()
    REPAIRING = auto()
    ENDING = auto()
    CLOSED = auto()
    DEAD = auto()


StreamTrigger: TypeAlias = Literal[
    "start accepted",
    "start refused",
    "append refused",
    "all answered",
    "repaired",
    "repaired with its end",
    "repair refused",
    "given up",
    "end sent",
    "end accepted",
]

TRANSITIONS: Final[Mapping[tuple[StreamPhase, StreamTrigger], StreamPhase]] = MappingProxyType(
    {
        (StreamPhase.STARTING, "start accepted"): StreamPhase.OPEN,
        (StreamPhase.STARTING, "start refused"): StreamPhase.DEAD,
        (StreamPhase.OPEN, "append refused"): StreamPhase.DAMAGED,
        (StreamPhase.OPEN, "end sent"): StreamPhase.ENDING,
        (StreamPhase.DAMAGED, "append refused"): StreamPhase.DAMAGED,
        (StreamPhase.DAMAGED, "all answered"): StreamPhase.REPAIRING,
        (StreamPhase.REPAIRING, "repair refused"): StreamPhase.REPAIRING,
        (StreamPhase.REPAIRING, "repaired"): StreamPhase.OPEN,
        (StreamPhase.REPAIRING, "repaired with its end"): StreamPhase.CLOSED,
        (StreamPhase.REPAIRING, "given up"): StreamPhase.DEAD,
        (StreamPhase.ENDING, "append refused"): StreamPhase.DAMAGED,
        (StreamPhase.ENDING, "end accepted"): StreamPhase.CLOSED,
    }
)
"""The life of an outgoing stream. Any other step is a ``KeyError``."""


@dataclass(frozen=True, slots=True)
class Ending:
    """The end that a stream was given.

    Attributes:
        status: The status of its last version.
        data: Text of the closing append.
        transport: Transport headers of the last version, status included.
        codec: Codec headers of the last version.
    """

    status: EndStatus
    data: str
    transport: dict[str, str]
    codec: dict[str, str]


def _ignore(_: object) -> None:
    """Do nothing: the default before the pipeline has the stream."""


@dataclass(slots=True, eq=False)
class OutgoingStream:
    """One outgoing streamed message.

    Attributes:
        stream_id: The stream's id, in the codec's terms.
        transport: Transport headers that every append repeats.
        codec: Codec headers that every append repeats.
        sent: All text handed to the channel, accepted or not. A repair needs the whole text.
        phase: Its phase.
        serial: Serial of the message; empty until the start is acked.
        extras: Extras of its appends, one object for all of them unless a message hook may change them.
        buffer: Text that waits for room.
        buffered: Size of the buffer, in bytes of UTF-8.
        half: The half of a character that the last text ended with; the next text may complete it.
        queued: Whether it stands in line for room.
        in_flight: How many of its appends are unacked.
        ending: The end that it was given; None while it goes on.
        end_sent: Whether the closing append was sent. A repair then carries the end.
        attempts: Updates refused since the stream was last whole.
        error: The first refusal since it was last whole.
        reported: Whether a caller was told that it is dead.
        due: When its next append may be sent.
        timer: Sends its waiting text when it is due.
        acknowledged: Called with the ack of each of its appends.
    """

    stream_id: str
    transport: dict[str, str]
    codec: dict[str, str]
    sent: list[str]
    phase: StreamPhase = StreamPhase.STARTING
    serial: str = ""
    extras: dict[str, object] = field(default_factory=dict[str, object])
    buffer: deque[str] = field(default_factory=deque[str])
    buffered: int = 0
    half: str = ""
    queued: bool = False
    in_flight: int = 0
    ending: Ending | None = None
    end_sent: bool = False
    attempts: int = 0
    error: BaseException | None = None
    reported: bool = False
    due: float = 0.0
    timer: Timer | None = None
    acknowledged: Callable[[Ack[str | None]], object] = _ignore

    def move(self, trigger: StreamTrigger) -> None:
        """Move to the next phase."""
        self.phase = TRANSITIONS[self.phase, trigger]

    @property
    def log_keys(self) -> dict[str, str | None]:
        """The keys of its log records."""
        return {
            "serial": self.serial or None,
            "run": self.transport.get(names.RUN_ID),
            "step": self.transport.get(names.STEP_ID),
        }

    @property
    def over(self) -> bool:
        """Whether the stream is closed or dead."""
        return self.phase is StreamPhase.CLOSED or self.phase is StreamPhase.DEAD

    @property
    def has_text(self) -> bool:
        """Whether any text was written to it."""
        return bool(self.buffer or self.half) or any(self.sent)

    @property
    def idle(self) -> bool:
        """Whether none of its text is unacked or buffered."""
        if self.phase is StreamPhase.OPEN:
            return not (self.in_flight or self.buffer or self.ending)
        return self.over

    def take(self, text: str, *, last: bool = False) -> str:
        """Return the text to send for a piece of text: whole characters, with the half that was held.

        Args:
            text: The piece.
            last: Whether the stream ends with it. Half a character at its end is U+FFFD then.
        """
        if self.half:
            text, self.half = self.half + text, ""
        if text.isascii():
            return text
        if last:
            return well_formed(text)
        text, self.half = whole_characters(text)
        return text

    def take_buffer(self) -> str:
        """Empty the buffer and return its text."""
        text = "".join(self.buffer)
        self.buffer.clear()
        self.buffered = 0
        return text


def failure_of(ack: Ack[T], action: str) -> BaseException | None:
    """Return why a write failed; None if the channel accepted it.

    Args:
        ack: The ack of the write; it is done.
        action: The operation, for the error's message.
    """
    if ack.cancelled():
        return AITransportError(
            f"unable to {action}; the channel dropped the message", ErrorCode.INTERNAL_ERROR
        )
    return ack.exception()


class AppendPipeline:
    """Sends the text of streams in order, and repairs refused appends.

    No method but :meth:`until` waits. Later steps run when an ack arrives, so a cancelled caller leaves
    nothing half done.
    """

    def __init__(self, writer: ChannelWriter, options: EncoderOptions) -> None:
        self.streams: dict[str, OutgoingStream] = {}
        self.stats = EncoderStats()
        self.has_gaps = False
        """Whether the channel accepted text of a stream after it refused earlier text of it."""
        self._writer = writer
        self._on_message = options.on_message
        self._window = options.append_window
        self._merge = options.merge_appends
        self._max_size = options.max_append_size
        self._scheduler = options.scheduler if options.append_interval > 0 and options.merge_appends else None
        self._interval = options.append_interval
        self._clock = options.scheduler
        self._in_flight = 0
        self._queue: deque[OutgoingStream] = deque()
        self._waiters: set[anyio.Event] = set()

    # For the encoder

    def hook(self, message: OutboundMessage) -> OutboundMessage:
        """Call the message hook. An exception in it is logged; the message is sent as the hook left it."""
        if self._on_message is not None:
            try:
                self._on_message(message)
            except Exception:  # a user's code
                logger.exception("message hook raised; the message is sent as the hook left it")
        return message

    def add(self, stream: OutgoingStream) -> None:
        """Add a stream whose start was just published."""
        stream.acknowledged = partial(self._acknowledged, stream)
        if self._on_message is None:
            stream.extras = ai_extras(stream.transport, stream.codec)
        self.streams[stream.stream_id] = stream
        if stream.sent[0] and self._clock is not None and self.stats.first_text_at is None:
            self.stats.first_text_at = self._clock.time()

    def started(self, stream: OutgoingStream, serial: str) -> None:
        """Open a stream whose start was acked, and send the text written meanwhile."""
        stream.serial = serial
        stream.move("start accepted")
        self._resume(stream)
        self.wake()

    def refused(self, stream: OutgoingStream, error: BaseException) -> None:
        """Drop a stream whose start was refused."""
        stream.error = error
        stream.move("start refused")
        ending = stream.ending
        if not stream.buffer and (ending is None or ending.status == "cancelled"):
            self.forget(stream)  # only the start is lost, and its caller is told
        stream.take_buffer()
        self.wake()

    def write(self, stream: OutgoingStream, text: str) -> bool:
        """Send text as soon as there is room.

        Returns:
            Whether the writer may go on. If not, it waits for :meth:`has_room`.
        """
        self.stats.deltas += 1
        if (
            self._in_flight < self._window
            and stream.phase is StreamPhase.OPEN
            and not stream.buffer
            and len(text) * 4 <= self._max_size
            and (self._scheduler is None or stream.due <= self._scheduler.time())
        ):
            self._send(stream, text)
            return True
        self._hold(stream, text)
        if stream.phase is StreamPhase.OPEN:
            self._enqueue(stream)
            self._pump()
        return self.has_room(stream)

    def has_room(self, stream: OutgoingStream) -> bool:
        """Whether a stream takes more text."""
        return stream.buffered <= MAX_BUFFER if self._merge else not stream.buffer

    def end(self, stream: OutgoingStream, ending: Ending) -> None:
        """End a stream after all its text is accepted.

        Followers ignore text after the end of a stream. So the closing append waits for the acks of the
        appends before it, and for the repair of refused ones.
        """
        *pieces, last = split_text(ending.data, self._max_size)
        for piece in pieces:
            self._hold(stream, piece)
        stream.ending = Ending(ending.status, last, ending.transport, ending.codec)
        if stream.phase is StreamPhase.OPEN:
            self._resume(stream)

    def send_waiting(self) -> None:
        """Send all text that waits for room, so that the next publish comes after it."""
        for stream in [one for one in self.streams.values() if one.timer is not None]:
            self._hurry(stream)
        while self._queue:
            stream = self._queue.popleft()
            stream.queued = False
            while stream.buffer and stream.phase is StreamPhase.OPEN:
                self._send_next(stream)

    def forget(self, stream: OutgoingStream) -> None:
        """Free the stream's id for another stream."""
        if self.streams.get(stream.stream_id) is stream:
            del self.streams[stream.stream_id]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition. Acks change it, and wake the waiters."""
        while not condition():
            waiter = anyio.Event()
            self._waiters.add(waiter)
            try:
                await waiter.wait()
            finally:
                self._waiters.discard(waiter)

    def wake(self) -> None:
        """Wake the waiters: each checks its condition again."""
        for waiter in self._waiters:
            waiter.set()

    # Sending

    def _hold(self, stream: OutgoingStream, text: str) -> None:
        for piece in split_text(text, self._max_size):
            stream.buffer.append(piece)
            stream.buffered += utf8_size(piece)

    def _enqueue(self, stream: OutgoingStream) -> None:
        """Let a stream stand in line for room; where its next append is not due yet, from then on."""
        if stream.queued or stream.timer is not None:
            return
        if self._scheduler is not None and stream.ending is None:
            wait = stream.due - self._scheduler.time()
            if wait > 0:
                stream.timer = self._scheduler.call_later(wait, partial(self._on_due, stream))
                return
        stream.queued = True
        self._queue.append(stream)

    def _on_due(self, stream: OutgoingStream) -> None:
        self._hurry(stream)
        self._pump()
        if self._waiters:
            self.wake()

    def _hurry(self, stream: OutgoingStream) -> None:
        """Let a stream stand in line now."""
        if stream.timer is not None:
            stream.timer.cancel()
            stream.timer = None
        stream.due = 0.0
        if stream.buffer and stream.phase is StreamPhase.OPEN:
            self._enqueue(stream)

    def _pump(self) -> None:
        """Fill the window, one append per stream in turn."""
        queue = self._queue
        while queue and self._in_flight < self._window:
            stream = queue.popleft()
            stream.queued = False
            if stream.phase is StreamPhase.OPEN and stream.buffer:
                self._send_next(stream)
                if stream.buffer:
                    self._enqueue(stream)

    def _send_next(self, stream: OutgoingStream) -> None:
        """Send one append: the first piece in the buffer, merged with as many more as fit."""
        buffer = stream.buffer
        text = buffer.popleft()
        size = utf8_size(text)
        if self._merge and buffer:
            parts = [text]
            while buffer:
                more = utf8_size(buffer[0])
                if size + more > self._max_size:
                    break
                size += more
                parts.append(buffer.popleft())
            text = "".join(parts)
            self.stats.merged += len(parts) - 1
        stream.buffered -= size
        self._send(stream, text)

    def _send(self, stream: OutgoingStream, text: str) -> None:
        stream.sent.append(text)
        if self._scheduler is not None:
            stream.due = self._scheduler.time() + self._interval
        if self._on_message is None:
            message = OutboundMessage(None, text, stream.extras, stream.serial)
        else:
            extras = ai_extras(stream.transport, stream.codec)
            message = self.hook(OutboundMessage(None, text, extras, stream.serial))
        self._append(stream, message)

    def _append(self, stream: OutgoingStream, message: OutboundMessage) -> None:
        stats = self.stats
        stats.appends += 1
        if self._clock is not None and stats.first_text_at is None and message.data:
            stats.first_text_at = self._clock.time()
        try:
            ack = self._writer.append(message)
        except Exception as error:  # noqa: BLE001 - a channel that raises has refused
            self._append_refused(stream, error)
            self._advance(stream)
            return
        stream.in_flight += 1
        self._in_flight = in_flight = self._in_flight + 1
        if in_flight > stats.max_in_flight:
            stats.max_in_flight = in_flight
        ack.add_done_callback(stream.acknowledged)

    # Acks

    def _acknowledged(self, stream: OutgoingStream, ack: Ack[str | None]) -> None:
        stream.in_flight -= 1
        self._in_flight -= 1
        error = failure_of(ack, "append")
        if error is not None:
            self._append_refused(stream, error)
        elif stream.phase is StreamPhase.DAMAGED:
            self.has_gaps = True
        if not stream.in_flight:
            self._advance(stream)
        if self._queue:
            self._pump()
        if self._waiters:
            self.wake()

    def _append_refused(self, stream: OutgoingStream, error: BaseException) -> None:
        logger.debug("append to stream %r was refused: %s", stream.stream_id, error, extra=stream.log_keys)
        self.stats.refused += 1
        stream.error = stream.error or error
        stream.move("append refused")

    def _advance(self, stream: OutgoingStream) -> None:
        """Take the step that had to wait for the acks of all appends."""
        if stream.in_flight:
            return
        match stream.phase:
            case StreamPhase.DAMAGED:
                stream.move("all answered")
                self._repair(stream)
            case StreamPhase.OPEN if stream.ending is not None and not stream.buffer:
                self._send_end(stream, stream.ending)
            case StreamPhase.ENDING:
                stream.move("end accepted")
                self.forget(stream)
            case _:
                pass

    def _send_end(self, stream: OutgoingStream, ending: Ending) -> None:
        stream.move("end sent")
        stream.end_sent = True
        stream.sent.append(ending.data)
        extras = ai_extras(ending.transport, ending.codec)
        self._append(stream, self.hook(OutboundMessage(None, ending.data, extras, stream.serial)))

    # Repair

    def _repair(self, stream: OutgoingStream) -> None:
        """Send the whole text as an update.

        The update carries the end only if the closing append itself was refused. Otherwise the closing
        append follows: a follower that ignores rewritten text still sees the stream end.
        """
        text = "".join(stream.sent) + stream.take_buffer()
        stream.sent = [text]
        end = stream.ending if stream.end_sent else None
        extras = ai_extras(end.transport, end.codec) if end else ai_extras(stream.transport, stream.codec)
        message = self.hook(OutboundMessage(None, text, extras, stream.serial))
        logger.debug(
            "repairing stream %r by an update of %d characters",
            stream.stream_id,
            len(text),
            extra=stream.log_keys,
        )
        try:
            ack = self._writer.update(message)
        except Exception as refused:  # noqa: BLE001 - a channel that raises has refused
            self._repair_done(stream, refused)
            return
        ack.add_done_callback(partial(self._repaired, stream))

    def _repaired(self, stream: OutgoingStream, ack: Ack[str | None]) -> None:
        self._repair_done(stream, failure_of(ack, "repair"))

    def _repair_done(self, stream: OutgoingStream, error: BaseException | None) -> None:
        if error is None:
            logger.debug("stream %r was repaired", stream.stream_id, extra=stream.log_keys)
            self.stats.recovered += 1
            stream.attempts = 0
            stream.error = None
            if stream.end_sent:
                stream.move("repaired with its end")
                self.forget(stream)
            else:
                stream.move("repaired")
                self._resume(stream)
        else:
            stream.attempts += 1
            if stream.attempts < REPAIR_ATTEMPTS:
                stream.move("repair refused")
                self._repair(stream)
            else:
                logger.warning(
                    "stream %r could not be repaired: %s", stream.stream_id, error, extra=stream.log_keys
                )
                stream.move("given up")
                stream.take_buffer()
        self.wake()

    def _resume(self, stream: OutgoingStream) -> None:
        """Send the text, or the end, that had to wait."""
        if stream.ending is not None:
            self._hurry(stream)
        if stream.buffer:
            self._enqueue(stream)
            self._pump()
        self._advance(stream)

    # Failures

    def failure(self, streams: list[OutgoingStream], action: str) -> AITransportError:
        """Build the error for dead streams, and mark them as reported."""
        for stream in streams:
            stream.reported = True
        ids = ", ".join(repr(stream.stream_id) for stream in streams)
        return error_of(
            f"unable to {action}; refused text could not be sent again for {ids}",
            ErrorCode.ENCODER_RECOVERY_FAILED,
            cause=streams[0].error,
        )
