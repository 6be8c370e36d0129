"""The codec of HAIP events."""

from collections.abc import Mapping
from dataclasses import replace

from ably_ai_transport.codec import (
    ChannelWriter,
    Encoder,
    EncoderOptions,
    EncoderStats,
    TableCodec,
    WriteOptions,
)
from ably_ai_transport_haip.codec.events import HaipEvents, HaipInput
from ably_ai_transport_haip.codec.inputs import INPUTS
from ably_ai_transport_haip.codec.outputs import OUTPUTS
from ably_ai_transport_haip.codec.projection import HaipEntry, HaipProjection
from ably_ai_transport_haip.codec.reducer import REDUCER
from ably_ai_transport_haip.codec.validation import check, check_event, check_user_message
from ably_ai_transport_haip.protocol import HaipEventType, HaipMessage


class HaipCodec(TableCodec[HaipInput, HaipMessage, HaipProjection, HaipEntry]):
    """HAIP events on a session's channel.

    Agents pipe :class:`HaipMessage` objects; only their type and payload travel. Clients see
    :class:`HaipEntry` objects. Events of a connection (handshakes, heartbeats, credits) are refused (40003).
    ``RUN_STARTED``, ``RUN_FINISHED`` and ``RUN_ERROR`` are dropped, because the session publishes the
    lifecycle of runs itself.

    Example:
        >>> HaipCodec().create_user_message(haip_user_message("hi")).kind
        'user-message'
    """

    def __init__(self) -> None:
        super().__init__(REDUCER, outputs=OUTPUTS, inputs=INPUTS, shape=HaipEvents(), adapter_tag="haip")

    def create_encoder(
        self, writer: ChannelWriter, options: EncoderOptions | None = None
    ) -> Encoder[HaipInput, HaipMessage]:
        """Create an encoder that writes to a channel."""
        return _WholeTexts(super().create_encoder(writer, options))

    def create_user_message(self, message: HaipEntry) -> HaipInput:
        """Wrap a user's message as an input.

        Args:
            message: The message; :func:`haip_user_message` builds one.

        Returns:
            The input.

        Raises:
            InvalidArgumentError: It is not a user's :class:`HaipEntry` with a text.
        """
        return super().create_user_message(check_user_message(message))

    def create_tool_result(self, codec_message_id: str, payload: Mapping[str, object]) -> HaipInput:
        """Build the input that answers a tool call.

        Args:
            codec_message_id: The agent's message with the call.
            payload: ``call_id`` and ``result``.

        Returns:
            The input, with a copy of the payload.

        Raises:
            InvalidArgumentError: ``call_id`` is missing; the message names the field.
        """
        return super().create_tool_result(codec_message_id, check("tool result", payload))

    def create_tool_result_error(self, codec_message_id: str, payload: Mapping[str, object]) -> HaipInput:
        """Build the input that reports the failure of a tool call.

        Args:
            codec_message_id: The agent's message with the call.
            payload: ``call_id`` and ``message``.

        Returns:
            The input, with a copy of the payload.

        Raises:
            InvalidArgumentError: ``call_id`` or ``message`` is missing; the message names the field.
        """
        return super().create_tool_result_error(codec_message_id, check("tool result error", payload))


class _WholeTexts(Encoder[HaipInput, HaipMessage]):
    """Splits a ``MESSAGE_START`` with text into a start and a part: the start of a stream has no text."""

    def __init__(self, inner: Encoder[HaipInput, HaipMessage]) -> None:
        self._inner = inner

    @property
    def stats(self) -> EncoderStats:
        """The counters so far."""
        return self._inner.stats

    @property
    def has_gaps(self) -> bool:
        """Whether text was published after text that was refused."""
        return self._inner.has_gaps

    async def publish_input(self, event: HaipInput, options: WriteOptions | None = None) -> None:
        """Publish one input."""
        await self._inner.publish_input(event, options)

    async def publish_output(self, event: HaipMessage, options: WriteOptions | None = None) -> None:
        """Publish one output."""
        check_event(event)
        if not _starts_with_text(event):
            await self._inner.publish_output(event, options)
            return
        start = {name: value for name, value in event.payload.items() if name != "text"}
        part = {"message_id": start.get("message_id"), "text": event.payload["text"]}
        await self._inner.publish_output(replace(event, payload=start), options)
        await self._inner.publish_output(HaipMessage(HaipEventType.MESSAGE_PART, part), options)

    async def cancel_streams(self) -> None:
        """Close all open streams as cancelled."""
        await self._inner.cancel_streams()

    async def flush(self) -> None:
        """Wait until every write is acked."""
        await self._inner.flush()

    async def close(self) -> None:
        """Flush, and refuse further writes."""
        await self._inner.close()


def _starts_with_text(event: HaipMessage) -> bool:
    return event.type is HaipEventType.MESSAGE_START and bool(event.payload.get("text"))
