"""Encoder core: writes a codec's payloads to a channel, discrete or streamed."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import anyio

from ably_ai_transport.codec.appends import (
    AppendPipeline,
    Ending,
    EndStatus,
    OutgoingStream,
    StreamPhase,
    check_text,
    failure_of,
    logger,
)
from ably_ai_transport.codec.contract import (
    Ack,
    ChannelWriter,
    EncoderOptions,
    EncoderStats,
    Payload,
    WriteOptions,
)
from ably_ai_transport.codec.text import carried, carried_headers, well_formed
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InvalidArgumentError,
    OutboundMessage,
    SessionClosedError,
    error_of,
    names,
)
from ably_ai_transport.wire.errors import MESSAGE_TOO_LARGE

_DEFAULTS: Final = WriteOptions()
_MIN_APPEND_SIZE: Final = 4
"""Bytes of the longest character in UTF-8."""
_OPEN_A_STORE: Final = "open the session with payloads=… to keep large values in a store"
_NOTHING_TO_STORE: Final = "no value of it can be moved to the payload store: publish less at once"


class EncoderCore:
    """Publishes discrete and streamed messages. Encoders of codecs are built on it.

    A stream is one message that grows: started, appended to, closed. Appends are pipelined. A refused append
    is repaired by an update with the whole text. A call has written its text even if it is cancelled while
    it waits.

    Args:
        writer: The channel.
        options: Defaults of every message, the message hook, and the size of the append window.

    Raises:
        InvalidArgumentError: ``append_window`` or ``max_append_size`` leaves no room for any append (40003).
    """

    def __init__(self, writer: ChannelWriter, options: EncoderOptions | None = None) -> None:
        options = options or EncoderOptions()
        _check_size("append_window", options.append_window, 1)
        _check_size("max_append_size", options.max_append_size, _MIN_APPEND_SIZE)
        self._writer = writer
        self._options = options
        self._pipeline = AppendPipeline(writer, options)
        self._streams = self._pipeline.streams
        self._ended: set[str] = set()
        self._publishing = 0
        self._is_closed = False

    @property
    def stats(self) -> EncoderStats:
        """The counters so far, as a copy. ``close`` logs them at debug level."""
        return replace(self._pipeline.stats)

    @property
    def has_gaps(self) -> bool:
        """Whether a follower that ignores rewritten text may have a text with a gap."""
        return self._pipeline.has_gaps

    # Discrete messages

    async def publish_discrete(self, payload: Payload, options: WriteOptions | None = None) -> str | None:
        """Publish one discrete message.

        Returns:
            Its serial, if the ack had one.

        Raises:
            SessionClosedError: The encoder is closed (104004).
            AITransportError: The channel refused the message.
        """
        self._check_open()
        serials = await self._publish([self._discrete(payload, options or _DEFAULTS)], [payload.storable])
        return serials[0] if serials else None

    async def publish_discrete_batch(
        self, payloads: Sequence[Payload], options: WriteOptions | None = None
    ) -> list[str | None]:
        """Publish several messages atomically, each marked as a part of a batch.

        Returns:
            Their serials.

        Raises:
            SessionClosedError: The encoder is closed (104004).
            AITransportError: The channel refused the messages.
        """
        self._check_open()
        if not payloads:
            return []
        return await self._publish(
            [self._discrete(payload, options or _DEFAULTS, part=True) for payload in payloads],
            [payload.storable for payload in payloads],
        )

    # Streams

    async def start_stream(
        self, stream_id: str, payload: Payload, options: WriteOptions | None = None
    ) -> None:
        """Publish the message that a stream appends to.

        Args:
            stream_id: The stream's id; free again once the stream has ended.
            payload: Name, headers that all appends repeat, and the first text, often none.
            options: Headers and message id on top of the encoder's defaults.

        Raises:
            InvalidArgumentError: The stream is open, or its text is not a string (40003).
            SessionClosedError: The encoder is closed (104004).
            AITransportError: The channel refused it, or its ack has no serial (50000).
        """
        self._check_open()
        earlier = self._streams.get(stream_id)
        if earlier is not None:
            if earlier.phase is not StreamPhase.DEAD:
                raise InvalidArgumentError(f"unable to start stream; stream '{stream_id}' is open")
            if not earlier.reported:
                raise self._pipeline.failure([earlier], "start stream")
        text = check_text(payload.data, "start stream")
        transport = self._transport(payload, options or _DEFAULTS)
        transport[names.STREAM] = "true"
        transport[names.STATUS] = "streaming"
        transport[names.STREAM_ID] = well_formed(stream_id)
        codec = carried_headers(payload.codec_headers)
        # Appends repeat these very objects: headers that a hook stamps on the start stay on the message.
        stream = OutgoingStream(stream_id, transport, codec, [])
        text = stream.take(text)
        stream.sent.append(text)
        message = OutboundMessage(payload.name, text, _extras(transport, codec))
        self._pipeline.hook(message)
        ack = self._enqueue([message])
        self._pipeline.add(stream)
        self._ended.discard(stream_id)
        ack.add_done_callback(partial(self._started, stream))
        await self._answer(ack)
        if stream.error is not None:
            raise stream.error

    async def append_stream(self, stream_id: str, text: str) -> None:
        """Append text to a stream. Waits only for room in the window, not for the ack.

        Args:
            stream_id: An open stream.
            text: The text; it may be merged with other text of the stream.

        Raises:
            InvalidArgumentError: There is no such stream, or the text is not a string (40003).
            SessionClosedError: The encoder is closed (104004).
            ChannelRefusedError: An earlier refused append could not be repaired (104000).
        """
        full = self.write_stream(stream_id, text)
        if full is not None:
            await self.wait_for_room(full)

    def write_stream(self, stream_id: str, text: str) -> OutgoingStream | None:
        """Append text to a stream without waiting for room.

        Half a character at the end of the text is sent with the next text.

        Args:
            stream_id: An open stream.
            text: The text.

        Returns:
            None if the writer may go on; otherwise the argument for :meth:`wait_for_room`.

        Raises:
            AITransportError: As :meth:`append_stream`.
        """
        stream = self._open_stream(stream_id, "append")
        text = stream.take(check_text(text, "append"))
        if not text and stream.half:
            return None
        return None if self._pipeline.write(stream, text) else stream

    async def wait_for_room(self, stream: OutgoingStream) -> None:
        """Wait until a stream takes more text.

        Args:
            stream: The result of :meth:`write_stream`.

        Raises:
            ChannelRefusedError: A refused append could not be repaired (104000).
        """
        pipeline = self._pipeline
        await pipeline.until(lambda: pipeline.has_room(stream))
        if stream.phase is StreamPhase.DEAD:
            raise pipeline.failure([stream], "append")

    def has_text(self, stream_id: str) -> bool | None:
        """Whether any text was written to a stream; None if there is no open stream with this id."""
        stream = self._streams.get(stream_id)
        return None if stream is None or stream.ending is not None else stream.has_text

    def has_ended(self, stream_id: str) -> bool:
        """Whether the newest stream with this id was closed as complete."""
        return stream_id in self._ended

    async def close_stream(self, stream_id: str, payload: Payload) -> None:
        """Close a stream as complete, and wait for its acks and repairs.

        Args:
            stream_id: An open stream.
            payload: Last text, often none, and headers that the last version adds to those of the start.

        Raises:
            InvalidArgumentError: There is no such stream, or the text is not a string (40003).
            SessionClosedError: The encoder is closed (104004).
            ChannelRefusedError: A refused append could not be repaired (104000).
        """
        stream = self._open_stream(stream_id, "close stream")
        text = check_text(payload.data, "close stream")
        self._pipeline.end(stream, self._ending(stream, "complete", payload, _DEFAULTS, text))
        self._ended.add(stream_id)
        await self._pipeline.until(lambda: stream.over)
        if stream.phase is StreamPhase.DEAD:
            raise self._pipeline.failure([stream], "close stream")

    async def cancel_all_streams(self, options: WriteOptions | None = None) -> None:
        """Close all open streams as cancelled, and wait for all acks and repairs.

        Raises:
            SessionClosedError: The encoder is closed (104004).
            ChannelRefusedError: A refused append could not be repaired (104000).
        """
        self._check_open()
        nothing = Payload("")
        for stream in list(self._streams.values()):
            if stream.ending is None and not stream.over:
                ending = self._ending(stream, "cancelled", nothing, options or _DEFAULTS, "")
                self._pipeline.end(stream, ending)
        await self._flush("cancel streams")

    async def flush(self) -> None:
        """Wait for all acks and repairs.

        Raises:
            ChannelRefusedError: A refused append could not be repaired (104000). Reported once per stream.
        """
        await self._flush("flush")

    async def close(self) -> None:
        """Refuse further writes, and flush. Open streams stay open on the channel.

        Raises:
            ChannelRefusedError: A refused append could not be repaired (104000).
        """
        if not self._is_closed and logger.isEnabledFor(logging.DEBUG):
            headers = self._options.headers
            keys = {"run": headers.get(names.RUN_ID), "step": headers.get(names.STEP_ID)}
            logger.debug("encoder closed: %s", self.stats, extra=keys)
        self._is_closed = True
        await self._flush("close encoder")

    async def _flush(self, action: str) -> None:
        await self._pipeline.until(self._is_idle)
        lost = [s for s in self._streams.values() if s.phase is StreamPhase.DEAD and not s.reported]
        if lost:
            raise self._pipeline.failure(lost, action)

    def _is_idle(self) -> bool:
        return not self._publishing and all(stream.idle for stream in self._streams.values())

    # Publishing

    async def _publish(
        self, messages: list[OutboundMessage], storable: Sequence[Sequence[str]]
    ) -> list[str | None]:
        for message in messages:
            self._pipeline.hook(message)
        payloads, values = self._options.payloads, None
        while True:
            try:
                return await self._put(messages)
            except AITransportError as error:
                if error.code != MESSAGE_TOO_LARGE:
                    raise
                if payloads is None:
                    if any(storable):
                        raise _with_advice(error, _OPEN_A_STORE) from error
                    raise
                if values is None:
                    values = payloads.storable(messages, storable)
                if not values:
                    raise _with_advice(error, _NOTHING_TO_STORE) from error
            await payloads.move_out(values.pop())

    async def _put(self, messages: list[OutboundMessage]) -> list[str | None]:
        ack = self._enqueue(messages)
        await self._answer(ack)
        error = failure_of(ack, "publish")
        if error is not None:
            raise error
        return ack.result()

    def _enqueue(self, messages: list[OutboundMessage]) -> Ack[list[str | None]]:
        """Publish behind all text that was written before."""
        self._pipeline.send_waiting()
        ack = self._writer.publish(messages)
        self._publishing += 1
        ack.add_done_callback(self._published)
        return ack

    def _published(self, _: Ack[list[str | None]]) -> None:
        self._publishing -= 1
        self._pipeline.wake()

    async def _answer(self, ack: Ack[list[str | None]]) -> None:
        """Wait for an ack. Cancelling the caller does not take the message back."""
        # Not until(ack.done): the callbacks of an ack that is done may still have to run.
        answered = anyio.Event()
        ack.add_done_callback(lambda _: answered.set())
        try:
            await answered.wait()
        except BaseException:  # a cancelled caller leaves an ack that nothing else reads
            ack.add_done_callback(_log_abandoned)
            raise

    def _started(self, stream: OutgoingStream, ack: Ack[list[str | None]]) -> None:
        error = failure_of(ack, "start stream")
        if error is None:
            serials = ack.result()
            if serials and serials[0]:
                self._pipeline.started(stream, serials[0])
                return
            error = AITransportError(
                f"unable to start stream; no serial returned for stream '{stream.stream_id}'",
                ErrorCode.INTERNAL_ERROR,
            )
        self._pipeline.refused(stream, error)

    # Streams and headers

    def _check_open(self) -> None:
        if self._is_closed:
            raise SessionClosedError("unable to write; the encoder has been closed")

    def _open_stream(self, stream_id: str, action: str) -> OutgoingStream:
        if self._is_closed:
            self._check_open()
        stream = self._streams.get(stream_id)
        if stream is not None and stream.phase is StreamPhase.DEAD:
            raise self._pipeline.failure([stream], action)
        if stream is None or stream.ending is not None:
            raise InvalidArgumentError(f"unable to {action}; no active stream '{stream_id}'")
        return stream

    def _transport(self, payload: Payload, options: WriteOptions) -> dict[str, str]:
        headers = {**self._options.headers, **options.headers, **payload.transport_headers}
        if options.message_id is not None:
            headers[names.CODEC_MESSAGE_ID] = options.message_id
        return carried_headers(headers)

    def _discrete(self, payload: Payload, options: WriteOptions, *, part: bool = False) -> OutboundMessage:
        transport = self._transport(payload, options)
        transport[names.STREAM] = "false"
        if part:
            transport[names.DISCRETE] = "true"
        extras = _extras(transport, carried_headers(payload.codec_headers))
        if payload.ephemeral:
            extras["ephemeral"] = True
        return OutboundMessage(payload.name, carried(payload.data), extras)

    def _ending(
        self, stream: OutgoingStream, status: EndStatus, payload: Payload, options: WriteOptions, text: str
    ) -> Ending:
        transport = {
            **stream.transport,
            **self._options.headers,
            **options.headers,
            **payload.transport_headers,
            names.STATUS: status,
        }
        text = stream.take(text, last=True)
        codec = carried_headers({**stream.codec, **payload.codec_headers})
        return Ending(status, text, carried_headers(transport), codec)


def _extras(transport: dict[str, str], codec: dict[str, str]) -> dict[str, object]:
    """Build extras around the very dictionaries given."""
    return {"ai": {"transport": transport, "codec": codec} if codec else {"transport": transport}}


def _with_advice(error: AITransportError, advice: str) -> AITransportError:
    return error_of(f"{error.message} ({advice})", error.code, error.status_code, error)


def _log_abandoned(ack: Ack[list[str | None]]) -> None:
    error = failure_of(ack, "publish")
    if error is not None:
        logger.warning("a message was refused after its publisher was cancelled: %s", error)


def _check_size(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgumentError(
            f"unable to create encoder; {name} is {value!r} (give a whole number, at least {least})"
        )
