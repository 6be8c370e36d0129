"""References: the description of a message's values that are in a store.

A message with references has the header ``stored-payloads``, and in the place of each value a *stand-in* that
clients without the store can show. The header and the stand-ins are ours; the npm package ignores the header.
"""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast, get_args

from ably_ai_transport.payloads.contract import is_key, safe_media_type

HEADER: Final = "stored-payloads"
"""The transport header with a message's references, as JSON."""
WHOLE_PAYLOAD: Final = ""
"""The place of a payload itself."""

Form: TypeAlias = Literal["json", "text", "data-url"]
Place: TypeAlias = tuple[str | int, ...]
"""The keys and indexes that lead from a message's payload to one of its values."""

_FORMS: Final[frozenset[str]] = frozenset(get_args(Form))
_MAX_REFERENCES: Final = 1000
_DATA_URL: Final = re.compile(r"data:([^,]{0,200}?);base64,")


@dataclass(frozen=True, slots=True)
class Reference:
    """A value that is in a store.

    Attributes:
        place: The place of the value in the message's payload.
        form: How the content represents the value: as JSON, as text, or as the bytes of a ``data:`` URL.
        key: The key in the store.
        size: Bytes of the content.
        media_type: The media type of the content, as a ``data:`` URL names it.
    """

    place: Place
    form: Form
    key: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class Content:
    """A value as a store keeps it.

    Attributes:
        form: As for :class:`Reference`.
        data: The bytes.
        media_type: As for :class:`Reference`.
    """

    form: Form
    data: bytes
    media_type: str

    @property
    def safe_media_type(self) -> str:
        """The media type to serve it with."""
        return safe_media_type(self.media_type)


def content_of(value: object) -> Content:
    """Convert a value for a store.

    Args:
        value: A JSON value.

    Raises:
        TypeError: The value has no JSON form.
        ValueError: The value has no JSON form.
    """
    if not isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return Content("json", text.encode(), "application/json")
    url = _DATA_URL.match(value)
    if url is not None:
        encoded = value[url.end() :]
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        if base64.b64encode(data).decode() == encoded:
            return Content("data-url", data, url[1])
    return Content("text", value.encode(), "text/plain")


def value_of(reference: Reference, data: bytes) -> object:
    """Convert a content back.

    Args:
        reference: The reference.
        data: The content that it names.

    Raises:
        ValueError: The content does not have the form that the reference names.
    """
    match reference.form:
        case "json":
            return cast("object", json.loads(data))
        case "text":
            return data.decode()
        case "data-url":
            return f"data:{reference.media_type};base64,{base64.b64encode(data).decode()}"


def stand_in(reference: Reference, url: str) -> object:
    """Return the value to publish instead: the URL for a text, an object with the URL for any other value."""
    if reference.form != "json":
        return url
    return {"$payload": url, "size": reference.size, "mediaType": reference.media_type}


def values_at(data: object, pattern: str) -> Iterator[tuple[Place, object]]:
    """Find values in a payload.

    Args:
        data: The payload.
        pattern: Keys, joined by dots; ``*`` stands for each key or index. :data:`WHOLE_PAYLOAD` is the
            payload.

    Yields:
        The place and the value.
    """
    found: list[tuple[Place, object]] = [((), data)]
    for step in pattern.split(".") if pattern else ():
        found = [((*place, key), child) for place, value in found for key, child in _children(value, step)]
    yield from found


def _children(value: object, step: str) -> Iterable[tuple[str | int, object]]:
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, object]", value)
        return mapping.items() if step == "*" else [(step, mapping[step])] if step in mapping else ()
    if isinstance(value, list | tuple) and step == "*":
        return enumerate(cast("Sequence[object]", value))
    return ()


def replaced(data: object, place: Place, value: object) -> object:
    """Return a payload with another value in a place. The payload itself is not changed.

    Raises:
        LookupError: There is no such place.
    """
    if not place:
        return value
    first, rest = place[0], place[1:]
    if isinstance(data, Mapping) and isinstance(first, str):
        mapping = cast("Mapping[str, object]", data)
        return {**mapping, first: replaced(mapping[first], rest, value)}
    if isinstance(data, list | tuple) and isinstance(first, int):
        items = list(cast("Sequence[object]", data))
        items[first] = replaced(items[first], rest, value)
        return items
    raise LookupError("there is no such place")


def write_references(references: Iterable[Reference]) -> str:
    """Return the header of a message with references."""
    listed = [
        {"place": one.place, "form": one.form, "key": one.key, "size": one.size, "mediaType": one.media_type}
        for one in references
    ]
    return json.dumps(listed, separators=(",", ":"))


def read_references(header: str) -> tuple[Reference, ...]:
    """Read the header of a message with references.

    Args:
        header: The header, which another participant wrote.

    Raises:
        ValueError: It is malformed.
    """
    try:
        listed: object = json.loads(header)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(listed, list) or len(cast("list[object]", listed)) > _MAX_REFERENCES:
        raise ValueError("it is not a list of references")
    return tuple(map(_read, cast("list[object]", listed)))


def _read(entry: object) -> Reference:
    if not isinstance(entry, Mapping):
        raise ValueError("a reference is no object")
    fields = cast("Mapping[str, object]", entry)
    place, form, key = fields.get("place"), fields.get("form"), fields.get("key")
    size, media_type = fields.get("size"), fields.get("mediaType")
    steps = cast("list[object]", place) if isinstance(place, list) else [None]
    if not all(isinstance(step, str) or (type(step) is int and step >= 0) for step in steps):
        raise ValueError("a reference names no place")
    if not isinstance(key, str) or not is_key(key) or form not in _FORMS:
        raise ValueError("a reference has no key, or a form that is not known")
    if type(size) is not int or not isinstance(media_type, str):
        raise ValueError("a reference has no size or media type")
    return Reference(cast("Place", tuple(steps)), cast("Form", form), key, size, media_type)
