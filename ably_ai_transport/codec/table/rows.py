"""The rows of a codec's tables: what each event is on the wire.

A codec built with :func:`ably_ai_transport.codec.table.codec_codec` is a list of these rows. They speak of
*values*, an event's fields by name; an :class:`EventShape` says how events are taken apart into values and
put together again. Where a row cannot say it, a function can: the *hatches*.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Generic, Protocol, TypeAlias, cast

from typing_extensions import TypeVar

from ably_ai_transport.codec.contract import Payload, StreamState, WriteOptions
from ably_ai_transport.codec.table.fields import Field
from ably_ai_transport.wire.messages import Headers, no_headers

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

EventT = TypeVar("EventT")

Values: TypeAlias = Mapping[str, object]
"""An event's fields by name."""
Rebuilt: TypeAlias = tuple[str, dict[str, object]]
"""What a decode hatch returns for one event: its kind, and its values."""

WILDCARD = "-*"
"""Ends the name of a row that stands for all names with the same beginning, as in ``data-*``."""


class EventShape(ABC, Generic[EventT]):
    """How events are taken apart and put together.

    Attributes:
        discriminator: The event's field that tells its kind.
    """

    discriminator: str

    @abstractmethod
    def kind_of(self, event: EventT) -> str | None:
        """Return an event's kind; None when it has none."""

    @abstractmethod
    def values_of(self, event: EventT) -> Values:
        """Return an event's values by field name."""

    @abstractmethod
    def build(self, kind: str, values: dict[str, object]) -> EventT:
        """Build an event of a kind; may keep ``values``."""


class DictEvents(EventShape[EventT]):
    """Events are dicts, usually typed by ``TypedDict`` classes.

    Args:
        discriminator: The key that tells an event's kind.
    """

    def __init__(self, discriminator: str = "type") -> None:
        self.discriminator = discriminator

    def kind_of(self, event: EventT) -> str | None:
        """Return what stands under the discriminator."""
        # Asking an abstract class costs more than all the rest, and nearly every event is a dict.
        if type(event) is not dict and not isinstance(event, Mapping):
            return None
        kind = cast("Values", event).get(self.discriminator)
        return kind if isinstance(kind, str) else None

    def values_of(self, event: EventT) -> Values:
        """Return the event itself."""
        return cast("Values", event)

    def build(self, kind: str, values: dict[str, object]) -> EventT:
        """Return the values with the discriminator among them."""
        values[self.discriminator] = kind
        return cast("EventT", values)


class DataclassEvents(EventShape[EventT]):
    """Events are dataclasses, one for each kind.

    Args:
        classes: The class of each kind. A ``wildcard-*`` kind takes the name of the discriminator field
            from the wire; classes of other kinds need no such field.
        discriminator: The field, where a class has one, that gets the kind.
    """

    def __init__(self, classes: Mapping[str, type[EventT]], discriminator: str = "kind") -> None:
        self.discriminator = discriminator
        self._classes = dict(classes)
        self._kinds = {cls: kind for kind, cls in classes.items() if not kind.endswith(WILDCARD)}
        self._names = {
            cls: tuple(item.name for item in fields(cast("type[DataclassInstance]", cls)))
            for cls in classes.values()
        }

    def kind_of(self, event: EventT) -> str | None:
        """Return the kind of the event's class, or what its discriminator field says."""
        kind = self._kinds.get(type(event)) or getattr(event, self.discriminator, None)
        return kind if isinstance(kind, str) else None

    def values_of(self, event: EventT) -> Values:
        """Return the fields that are not None."""
        names = self._names.get(type(event), ())
        return {name: value for name in names if (value := getattr(event, name)) is not None}

    def build(self, kind: str, values: dict[str, object]) -> EventT:
        """Call the class of the kind."""
        cls = self._classes.get(kind)
        if cls is None:
            cls = next(
                c for k, c in self._classes.items() if k.endswith(WILDCARD) and kind.startswith(k[:-1])
            )
            values[self.discriminator] = kind
        return cast("Callable[..., EventT]", cls)(**values)


class WriterCore(Protocol):
    """What an encode hatch may do: the part of an encoder core that publishes."""

    async def publish_discrete(self, payload: Payload, options: WriteOptions | None = None) -> str | None:
        """Publish one message."""
        ...

    async def start_stream(
        self, stream_id: str, payload: Payload, options: WriteOptions | None = None
    ) -> None:
        """Open a streamed message."""
        ...

    async def append_stream(self, stream_id: str, text: str) -> None:
        """Append to a streamed message."""
        ...

    async def close_stream(self, stream_id: str, payload: Payload) -> None:
        """Complete a streamed message; 40003 when no such stream is open."""
        ...


@dataclass(frozen=True, slots=True)
class EncodeContext:
    """What an encode hatch works with.

    Attributes:
        core: Where it publishes.
        name: The message name to publish under.
        headers: Builds the row's codec headers from values; a second argument names the fields to write.
        message_id: The message id that the encoder was created with.
        options: What this write adds; to be passed on to ``core``.
    """

    core: WriterCore
    name: str
    headers: Callable[..., dict[str, str]]
    message_id: str | None
    options: WriteOptions | None


EncodeHatch: TypeAlias = Callable[[Values, EncodeContext], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Data:
    """How a message's payload is made from values, and the other way round.

    Attributes:
        encode: Returns the payload.
        decode: Returns the values that a payload holds. What comes in may be anything.
    """

    encode: Callable[[Values], object]
    decode: Callable[[object], Values]


@dataclass(frozen=True, slots=True)
class EventRow:
    """An output event that is one message.

    Attributes:
        kind: The event's kind, also on the wire; may be a wildcard.
        fields: What travels in headers.
        data: What travels as payload; empty text when None.
        ephemeral: Whether an event stays out of history.
        encode: Hatch that publishes instead.
        decode: Hatch that rebuilds the events of a message instead.
    """

    kind: str
    fields: tuple[Field, ...] = ()
    data: Data | None = None
    ephemeral: Callable[[Values], bool] | None = None
    encode: EncodeHatch | None = None
    decode: Callable[[Payload], Iterable[Rebuilt]] | None = None


@dataclass(frozen=True, slots=True)
class StreamRow:
    """Output events that are one message growing by appends.

    Attributes:
        kind: Names the row on the wire.
        start: Kind of the event that opens it.
        delta: Kind of the event that carries a piece of text.
        end: Kind of the event that completes it.
        text: The delta's field that holds the text.
        stream_id: The field that tells streams apart, or a function of an event's values.
        fields: What travels in headers of the start and the end.
        delta_keys: The fields that each rebuilt delta repeats, out of ``fields``.
        starts: Tells which starts open this row's stream, where rows share a kind of start; events that
            no row wants are looked up among the other rows.
        encode_end: Hatch that completes the stream instead; needs ``decode_end``.
        decode_delta: Hatch that rebuilds a delta from the stream and the piece of text.
        decode_end: Hatch that rebuilds the end from the stream and the closing headers.
        decode_discrete: Hatch that rebuilds the events when the message came in one piece; without it
            such a message is ignored.
    """

    kind: str
    start: str
    delta: str
    end: str
    text: str
    stream_id: str | Callable[[Values], str]
    fields: tuple[Field, ...] = ()
    delta_keys: tuple[str, ...] = ()
    starts: Callable[[Values], bool] | None = None
    encode_end: EncodeHatch | None = None
    decode_delta: Callable[[StreamState, str], Iterable[Rebuilt]] | None = None
    decode_end: Callable[[StreamState, Headers], Iterable[Rebuilt]] | None = None
    decode_discrete: Callable[[Payload], Iterable[Rebuilt]] | None = None


@dataclass(frozen=True, slots=True)
class DropRow:
    """An output event that is known and stays off the wire.

    Attributes:
        kind: The event's kind.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class InputRow:
    """An input that is one message and amends an existing one: a tool result, an approval.

    Attributes:
        kind: The input's kind, also on the wire.
        fields: What travels in headers, out of the input's ``payload``.
        data: What travels as payload of the message.
        build: Builds the input from the codec message id and the payload's values; not needed for the kinds
            that :mod:`ably_ai_transport.codec` has classes for.
    """

    kind: str
    fields: tuple[Field, ...] = ()
    data: Data | None = None
    build: Callable[[str, dict[str, object]], object] | None = None


@dataclass(frozen=True, slots=True)
class SignalRow:
    """An input that says all it has to say in transport headers, and decodes to nothing: a regenerate.

    Attributes:
        kind: The input's kind, also on the wire.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class PartRow:
    """One kind of part in a batch.

    Attributes:
        kind: The part's kind, ``partType`` on the wire; may be a wildcard.
        fields: What travels in headers.
        data: What travels as payload.
    """

    kind: str
    fields: tuple[Field, ...] = ()
    data: Data | None = None


@dataclass(frozen=True, slots=True)
class BatchHeaders:
    """Headers that every part of a batch repeats, so that any one of them tells the whole.

    Attributes:
        codec: For the codec tier.
        transport: For the transport tier.
    """

    codec: Headers = field(default_factory=no_headers)
    transport: Headers = field(default_factory=no_headers)


@dataclass(frozen=True, slots=True)
class BatchRow:
    """An input that is published as several messages at once, one for each of its parts.

    Attributes:
        kind: The input's kind, on all its parts.
        explode: Returns an input's parts, as values; the discriminator among them tells the part's kind.
            Parts that no row knows are left out.
        parts: The kinds of parts.
        assemble: Builds an input of a single part from its values and the message that it came in. Folding
            puts the parts of one message together.
        headers: Headers that all parts repeat.
        discriminator: The part's field that tells its kind.
    """

    kind: str
    explode: Callable[..., Iterable[Values]]
    parts: tuple[PartRow, ...]
    assemble: Callable[[dict[str, object], Payload], object]
    headers: Callable[..., BatchHeaders] | None = None
    discriminator: str = "type"


OutputRow: TypeAlias = EventRow | StreamRow | DropRow
InputTableRow: TypeAlias = InputRow | SignalRow | BatchRow


def match_wildcard(kind: str, names: Iterable[str]) -> str | None:
    """Return the first wildcard among names that stands for a kind."""
    return next((name for name in names if name.endswith(WILDCARD) and kind.startswith(name[:-1])), None)
