"""What a codec is: a vocabulary of inputs, outputs and messages, and how they travel.

A codec turns what clients and agents say (*inputs* and *outputs*) into channel messages and back, and
folds those events into messages for people. Sessions know nothing of the vocabulary; codecs know
nothing of runs, trees or Ably.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeAlias, runtime_checkable

from typing_extensions import TypeVar

from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, OutboundMessage
from ably_ai_transport.wire.messages import Headers, no_headers

InT = TypeVar("InT")
"""A codec's input events: what clients publish."""
OutT = TypeVar("OutT")
"""A codec's output events: what agents publish."""
ProjT = TypeVar("ProjT")
"""A codec's projection: the state that events fold into."""
MsgT = TypeVar("MsgT")
"""A codec's message: what people see."""
InT_contra = TypeVar("InT_contra", contravariant=True)
OutT_contra = TypeVar("OutT_contra", contravariant=True)
InT_co = TypeVar("InT_co", covariant=True)
OutT_co = TypeVar("OutT_co", covariant=True)
MsgT_co = TypeVar("MsgT_co", covariant=True)
AckT_co = TypeVar("AckT_co", covariant=True)


class Ack(Protocol[AckT_co]):
    """The channel's ack of one write; it may be awaited any number of times. An ``asyncio.Future`` is one."""

    def __await__(self) -> Generator[Any, None, AckT_co]:
        """Wait for the ack and return its value, or raise the refusal."""
        ...

    def done(self) -> bool:
        """Whether the write was acked, refused or cancelled."""
        ...

    def cancelled(self) -> bool:
        """Whether the channel dropped the write."""
        ...

    def result(self) -> AckT_co:
        """Return the value of an ack that is done, or raise the refusal."""
        ...

    def exception(self) -> BaseException | None:
        """Return the refusal of an ack that is done; None where there is none."""
        ...

    def add_done_callback(self, callback: "Callable[[Ack[AckT_co]], object]", /) -> None:
        """Call a function soon after the ack is done, never before this returns."""
        ...


class ChannelWriter(Protocol):
    """Writes messages to one channel.

    Each call puts its message into the channel's outgoing order at once, before it returns. The ack fails
    with an :class:`AITransportError` when the channel refused the write.
    """

    def publish(self, messages: Sequence[OutboundMessage]) -> Ack[list[str | None]]:
        """Publish new messages, atomically; resolves to their serials."""
        ...

    def append(self, message: OutboundMessage) -> Ack[str | None]:
        """Append to the message that ``serial`` names; resolves to the serial of the new version."""
        ...

    def update(self, message: OutboundMessage) -> Ack[str | None]:
        """Replace the message that ``serial`` names; resolves to the serial of the new version."""
        ...


MessageHook: TypeAlias = Callable[[OutboundMessage], None]
"""Called with each message just before it is published; may change it in place."""


@dataclass(frozen=True, slots=True)
class Payload:
    """A message as a codec describes it, without the transport's own headers.

    Attributes:
        name: ``ai-input`` or ``ai-output``.
        data: Text for streamed messages; any JSON value for discrete ones.
        codec_headers: The codec tier.
        transport_headers: Headers that a codec stamps on the transport tier itself (``role``).
        ephemeral: Deliver to who is there, keep out of history.
    """

    name: str
    data: object = None
    codec_headers: Headers = field(default_factory=no_headers)
    transport_headers: Headers = field(default_factory=no_headers)
    ephemeral: bool = False


@dataclass(slots=True)
class StreamState:
    """A streamed message as far as a decoder has seen it.

    Attributes:
        name: The message name.
        stream_id: The stream's id, in the codec's terms.
        codec_headers: The codec tier as last seen.
        transport_headers: The transport tier as last seen.
        version: Greatest version serial that has been taken in.
        closed: Whether it is complete, cancelled or deleted; its text is dropped then.
    """

    name: str
    stream_id: str
    codec_headers: Headers
    transport_headers: Headers
    version: str
    closed: bool = False
    chunks: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """The text so far."""
        if len(self.chunks) > 1:
            self.chunks[:] = ["".join(self.chunks)]
        return self.chunks[0] if self.chunks else ""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What one write adds to an encoder's defaults.

    Attributes:
        headers: Transport headers that override the defaults.
        message_id: Stamped as ``codec-message-id``.
    """

    headers: Headers = field(default_factory=no_headers)
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """How an encoder writes.

    Attributes:
        headers: Transport headers of every message.
        on_message: Called with each message before it is published.
        message_id: Id that a codec may fall back on where an event names none.
        append_window: How many appends may wait for their acknowledgement at once.
        merge_appends: Whether text that arrives while the window is full is merged into the next append;
            otherwise the writer waits for room.
        max_append_size: Largest text of one append, in bytes of UTF-8; longer text is split.
    """

    headers: Headers = field(default_factory=no_headers)
    on_message: MessageHook | None = None
    message_id: str | None = None
    append_window: int = 32
    merge_appends: bool = True
    max_append_size: int = 32 * 1024


class Encoder(ABC, Generic[InT_contra, OutT_contra]):
    """Writes a codec's events to one channel. Not safe for concurrent calls."""

    @property
    def has_gaps(self) -> bool:
        """Whether the channel took text of a stream after it had refused earlier text of it.

        History and late joiners have the whole text once it is repaired. A live follower of the npm package
        does not take a rewritten text; for it, what was written has to be published again.
        """
        return False

    @abstractmethod
    async def publish_input(self, event: InT_contra, options: WriteOptions | None = None) -> None:
        """Publish one input.

        Raises:
            AITransportError: The codec does not know the event (40003), the encoder is closed (104004), or
                the channel refused it.
        """

    @abstractmethod
    async def publish_output(self, event: OutT_contra, options: WriteOptions | None = None) -> None:
        """Publish one output. Text of an open stream returns as soon as it is on its way.

        Raises:
            AITransportError: The codec does not know the event (40003), the encoder is closed (104004),
                the channel refused it, or a refused append could not be repaired (104000).
        """

    @abstractmethod
    async def cancel_streams(self) -> None:
        """Close all open streams as cancelled and wait until everything written is acknowledged."""

    @abstractmethod
    async def flush(self) -> None:
        """Wait until everything written is acknowledged or repaired.

        Raises:
            AITransportError: A refused append could not be repaired (104000).
        """

    @abstractmethod
    async def close(self) -> None:
        """Flush and refuse further writes. Closing twice is fine."""


@dataclass(slots=True)
class Decoded(Generic[InT_co, OutT_co]):
    """What one delivery says.

    Attributes:
        inputs: Input events, of an ``ai-input`` message.
        outputs: Output events, of an ``ai-output`` message.
        replaces: Whether a streamed message was rewritten, not continued: these events then stand in place of
            all that was decoded from the same message serial before.
    """

    inputs: Sequence[InT_co] = ()
    outputs: Sequence[OutT_co] = ()
    replaces: bool = False


class Decoder(ABC, Generic[InT_co, OutT_co]):
    """Reads a codec's events from one channel.

    It remembers the streams that it has seen, by message serial and version: one decoder serves the live
    channel and history at once, and what it has taken in already decodes to nothing.
    """

    @abstractmethod
    def decode(self, message: InboundMessage) -> Decoded[InT_co, OutT_co]:
        """Decode one delivery. Never raises for what others put on the channel: it decodes to nothing."""


@dataclass(slots=True)
class InputEvent(Generic[InT_co]):
    """An input, on its way into a projection."""

    event: InT_co
    direction: Literal["input"] = "input"


@dataclass(slots=True)
class OutputEvent(Generic[OutT_co]):
    """An output, on its way into a projection."""

    event: OutT_co
    direction: Literal["output"] = "output"


@dataclass(slots=True)
class FoldMeta:
    """Where a folded event came from.

    Attributes:
        serial: Serial of its message; empty for an optimistic event that has not been published yet.
        message_id: Its ``codec-message-id``: the conversation message that it belongs to.
    """

    serial: str = ""
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class CodecMessage(Generic[MsgT_co]):
    """A message for people, with its identity on the channel.

    Attributes:
        codec_message_id: Identity on the channel. All correlation uses it; the message's own id may differ.
        message: The message.
    """

    codec_message_id: str
    message: MsgT_co


@runtime_checkable
class RoutedInput(Protocol):
    """The routing fields that sessions read from an input event."""

    @property
    def kind(self) -> str:
        """What the input is, such as ``user-message``, ``regenerate`` or ``tool-result``."""
        ...

    @property
    def parent(self) -> str | None:
        """The conversation message before it on its branch; None lets the session choose."""
        ...

    @property
    def target(self) -> str | None:
        """The message that it refers to, such as the one to regenerate."""
        ...

    @property
    def codec_message_id(self) -> str | None:
        """The existing message that it amends; None for a new one."""
        ...


class Codec(ABC, Generic[InT, OutT, ProjT, MsgT]):
    """A vocabulary for sessions: how its events are written, read and folded into messages.

    A codec object has no state of its own; encoders and decoders have. ``fold`` may change the projection
    that it is given and return it. Sessions call it once per event, in canonical order, and start afresh
    from ``init`` when an earlier event arrives late: a codec needs no ordering or duplicate checks.
    """

    adapter_tag: str | None = None
    """Name under which the codec identifies itself to Ably (``Ably-Agent``); None leaves it out."""

    @abstractmethod
    def create_encoder(
        self, writer: ChannelWriter, options: EncoderOptions | None = None
    ) -> Encoder[InT, OutT]:
        """Create an encoder that writes to a channel."""

    @abstractmethod
    def create_decoder(self) -> Decoder[InT, OutT]:
        """Create a decoder for one channel."""

    @abstractmethod
    def init(self) -> ProjT:
        """Return an empty projection."""

    @abstractmethod
    def fold(self, projection: ProjT, event: InputEvent[InT] | OutputEvent[OutT], meta: FoldMeta) -> ProjT:
        """Fold one event into a projection and return the result."""

    @abstractmethod
    def get_messages(self, projection: ProjT) -> Sequence[CodecMessage[MsgT]]:
        """Return the messages of a projection.

        What is returned belongs to the caller: later folds do not change it. A message that has not changed
        since the last call is the same object.
        """

    @abstractmethod
    def create_user_message(self, message: MsgT) -> InT:
        """Wrap a user's message as an input for ``view.send``."""

    @abstractmethod
    def create_regenerate(self, target: str, parent: str) -> InT:
        """Build the input that asks for another reply in place of ``target``, under ``parent``."""

    def create_tool_result(self, codec_message_id: str, payload: Mapping[str, object]) -> InT:
        """Build the input that answers a tool call of an assistant message."""
        raise self._unsupported("tool results")

    def create_tool_result_error(self, codec_message_id: str, payload: Mapping[str, object]) -> InT:
        """Build the input that reports a tool call's failure."""
        raise self._unsupported("tool result errors")

    def create_tool_approval_response(self, codec_message_id: str, payload: Mapping[str, object]) -> InT:
        """Build the input that approves or denies a tool call."""
        raise self._unsupported("tool approvals")

    def _unsupported(self, what: str) -> AITransportError:
        return AITransportError(
            f"unable to build input; {type(self).__name__} has no {what}", ErrorCode.INVALID_ARGUMENT
        )
