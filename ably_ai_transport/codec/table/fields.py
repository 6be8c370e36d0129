"""Header fields: each binds one value of an event to a codec header.

A field's key is the name of the header and of the event's field. A value of the wrong type leaves the header
off. An absent or malformed header reads as the field's default.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ably_ai_transport.codec.json_text import dump_json, parse_json
from ably_ai_transport.wire import Headers, InvalidArgumentError

KIND = "kind"
"""The codec header with the kind of a message's row."""
PART_TYPE = "partType"
"""The codec header with the kind of a batch part's row."""
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
        """Return the header's value; the default if the header is absent."""

    @abstractmethod
    def write(self, headers: dict[str, str], value: object) -> None:
        """Put a value into headers. A value of the wrong type changes nothing."""


@dataclass(frozen=True, slots=True)
class StrField(Field):
    """A string.

    Attributes:
        default: The value of an absent header.
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
        default: The value of an absent header.
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
        allowed: The strings that it may hold.
        default: The value of an absent header, and of any other string.
    """

    allowed: tuple[str, ...]
    default: str | None = None

    def read(self, headers: Headers) -> str | None:
        """Return the string if it is allowed; the default otherwise."""
        text = headers.get(self.key)
        return text if text in self.allowed else self.default

    def write(self, headers: dict[str, str], value: object) -> None:
        """Write any string: a newer reader may know it."""
        if isinstance(value, str):
            headers[self.key] = value


@dataclass(frozen=True, slots=True)
class JsonField(Field):
    """Any JSON value. None leaves the header off."""

    def read(self, headers: Headers) -> object:
        """Return the JSON's value; None if it is absent or malformed."""
        text = headers.get(self.key)
        if text is None:
            return None
        if len(text) == 1 and "0" <= text <= "9":
            return ord(text) - 48  # a part's index, which every delta repeats
        try:
            return parse_json(text)
        except ValueError:
            return None

    def write(self, headers: dict[str, str], value: object) -> None:
        """Write the value as JSON.

        Raises:
            InvalidArgumentError: The value has no JSON form (40003).
        """
        if value is None:
            return
        try:
            headers[self.key] = dump_json(value)
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError(
                f"unable to write header '{self.key}'; its value has no JSON form", cause=error
            ) from error


def write_fields(
    fields: Iterable[Field], kind: str, values: Mapping[str, object], keys: Iterable[str] | None = None
) -> dict[str, str]:
    """Build codec headers.

    Args:
        fields: The fields to write.
        kind: The kind of the message's row.
        values: The values, by field key.
        keys: The fields to write; all if None.

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
        The values by key, without None.
    """
    values: dict[str, object] = {}
    for field in fields:
        value = field.read(headers)
        if value is not None:
            values[field.key] = value
    return values


def kind_of(headers: Headers) -> str:
    """Return the kind of a message's row. Peers before 0.8.0 wrote it as ``type``."""
    return headers.get(KIND) or headers.get("type") or ""
