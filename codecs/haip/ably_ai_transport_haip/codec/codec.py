"""HAIP events on a session's channel, for agents that speak HAIP."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

from ably_ai_transport.codec import (
    BatchRow,
    ChannelWriter,
    Data,
    DropRow,
    Encoder,
    EncoderOptions,
    EventRow,
    EventShape,
    InputRow,
    InputTableRow,
    JsonField,
    OutputRow,
    PartRow,
    Payload,
    Reducer,
    SignalRow,
    StreamRow,
    StrField,
    TableCodec,
    UserMessage,
    Values,
    WriteOptions,
)
from ably_ai_transport_haip.codec.messages import (
    HaipEntry,
    HaipInput,
    HaipProjection,
    HaipText,
    fold,
    messages_of,
)
from ably_ai_transport_haip.protocol import HaipEventType, HaipMessage, new_id

_MESSAGE_ID, _CALL_ID = StrField("message_id"), StrField("call_id")


class HaipEvents(EventShape[HaipMessage]):
    """Outputs are HAIP messages; their envelopes stay behind, since a session has its own."""

    discriminator = "type"

    def kind_of(self, event: HaipMessage) -> str | None:
        """Return the type of a message."""
        return event.type.value if isinstance(event, HaipMessage) else None  # pyright: ignore[reportUnnecessaryIsInstance]

    def values_of(self, event: HaipMessage) -> Values:
        """Return the payload of a message."""
        return event.payload

    def build(self, kind: str, values: dict[str, object]) -> HaipMessage:
        """Return a message without an envelope."""
        return HaipMessage(HaipEventType(kind), values)


def _mapping(data: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", data) if isinstance(data, dict) else {}


def _all_but(*names: str) -> Data:
    """Return how the rest of a payload travels."""
    return Data(lambda values: {name: value for name, value in values.items() if name not in names}, _mapping)


def _always(_: Values) -> bool:
    return True


OUTPUTS: Final[tuple[OutputRow, ...]] = (
    StreamRow(
        "text",
        start="MESSAGE_START",
        delta="MESSAGE_PART",
        end="MESSAGE_END",
        text="text",
        stream_id="message_id",
        fields=(_MESSAGE_ID, StrField("author"), StrField("tokens")),
        delta_keys=("message_id",),
    ),
    EventRow("TOOL_CALL", fields=(_CALL_ID, StrField("tool")), data=_all_but("call_id", "tool")),
    EventRow("TOOL_UPDATE", fields=(_CALL_ID,), data=_all_but("call_id"), ephemeral=_always),
    EventRow("TOOL_DONE", fields=(_CALL_ID,), data=_all_but("call_id")),
    EventRow("TOOL_CANCEL", fields=(_CALL_ID, StrField("reason"))),
    EventRow("TOOL_LIST", fields=(JsonField("tools"),)),
    EventRow("TOOL_SCHEMA", fields=(StrField("tool"),), data=_all_but("tool")),
    EventRow(
        "AUDIO_CHUNK",
        fields=(_MESSAGE_ID, StrField("mime")),
        data=_all_but("message_id", "mime"),
        ephemeral=_always,
    ),
    EventRow("ERROR", fields=(StrField("code"), StrField("message")), data=_all_but("code", "message")),
    # A session says these things itself.
    DropRow("RUN_STARTED"),
    DropRow("RUN_FINISHED"),
    DropRow("RUN_ERROR"),
)


def _explode(event: UserMessage[HaipEntry]) -> Iterable[Values]:
    for text in event.message.texts:
        values = {"type": "text", "message_id": text.message_id, "text": text.text}
        yield values if text.author is None else {**values, "author": text.author}


def _assemble(part: dict[str, object], _: Payload) -> UserMessage[HaipEntry]:
    author = part.get("author")
    text = HaipText(
        str(part.get("message_id") or ""),
        str(part["text"]),
        None if author is None else str(author),
        is_done=True,
    )
    return UserMessage(HaipEntry("user", (text,)))


INPUTS: Final[tuple[InputTableRow, ...]] = (
    SignalRow("regenerate"),
    InputRow("tool-result", fields=(_CALL_ID,), data=_all_but("call_id")),
    InputRow("tool-result-error", fields=(_CALL_ID,), data=_all_but("call_id")),
    BatchRow(
        "user-message",
        explode=_explode,
        assemble=_assemble,
        parts=(
            PartRow(
                "text",
                fields=(_MESSAGE_ID, StrField("author")),
                data=Data(
                    lambda part: part["text"], lambda data: {"text": data if isinstance(data, str) else ""}
                ),
            ),
        ),
    ),
)


class HaipCodec(TableCodec[HaipInput, HaipMessage, HaipProjection, HaipEntry]):
    """HAIP events as the vocabulary of a session.

    Agents pipe :class:`HaipMessage` objects, of which type and payload count; clients see
    :class:`HaipEntry` objects. Handshakes, heartbeats and credits are matters of a connection, and are
    refused (40003); what a session says of runs by itself is left out.

    Example:
        >>> HaipCodec().create_user_message(haip_user_message("hi")).kind
        'user-message'
    """

    def __init__(self) -> None:
        super().__init__(
            Reducer(dict, fold, messages_of),
            outputs=OUTPUTS,
            inputs=INPUTS,
            shape=HaipEvents(),
            adapter_tag="haip",
        )

    def create_encoder(
        self, writer: ChannelWriter, options: EncoderOptions | None = None
    ) -> Encoder[HaipInput, HaipMessage]:
        """Create an encoder that writes to a channel."""
        return _WholeTexts(super().create_encoder(writer, options))


class _WholeTexts(Encoder[HaipInput, HaipMessage]):
    """Takes apart what says a text and begins it at once: the start of a stream has no text."""

    def __init__(self, inner: Encoder[HaipInput, HaipMessage]) -> None:
        self._inner = inner

    @property
    def has_gaps(self) -> bool:
        """Whether text followed refused text."""
        return self._inner.has_gaps

    async def publish_input(self, event: HaipInput, options: WriteOptions | None = None) -> None:
        """Publish one input."""
        await self._inner.publish_input(event, options)

    async def publish_output(self, event: HaipMessage, options: WriteOptions | None = None) -> None:
        """Publish one output."""
        text = event.payload.get("text")
        if event.type is not HaipEventType.MESSAGE_START or not text:
            await self._inner.publish_output(event, options)
            return
        start = {name: value for name, value in event.payload.items() if name != "text"}
        part = {"message_id": start["message_id"], "text": text}
        await self._inner.publish_output(replace(event, payload=start), options)
        await self._inner.publish_output(HaipMessage(HaipEventType.MESSAGE_PART, part), options)

    async def cancel_streams(self) -> None:
        """Close all open streams as cancelled."""
        await self._inner.cancel_streams()

    async def flush(self) -> None:
        """Wait until everything written is acknowledged."""
        await self._inner.flush()

    async def close(self) -> None:
        """Flush and refuse further writes."""
        await self._inner.close()


def haip_user_message(text: str, *, message_id: str | None = None, author: str | None = None) -> HaipEntry:
    """Build what a person says.

    Args:
        text: The text.
        message_id: Its id, a UUID; made up where it is left out.
        author: Who says it.

    Returns:
        The entry, for :meth:`HaipCodec.create_user_message`.
    """
    return HaipEntry("user", (HaipText(message_id or new_id(), text, author, is_done=True),))
