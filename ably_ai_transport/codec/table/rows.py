"""The rows of a codec's tables: each event's form on the wire.

A codec built with :func:`ably_ai_transport.codec.define_codec` is a list of these rows. They work on
*values*, an event's fields by name. An :class:`EventShape` takes events apart into values and puts them
together. A function, a *hatch*, covers a case that a row cannot express.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Generic, TypeAlias, cast

from typing_extensions import TypeVar

from ably_ai_transport.codec.contract import Payload, StreamState, WriteOptions
from ably_ai_transport.codec.encoder import EncoderCore
from ably_ai_transport.codec.table.fields import Field
from ably_ai_transport.wire.messages import Headers, no_headers

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

EventT = TypeVar("EventT")

Values: TypeAlias = Mapping[str, object]
"""An event's fields by name."""
Rebuilt: TypeAlias = tuple[str, dict[str, object]]
"""One event, as a decode hatch returns it: its kind and its values."""

WILDCARD = "-*"
"""Ends the name of a row for all names with the same beginning, as in ``data-*``."""


class EventShape(ABC, Generic[EventT]):
    """Takes events apart into values, and builds events from values.

    Attributes:
        discriminator: The event's field that holds its kind.
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
        discriminator: The key that holds an event's kind.
    """

    def __init__(self, discriminator: str = "type") -> None:
        self.discriminator = discriminator

    def kind_of(self, event: EventT) -> str | None:
        """Return the value under the discriminator."""
        # Nearly every event is a dict, and isinstance on an abstract class is slow.
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
        """Return the kind of the event's class, or the value of its discriminator field."""
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


@dataclass(frozen=True, slots=True)
class EncodeContext:
    """The tools of an encode hatch.

    Attributes:
        core: The encoder core to publish with.
        name: The message name to publish under.
        headers: Builds the row's codec headers from values. A second argument names the fields to write.
        message_id: The message id that the encoder was created with.
        options: Options of this write; pass them on to ``core``.
    """

    core: EncoderCore
    name: str
    headers: Callable[..., dict[str, str]]
    message_id: str | None
    options: WriteOptions | None


EncodeHatch: TypeAlias = Callable[[Values, EncodeContext], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Data:
    """Converts values to a message's payload, and back.

    Attributes:
        encode: Returns the payload.
        decode: Returns the values of a payload, which may be any JSON value.
        storable: The places in the payload of values that may be moved to a payload store if the message is
            too large: keys joined by dots, with ``*`` for each key or index, or :data:`WHOLE_PAYLOAD`. A
            reader without the store gets a URL instead of a text, and ``{"$payload": url, "size": …,
            "mediaType": …}`` instead of any other value.
    """

    encode: Callable[[Values], object]
    decode: Callable[[object], Values]
    storable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EventRow:
    """An output event that is one message.

    Attributes:
        kind: The event's kind, also on the wire; may be a wildcard.
        fields: The values in headers.
        data: The values in the payload; the payload is an empty text if None.
        ephemeral: Whether an event stays out of history.
        encode: Hatch that publishes the event.
        decode: Hatch that rebuilds the events of a message.
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
        stream_id: The field with the stream's id, or a function of an event's values.
        fields: The values in headers of the start and the end.
        delta_keys: The fields, out of ``fields``, that each rebuilt delta repeats.
        starts: Whether a start opens this row's stream, if several rows share a kind of start. A start that
            no stream row wants goes to an event row.
        encode_end: Hatch that completes the stream; needs ``decode_end``.
        decode_delta: Hatch that rebuilds a delta from the stream and the piece of text.
        decode_end: Hatch that rebuilds the end from the stream and the closing headers.
        decode_discrete: Hatch that rebuilds the events of a discrete message of this kind. Without it such a
            message is ignored.
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
    """An output event that is never published.

    Attributes:
        kind: The event's kind.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class InputRow:
    """An input that is one message and amends an existing one: a tool result, an approval.

    Attributes:
        kind: The input's kind, also on the wire.
        fields: The values in headers, out of the input's ``payload``.
        data: The values in the message's payload.
        build: Builds the input from the codec message id and the payload's values. Not needed for the kinds
            that :mod:`ably_ai_transport.codec` has classes for.
    """

    kind: str
    fields: tuple[Field, ...] = ()
    data: Data | None = None
    build: Callable[[str, dict[str, object]], object] | None = None


@dataclass(frozen=True, slots=True)
class SignalRow:
    """An input whose content is in transport headers, and that decodes to nothing: a regenerate.

    Attributes:
        kind: The input's kind, also on the wire.
    """

    kind: str


@dataclass(frozen=True, slots=True)
class PartRow:
    """One kind of part in a batch.

    Attributes:
        kind: The part's kind, ``partType`` on the wire; may be a wildcard.
        fields: The values in headers.
        data: The values in the payload.
    """

    kind: str
    fields: tuple[Field, ...] = ()
    data: Data | None = None


@dataclass(frozen=True, slots=True)
class BatchHeaders:
    """Headers that every part of a batch repeats.

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
        explode: Returns an input's parts, as values with the discriminator. Parts without a row are left out.
        parts: The rows of the parts.
        assemble: Builds an input of a single part from its values and its message. Folding joins the parts of
            one message.
        headers: Headers that all parts repeat.
        discriminator: The part's field that holds its kind.
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
    """Return the first wildcard among names that matches a kind."""
    return next((name for name in names if name.endswith(WILDCARD) and kind.startswith(name[:-1])), None)
