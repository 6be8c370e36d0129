"""The contract of a codec: inputs, outputs, messages, encoders and decoders.

A codec turns the events of clients (*inputs*) and agents (*outputs*) into channel messages and back, and
folds them into messages for people. Sessions know no vocabulary; codecs know no runs, trees or Ably.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, Protocol, TypeAlias, cast, runtime_checkable

from typing_extensions import TypeVar

from ably_ai_transport.payloads.exchange import PayloadExchange
from ably_ai_transport.wire import InboundMessage, InvalidArgumentError, OutboundMessage
from ably_ai_transport.wire.messages import Headers, no_headers

InT = TypeVar("InT")
"""A codec's input events, published by clients."""
OutT = TypeVar("OutT")
"""A codec's output events, published by agents."""
ProjT = TypeVar("ProjT")
"""A codec's projection: the state that events fold into."""
MsgT = TypeVar("MsgT")
"""A codec's message for people."""
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
        """Return the refusal of an ack that is done; None if it was accepted."""
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
        ephemeral: Delivered to attached clients only, and kept out of history.
        storable: The places in ``data`` of values that may be moved to a payload store, as for :class:`Data`.
    """

    name: str
    data: object = None
    codec_headers: Headers = field(default_factory=no_headers)
    transport_headers: Headers = field(default_factory=no_headers)
    ephemeral: bool = False
    storable: tuple[str, ...] = ()


@dataclass(slots=True)
class StreamState:
    """A streamed message, as a decoder has seen it so far.

    Attributes:
        name: The message name.
        stream_id: The stream's id, in the codec's terms.
        codec_headers: The codec tier as last seen.
        transport_headers: The transport tier as last seen.
        version: Greatest version serial seen.
        closed: Whether it is complete, cancelled or deleted; its text is dropped then.
        chunks: The text, in pieces.
        serial: Serial of the message.
        half: The half of a character that the text ended with; more text may complete it.
    """

    name: str
    stream_id: str
    codec_headers: Headers
    transport_headers: Headers
    version: str
    closed: bool = False
    chunks: list[str] = field(default_factory=list[str])
    serial: str = ""
    half: str = ""

    @property
    def text(self) -> str:
        """The text so far."""
        if len(self.chunks) > 1:
            self.chunks[:] = ["".join(self.chunks)]
        return self.chunks[0] if self.chunks else ""


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Headers and message id of one write, on top of the encoder's defaults.

    Attributes:
        headers: Transport headers that override the defaults.
        message_id: Stamped as ``codec-message-id``.
    """

    headers: Headers = field(default_factory=no_headers)
    message_id: str | None = None


class Timer(Protocol):
    """A call that was scheduled."""

    def cancel(self) -> None:
        """Drop the call."""
        ...


class Scheduler(Protocol):
    """A clock with timers: an asyncio event loop, or a fake one in tests."""

    def time(self) -> float:
        """Return the time, in seconds."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Call a function after some seconds."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """Options of an encoder.

    Attributes:
        headers: Transport headers of every message.
        on_message: Called with each message before it is published.
        message_id: Message id for events that have none of their own.
        append_window: How many appends may be unacked at once; at least 1.
        merge_appends: Whether text written while the window is full is merged into the next append. Otherwise
            the writer waits for room.
        max_append_size: Largest text of one append, in bytes of UTF-8; at least 4. Longer text is split.
        append_interval: Seconds between two appends of one stream; 0 for no pause. Text in between is merged.
            The first text leaves at once, and so does what waits when the stream ends.
        scheduler: Tells the time and calls back; needed where there is an interval.
        payloads: Moves large values of discrete messages to a payload store; None refuses large messages.
    """

    headers: Headers = field(default_factory=no_headers)
    on_message: MessageHook | None = None
    message_id: str | None = None
    append_window: int = 32
    merge_appends: bool = True
    max_append_size: int = 32 * 1024
    append_interval: float = 0.0
    scheduler: Scheduler | None = None
    payloads: PayloadExchange | None = None


@dataclass(slots=True)
class EncoderStats:
    """Counters of one encoder.

    Attributes:
        deltas: Pieces of text written.
        appends: Appends sent, closing ones included.
        merged: Pieces of text sent as part of another piece's append.
        refused: Appends that the channel refused.
        recovered: Streams repaired after a refused append.
        max_in_flight: The most unacked appends at once.
        first_text_at: When the first text was sent, by the clock of the scheduler in the options; None
            without a scheduler.
    """

    deltas: int = 0
    appends: int = 0
    merged: int = 0
    refused: int = 0
    recovered: int = 0
    max_in_flight: int = 0
    first_text_at: float | None = None


class Encoder(ABC, Generic[InT_contra, OutT_contra]):
    """Writes a codec's events to one channel. Not safe for concurrent calls."""

    @property
    def stats(self) -> EncoderStats:
        """The counters so far; all zero where the encoder does not count."""
        return EncoderStats()

    @property
    def has_gaps(self) -> bool:
        """Whether the channel accepted text of a stream after it refused earlier text of it.

        History and late joiners have the whole text after the repair. A live follower of the npm package
        ignores rewritten text: for it, the text must be published again.
        """
        return False

    @abstractmethod
    async def publish_input(self, event: InT_contra, options: WriteOptions | None = None) -> None:
        """Publish one input.

        Raises:
            InvalidArgumentError: The codec does not know the event (40003).
            SessionClosedError: The encoder is closed (104004).
            AITransportError: The channel refused it.
        """

    @abstractmethod
    async def publish_output(self, event: OutT_contra, options: WriteOptions | None = None) -> None:
        """Publish one output. Text of an open stream waits only for room in the window, not for its ack.

        Raises:
            InvalidArgumentError: The codec does not know the event (40003).
            SessionClosedError: The encoder is closed (104004).
            AITransportError: The channel refused it, or a refused append could not be repaired (104000).
        """

    @abstractmethod
    async def cancel_streams(self) -> None:
        """Close all open streams as cancelled, and wait for all acks and repairs."""

    @abstractmethod
    async def flush(self) -> None:
        """Wait for all acks and repairs.

        Raises:
            ChannelRefusedError: A refused append could not be repaired (104000).
        """

    @abstractmethod
    async def close(self) -> None:
        """Flush and refuse further writes. Closing twice is fine."""


@dataclass(slots=True)
class Decoded(Generic[InT_co, OutT_co]):
    """The events of one delivery.

    Attributes:
        inputs: Input events, of an ``ai-input`` message.
        outputs: Output events, of an ``ai-output`` message.
        replaces: Whether a streamed message was rewritten. These events then replace all events decoded from
            the same message serial before.
        unknown: Event kind of a session's message that the codec does not know; None otherwise. The message
            has no events then. A newer peer may send such messages; if the codec knows none of a channel's
            messages, the channel speaks another codec. Not set for appends to a stream seen before.
    """

    inputs: Sequence[InT_co] = ()
    outputs: Sequence[OutT_co] = ()
    replaces: bool = False
    unknown: str | None = None


class Decoder(ABC, Generic[InT_co, OutT_co]):
    """Reads a codec's events from one channel.

    It remembers the version of each stream that it has seen. So one decoder serves the live channel and
    history at once: a version decodes to nothing the second time.
    """

    @abstractmethod
    def decode(self, message: InboundMessage) -> Decoded[InT_co, OutT_co]:
        """Decode one delivery. Never raises: an unreadable message decodes to nothing."""


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
    """The origin of a folded event.

    Attributes:
        serial: Serial of its message; empty for an optimistic event that has not been published yet.
        message_id: Its ``codec-message-id``: the conversation message that it belongs to.
        client_id: Its publisher, as Ably verified it; None for an anonymous one, and for an optimistic event.
    """

    serial: str = ""
    message_id: str | None = None
    client_id: str | None = None


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
        """The input's kind, such as ``user-message``, ``regenerate`` or ``tool-result``."""
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
    """A vocabulary for sessions: writes, reads and folds events.

    A codec object has no state; encoders and decoders have. ``fold`` may change the projection in place and
    return it. Sessions call it once per event, in canonical order. They start again from ``init`` when an
    earlier event arrives late. So a codec needs no ordering or duplicate checks.
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

        Later folds must not change the returned messages. A message that has not changed since the last call
        is the same object.
        """

    def compact_outputs(self, outputs: Sequence[OutT]) -> Sequence[OutT]:
        """Return fewer outputs that fold to the same projection.

        Sessions keep the outputs of a stream for as long as an earlier message may still arrive. They call
        this when the stream has ended, or must be folded again. The default returns the outputs as they are.

        Args:
            outputs: The outputs of one stream so far, in order.
        """
        return outputs

    @abstractmethod
    def create_user_message(self, message: MsgT) -> InT:
        """Wrap a user's message as an input for ``view.send``."""

    @abstractmethod
    def create_regenerate(self, target: str, parent: str) -> InT:
        """Build the input that asks for another reply in place of ``target``, under ``parent``."""


def check_codec(codec: object) -> None:
    """Refuse a value that is not a codec object, such as a codec's class.

    Args:
        codec: The argument of a session.

    Raises:
        InvalidArgumentError: It is a class, or no codec at all (40003).
    """
    if isinstance(codec, type):
        name = cast("type[object]", codec).__name__
        raise InvalidArgumentError(f"unable to use codec; {name} is a class (pass an instance: {name}())")
    if not isinstance(codec, Codec):
        raise InvalidArgumentError(
            f"unable to use codec; {type(codec).__name__} is not a Codec (derive it, or use define_codec)"
        )
