"""Encoder core: writes a codec's payloads to a channel, discrete or streamed."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ably_ai_transport.codec.contract import Ack, ChannelWriter, EncoderOptions, Payload, WriteOptions
from ably_ai_transport.codec.encoder_pipeline import AppendPipeline, failure_of, logger
from ably_ai_transport.codec.encoder_stream import (
    EncoderStats,
    Ending,
    EndStatus,
    OutgoingStream,
    StreamPhase,
)
from ably_ai_transport.codec.encoder_text import check_text
from ably_ai_transport.wire import AITransportError, ErrorCode, OutboundMessage, names

__all__ = ["EncoderCore", "EncoderStats"]

_DEFAULTS = WriteOptions()
_MIN_APPEND_SIZE = 4
"""Bytes of the longest character in UTF-8."""


class EncoderCore:
    """The operations that a codec's encoder is made of.

    A stream is one message that grows: started, appended to, closed. Appends are pipelined; what the
    channel refuses is repaired behind the scenes by an update with the whole text. Text counts as written
    from the call on: a call that is cancelled while it waits has written its text all the same.

    Args:
        writer: The channel.
        options: Defaults of every message, the message hook, and the size of the append window.

    Raises:
        AITransportError: The options leave no room to append anything (40003).
    """

    def __init__(self, writer: ChannelWriter, options: EncoderOptions | None = None) -> None:
        options = options or EncoderOptions()
        if options.append_window < 1 or options.max_append_size < _MIN_APPEND_SIZE:
            raise AITransportError(
                "unable to create encoder; append_window must be at least 1 and max_append_size at least 4",
                ErrorCode.INVALID_ARGUMENT,
            )
        self._writer = writer
        self._options = options
        self._pipeline = AppendPipeline(writer, options)
        self._streams = self._pipeline.streams
        self._publishing = 0
        self._is_closed = False

    @property
    def stats(self) -> EncoderStats:
        """What the encoder has done so far, as a copy."""
        return replace(self._pipeline.stats)

    @property
    def has_gaps(self) -> bool:
        """Whether followers that cannot take a rewritten text may have one with a hole."""
        return self._pipeline.has_gaps

    # Discrete messages

    async def publish_discrete(self, payload: Payload, options: WriteOptions | None = None) -> str | None:
        """Publish one message that does not grow.

        Returns:
            Its serial, where the channel told it.

        Raises:
            AITransportError: The encoder is closed (104004), or the channel refused the message.
        """
        self._check_open()
        serials = await self._publish([self._discrete(payload, options or _DEFAULTS)])
        return serials[0] if serials else None

    async def publish_discrete_batch(
        self, payloads: Sequence[Payload], options: WriteOptions | None = None
    ) -> list[str | None]:
        """Publish several messages atomically, each marked as a part of a batch.

        Returns:
            Their serials.

        Raises:
            AITransportError: The encoder is closed (104004), or the channel refused the messages.
        """
        self._check_open()
        if not payloads:
            return []
        return await self._publish(
            [self._discrete(payload, options or _DEFAULTS, part=True) for payload in payloads]
        )

    # Streams

    async def start_stream(
        self, stream_id: str, payload: Payload, options: WriteOptions | None = None
    ) -> None:
        """Publish the message that a stream grows from.

        Args:
            stream_id: The stream's id; free again once the stream has ended.
            payload: Name and headers, which all appends repeat, and the first text, often none.
            options: What this stream adds to the encoder's defaults.

        Raises:
            AITransportError: The stream is open already or its text is no text (40003), the channel refused
                it or told no serial (50000), or the encoder is closed (104004).
        """
        self._check_open()
        earlier = self._streams.get(stream_id)
        if earlier is not None:
            if earlier.phase is not StreamPhase.DEAD:
                raise AITransportError(
                    f"unable to start stream; stream '{stream_id}' is open", ErrorCode.INVALID_ARGUMENT
                )
            if not earlier.reported:
                raise self._pipeline.failure([earlier], "start stream")
        text = check_text(payload.data, "start stream")
        transport = self._transport(payload, options or _DEFAULTS)
        transport[names.STREAM] = "true"
        transport[names.STATUS] = "streaming"
        transport[names.STREAM_ID] = stream_id
        codec = dict(payload.codec_headers)
        # Appends repeat these very headers: what a hook stamps on the start stays on the message.
        message = OutboundMessage(payload.name, text, _extras(transport, codec))
        self._pipeline.hook(message)
        stream = OutgoingStream(stream_id, transport, codec, [text])
        self._pipeline.add(stream)
        future = self._enqueue([message])
        future.add_done_callback(partial(self._started, stream))
        await self._answer(future)
        if stream.error is not None:
            raise stream.error

    async def append_stream(self, stream_id: str, text: str) -> None:
        """Append text to a stream. Returns as soon as the text is on its way, or waits for room.

        Args:
            stream_id: An open stream.
            text: The text; it may go out together with other text of the stream.

        Raises:
            AITransportError: There is no such stream or the text is no text (40003), an earlier append was
                refused beyond repair (104000), or the encoder is closed (104004).
        """
        full = self.write_stream(stream_id, text)
        if full is not None:
            await self.wait_for_room(full)

    def write_stream(self, stream_id: str, text: str) -> OutgoingStream | None:
        """Append text to a stream without waiting for room.

        Args:
            stream_id: An open stream.
            text: The text.

        Returns:
            None where the writer may go on; else what to hand to :meth:`wait_for_room` before that.

        Raises:
            AITransportError: As :meth:`append_stream`.
        """
        stream = self._open_stream(stream_id, "append")
        return None if self._pipeline.write(stream, check_text(text, "append")) else stream

    async def wait_for_room(self, stream: OutgoingStream) -> None:
        """Wait until a stream takes more text.

        Args:
            stream: What :meth:`write_stream` returned.

        Raises:
            AITransportError: What was written was refused beyond repair (104000).
        """
        pipeline = self._pipeline
        await pipeline.until(lambda: pipeline.has_room(stream))
        if stream.phase is StreamPhase.DEAD:
            raise pipeline.failure([stream], "append")

    async def close_stream(self, stream_id: str, payload: Payload) -> None:
        """Close a stream as complete and wait until all of it is on the channel.

        Args:
            stream_id: An open stream.
            payload: Last text, often none, and headers that the closing version adds to those of the start.

        Raises:
            AITransportError: There is no such stream or the text is no text (40003), what was refused could
                not be repaired (104000), or the encoder is closed (104004).
        """
        stream = self._open_stream(stream_id, "close stream")
        text = check_text(payload.data, "close stream")
        self._pipeline.end(stream, self._ending(stream, "complete", payload, _DEFAULTS, text))
        await self._pipeline.until(lambda: stream.over)
        if stream.phase is StreamPhase.DEAD:
            raise self._pipeline.failure([stream], "close stream")

    async def cancel_all_streams(self, options: WriteOptions | None = None) -> None:
        """Close all open streams as cancelled and wait until everything written is acknowledged.

        Raises:
            AITransportError: A refused append could not be repaired (104000), or the encoder is closed
                (104004).
        """
        self._check_open()
        nothing = Payload("")
        for stream in list(self._streams.values()):
            if stream.ending is None and not stream.over:
                ending = self._ending(stream, "cancelled", nothing, options or _DEFAULTS, "")
                self._pipeline.end(stream, ending)
        await self._flush("cancel streams")

    async def flush(self) -> None:
        """Wait until everything written is acknowledged or repaired.

        Raises:
            AITransportError: A refused append could not be repaired (104000). Each stream is told of once.
        """
        await self._flush("flush")

    async def close(self) -> None:
        """Refuse further writes, and flush. Open streams stay open on the channel.

        Raises:
            AITransportError: A refused append could not be repaired (104000).
        """
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

    async def _publish(self, messages: list[OutboundMessage]) -> list[str | None]:
        for message in messages:
            self._pipeline.hook(message)
        future = self._enqueue(messages)
        await self._answer(future)
        error = failure_of(future)
        if error is None:
            return future.result()
        if isinstance(error, asyncio.CancelledError):
            raise _dropped("publish") from error
        raise error

    def _enqueue(self, messages: list[OutboundMessage]) -> Ack[list[str | None]]:
        """Put messages behind all text that was written before them."""
        self._pipeline.send_waiting()
        try:
            future = self._writer.publish(messages)
        except Exception as error:  # noqa: BLE001 - raised where the answer is awaited
            refused = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            future = refused
        self._publishing += 1
        future.add_done_callback(self._published)
        return future

    def _published(self, _: Ack[list[str | None]]) -> None:
        self._publishing -= 1
        self._pipeline.wake()

    async def _answer(self, future: Ack[list[str | None]]) -> None:
        """Wait for an answer. A caller that is cancelled does not take the message back."""
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake(_: object) -> None:
            if not answered.done():
                answered.set_result(None)

        future.add_done_callback(wake)
        try:
            await answered
        except asyncio.CancelledError:
            future.add_done_callback(_log_abandoned)
            raise

    def _started(self, stream: OutgoingStream, future: Ack[list[str | None]]) -> None:
        error = failure_of(future)
        if error is None:
            serials = future.result()
            if serials and serials[0]:
                self._pipeline.started(stream, serials[0])
                return
            error = AITransportError(
                f"unable to start stream; no serial returned for stream '{stream.stream_id}'",
                ErrorCode.INTERNAL_ERROR,
            )
        elif isinstance(error, asyncio.CancelledError):
            error = _dropped("start stream")
        self._pipeline.refused(stream, error)

    # Streams and headers

    def _check_open(self) -> None:
        if self._is_closed:
            raise AITransportError(
                "unable to write; the encoder has been closed", ErrorCode.SESSION_CLOSED, 400
            )

    def _open_stream(self, stream_id: str, action: str) -> OutgoingStream:
        if self._is_closed:
            self._check_open()
        stream = self._streams.get(stream_id)
        if stream is not None and stream.phase is StreamPhase.DEAD:
            raise self._pipeline.failure([stream], action)
        if stream is None or stream.ending is not None:
            raise AITransportError(
                f"unable to {action}; no active stream '{stream_id}'", ErrorCode.INVALID_ARGUMENT
            )
        return stream

    def _transport(self, payload: Payload, options: WriteOptions) -> dict[str, str]:
        headers = {**self._options.headers, **options.headers, **payload.transport_headers}
        if options.message_id is not None:
            headers[names.CODEC_MESSAGE_ID] = options.message_id
        return headers

    def _discrete(self, payload: Payload, options: WriteOptions, *, part: bool = False) -> OutboundMessage:
        transport = self._transport(payload, options)
        transport[names.STREAM] = "false"
        if part:
            transport[names.DISCRETE] = "true"
        extras = _extras(transport, dict(payload.codec_headers))
        if payload.ephemeral:
            extras["ephemeral"] = True
        return OutboundMessage(payload.name, payload.data, extras)

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
        return Ending(status, text, transport, {**stream.codec, **payload.codec_headers})


def _extras(transport: dict[str, str], codec: dict[str, str]) -> dict[str, object]:
    """Build extras around the very dictionaries given."""
    return {"ai": {"transport": transport, "codec": codec} if codec else {"transport": transport}}


def _dropped(action: str) -> AITransportError:
    return AITransportError(f"unable to {action}; the channel dropped the message", ErrorCode.INTERNAL_ERROR)


def _log_abandoned(future: Ack[list[str | None]]) -> None:
    error = failure_of(future)
    if error is not None:
        logger.warning("a message whose publisher was cancelled meanwhile was refused: %s", error)
