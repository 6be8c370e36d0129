"""Lenient reads of payloads: what arrives on a channel may be any JSON value."""

from collections.abc import Mapping
from typing import cast


def as_text(data: object) -> str:
    """Return a value if it is a string; an empty string otherwise."""
    return data if isinstance(data, str) else ""


def as_mapping(data: object) -> Mapping[str, object]:
    """Return a value if it is a JSON object; an empty one otherwise."""
    return cast("Mapping[str, object]", data) if isinstance(data, Mapping) else {}


def text_at(data: object, key: str) -> str | None:
    """Return the string under a key: empty if the key is absent, None if its value is not a string."""
    value = as_mapping(data).get(key, "")
    return value if isinstance(value, str) else None


def pick(values: Mapping[str, object], *keys: str) -> dict[str, object]:
    """Return a copy of a mapping with only some keys; absent keys stay absent."""
    return {key: values[key] for key in keys if key in values}
