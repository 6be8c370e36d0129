"""Appends on their way: a bounded window, text that waits for room, repair of what was refused.

A plain state machine, driven by its callers and by the channel's answers; it has no tasks of its own.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ably_ai_transport.codec.contract import Ack, ChannelWriter, EncoderOptions
from ably_ai_transport.codec.encoder_stream import EncoderStats, Ending, OutgoingStream, StreamPhase
from ably_ai_transport.codec.encoder_text import split_text, utf8_size
from ably_ai_transport.wire import AITransportError, ErrorCode, OutboundMessage
from ably_ai_transport.wire.messages import ai_extras

T = TypeVar("T")

MAX_BUFFER = 256 * 1024
"""How many bytes of a stream's text may wait for room before its writer waits too."""
REPAIR_ATTEMPTS = 2

logger = logging.getLogger("ably_ai_transport.codec")


def failure_of(future: Ack[T]) -> BaseException | None:
    """Return why a finished future failed; None when it did not."""
    return asyncio.CancelledError() if future.cancelled() else future.exception()


class AppendPipeline:
    """Sends the text of streams, in order, and repairs what the channel refused.

    Everything here happens at once: no method waits, and what has to happen later happens when an answer
    arrives. So a caller that is cancelled leaves nothing half done.
    """

    def __init__(self, writer: ChannelWriter, options: EncoderOptions) -> None:
        self.streams: dict[str, OutgoingStream] = {}
        self.stats = EncoderStats()
        self.has_gaps = False
        """Whether the channel took text of a stream after it had refused earlier text of it."""
        self._writer = writer
        self._on_message = options.on_message
        self._window = options.append_window
        self._merge = options.merge_appends
        self._max_size = options.max_append_size
        self._in_flight = 0
        self._queue: deque[OutgoingStream] = deque()
        self._waiters: set[asyncio.Future[None]] = set()

    # What callers do

    def hook(self, message: OutboundMessage) -> OutboundMessage:
        """Show a message to the message hook; a hook that raises is logged and changes nothing else."""
        if self._on_message is not None:
            try:
                self._on_message(message)
            except Exception:
                logger.exception("message hook raised; the message goes out as the hook left it")
        return message

    def submit(self, call: Callable[[OutboundMessage], Ack[T]], message: OutboundMessage) -> Ack[T]:
        """Hand a message to the channel; an error that it raises at once fails the future, too."""
        try:
            return call(message)
        except Exception as error:  # noqa: BLE001 - the future carries it to where failures are handled
            future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            future.set_exception(error)
            return future

    def add(self, stream: OutgoingStream) -> None:
        """Take in a stream whose start has just been published."""
        stream.acknowledged = partial(self._acknowledged, stream)
        if self._on_message is None:
            stream.extras = ai_extras(stream.transport, stream.codec)
        self.streams[stream.stream_id] = stream

    def started(self, stream: OutgoingStream, serial: str) -> None:
        """Learn a stream's serial; what was written meanwhile goes out."""
        stream.serial = serial
        stream.move("start accepted")
        self._resume(stream)
        self.wake()

    def refused(self, stream: OutgoingStream, error: BaseException) -> None:
        """Learn that a stream's start was refused."""
        stream.error = error
        stream.move("start refused")
        ending = stream.ending
        if not stream.buffer and (ending is None or ending.status == "cancelled"):
            self.forget(stream)  # nothing was lost with it but the start, whose caller is told
        stream.take_buffer()
        self.wake()

    def write(self, stream: OutgoingStream, text: str) -> bool:
        """Send text as soon as there is room.

        Returns:
            Whether the writer may go on; where not, it should wait for :meth:`has_room`.
        """
        self.stats.deltas += 1
        if (
            self._in_flight < self._window
            and stream.phase is StreamPhase.OPEN
            and not stream.buffer
            and len(text) * 4 <= self._max_size
        ):
            self._send(stream, text)
            return True
        self._hold(stream, text)
        if stream.phase is StreamPhase.OPEN:
            self._enqueue(stream)
            self._pump()
        return self.has_room(stream)

    def has_room(self, stream: OutgoingStream) -> bool:
        """Whether a stream's writer may hand in more text, or learn that it died."""
        return stream.buffered <= MAX_BUFFER if self._merge else not stream.buffer

    def end(self, stream: OutgoingStream, ending: Ending) -> None:
        """End a stream once all its text has been accepted.

        Followers read nothing of a stream after its end. So the closing append waits for the answers to
        the appends before it, and for their repair where they were refused.
        """
        *pieces, last = split_text(ending.data, self._max_size)
        for piece in pieces:
            self._hold(stream, piece)
        stream.ending = Ending(ending.status, last, ending.transport, ending.codec)
        if stream.phase is StreamPhase.OPEN:
            self._resume(stream)

    def send_waiting(self) -> None:
        """Send all text that waits for room, so that what is published next comes after it."""
        while self._queue:
            stream = self._queue.popleft()
            stream.queued = False
            if stream.phase is StreamPhase.OPEN:
                self._send_buffer(stream)

    def forget(self, stream: OutgoingStream) -> None:
        """Free the stream's id for another stream."""
        if self.streams.get(stream.stream_id) is stream:
            del self.streams[stream.stream_id]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds that answers from the channel bring about."""
        while not condition():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)

    def wake(self) -> None:
        """Let those who wait look at their condition again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    # Sending

    def _hold(self, stream: OutgoingStream, text: str) -> None:
        for piece in split_text(text, self._max_size):
            stream.buffer.append(piece)
            stream.buffered += utf8_size(piece)

    def _enqueue(self, stream: OutgoingStream) -> None:
        if not stream.queued:
            stream.queued = True
            self._queue.append(stream)

    def _pump(self) -> None:
        """Fill the window, one append a stream in turn."""
        queue = self._queue
        while queue and self._in_flight < self._window:
            stream = queue.popleft()
            stream.queued = False
            if stream.phase is StreamPhase.OPEN and stream.buffer:
                self._send_next(stream)
                if stream.buffer:
                    self._enqueue(stream)

    def _send_buffer(self, stream: OutgoingStream) -> None:
        while stream.buffer:
            self._send_next(stream)

    def _send_next(self, stream: OutgoingStream) -> None:
        """Send the first of the waiting text, with as much more of it as one append may carry."""
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
        if self._on_message is None:
            message = OutboundMessage(None, text, stream.extras, stream.serial)
        else:
            extras = ai_extras(stream.transport, stream.codec)
            message = self.hook(OutboundMessage(None, text, extras, stream.serial))
        self._append(stream, message)

    def _append(self, stream: OutgoingStream, message: OutboundMessage) -> None:
        future = self.submit(self._writer.append, message)
        stream.in_flight += 1
        self._in_flight = in_flight = self._in_flight + 1
        stats = self.stats
        stats.appends += 1
        if in_flight > stats.max_in_flight:
            stats.max_in_flight = in_flight
        future.add_done_callback(stream.acknowledged)

    # Answers

    def _acknowledged(self, stream: OutgoingStream, future: Ack[str | None]) -> None:
        stream.in_flight -= 1
        self._in_flight -= 1
        error = failure_of(future)
        if error is not None:
            logger.debug("append to stream %r was refused: %s", stream.stream_id, error)
            stream.error = stream.error or error
            stream.move("append refused")
        elif stream.phase is StreamPhase.DAMAGED:
            self.has_gaps = True
        if not stream.in_flight:
            self._advance(stream)
        if self._queue:
            self._pump()
        if self._waiters:
            self.wake()

    def _advance(self, stream: OutgoingStream) -> None:
        """Take the step that had to wait until nothing of the stream is unanswered."""
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

        It carries the end only where the closing append itself was refused. Otherwise the closing append
        follows: a follower that does not take in a rewritten text still sees the stream end.
        """
        text = "".join(stream.sent) + stream.take_buffer()
        stream.sent = [text]
        end = stream.ending if stream.end_sent else None
        extras = ai_extras(end.transport, end.codec) if end else ai_extras(stream.transport, stream.codec)
        message = self.hook(OutboundMessage(None, text, extras, stream.serial))
        self.submit(self._writer.update, message).add_done_callback(partial(self._repaired, stream))

    def _repaired(self, stream: OutgoingStream, future: Ack[str | None]) -> None:
        error = failure_of(future)
        if error is None:
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
                logger.warning("stream %r could not be repaired: %s", stream.stream_id, error)
                stream.move("given up")
                stream.take_buffer()
        self.wake()

    def _resume(self, stream: OutgoingStream) -> None:
        """Go on where text, or the end that has been asked for, had to wait."""
        if stream.buffer:
            self._enqueue(stream)
            self._pump()
        self._advance(stream)

    # Failures

    def failure(self, streams: list[OutgoingStream], action: str) -> AITransportError:
        """Build the error for streams that are dead, and note that it has been told."""
        for stream in streams:
            stream.reported = True
        ids = ", ".join(repr(stream.stream_id) for stream in streams)
        return AITransportError(
            f"unable to {action}; refused text could not be sent again for {ids}",
            ErrorCode.ENCODER_RECOVERY_FAILED,
            cause=streams[0].error,
        )
