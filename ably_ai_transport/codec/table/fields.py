"""Header fields: one value of an event, bound to the codec header that carries it.

A field's key is both the header's name and the name of the event's field. A value that a field cannot
carry leaves the header off; a header that is absent or malformed reads as the field's default.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ably_ai_transport.codec.json_text import dump_json, parse_json
from ably_ai_transport.wire import AITransportError, ErrorCode, Headers

KIND = "kind"
"""The codec header that names the table row which a message belongs to."""
PART_TYPE = "partType"
"""The codec header that names the row of one part of a batch."""
RESERVED_KEYS = frozenset({KIND, PART_TYPE})


@dataclass(frozen=True, slots=True)
class Field(ABC):
    """Binds an event's field to a codec header.

    Attributes:
        key: Name of the header and of the event's field.
    """

    key: str

    @abstractmethod
    def read(self, headers: Headers) -> object:
        """Return the value that headers carry; None when they carry none and the field has no default."""

    @abstractmethod
    def write(self, headers: dict[str, str], value: object) -> None:
        """Put a value into headers; leave them alone when the value is not of the field's type."""


@dataclass(frozen=True, slots=True)
class StrField(Field):
    """A string.

    Attributes:
        default: What an absent header reads as.
    """

    default: str | None = None

    def read(self, headers: Headers) -> str | None:
        """Return the string, or the default."""
        return headers.get(self.key, self.default)

    def write(self, headers: dict[str, str], value: object) -> None:
        """Write a string as it is."""
        if isinstance(value, str):
            headers[self.key] = value


@dataclass(frozen=True, slots=True)
class BoolField(Field):
    """A boolean, written ``true`` or ``false``. Any other text reads as False.

    Attributes:
        default: What an absent header reads as.
    """

    default: bool | None = None

    def read(self, headers: Headers) -> bool | None:
        """Return the boolean, or the default."""
        text = headers.get(self.key)
        return self.default if text is None else text == "true"

    def write(self, headers: dict[str, str], value: object) -> None:
        """Write a boolean."""
        if isinstance(value, bool):
            headers[self.key] = "true" if value else "false"


@dataclass(frozen=True, slots=True)
class EnumField(Field):
    """One of a few strings.

    Attributes:
        allowed: The strings that are understood.
        default: What an absent header, or any other string, reads as.
    """

    allowed: tuple[str, ...]
    default: str | None = None

    def read(self, headers: Headers) -> str | None:
        """Return the string when it is allowed; the default otherwise."""
        text = headers.get(self.key)
        return text if text in self.allowed else self.default

    def write(self, headers: dict[str, str], value: object) -> None:
        """Write any string: readers that know it may be newer than this table."""
        if isinstance(value, str):
            headers[self.key] = value


@dataclass(frozen=True, slots=True)
class JsonField(Field):
    """Any JSON value. None leaves the header off."""

    def read(self, headers: Headers) -> object:
        """Return what the JSON holds; None when it is absent or malformed."""
        text = headers.get(self.key)
        if text is None:
            return None
        if len(text) == 1 and "0" <= text <= "9":
            return ord(text) - 48  # places of parts, which every delta repeats
        try:
            return parse_json(text)
        except ValueError:
            return None

    def write(self, headers: dict[str, str], value: object) -> None:
        """Write the value as JSON.

        Raises:
            AITransportError: The value has no JSON form (40003).
        """
        if value is None:
            return
        try:
            headers[self.key] = dump_json(value)
        except (TypeError, ValueError) as error:
            raise AITransportError.wrap(
                f"write header '{self.key}'", error, ErrorCode.INVALID_ARGUMENT
            ) from error


def write_fields(
    fields: Iterable[Field], kind: str, values: Mapping[str, object], keys: Iterable[str] | None = None
) -> dict[str, str]:
    """Build codec headers.

    Args:
        fields: The fields to write.
        kind: The row that the message belongs to.
        values: Where the values are read from, by field key.
        keys: Write only these; all when None.

    Returns:
        New headers, ``kind`` first.
    """
    headers = {KIND: kind}
    wanted = None if keys is None else frozenset(keys)
    for field in fields:
        if wanted is None or field.key in wanted:
            field.write(headers, values.get(field.key))
    return headers


def read_fields(fields: Iterable[Field], headers: Headers) -> dict[str, object]:
    """Read codec headers.

    Args:
        fields: The fields to read.
        headers: The codec tier of a message.

    Returns:
        The values by key; fields that read as None are left out.
    """
    values: dict[str, object] = {}
    for field in fields:
        value = field.read(headers)
        if value is not None:
            values[field.key] = value
    return values


def kind_of(headers: Headers) -> str:
    """Return the row that a message names; ``type`` is where peers before 0.8.0 wrote it."""
    return headers.get(KIND) or headers.get("type") or ""
