"""Checks of what inputs are built from. Unknown fields pass."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, TypeVar, cast

from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from ably_ai_transport.wire import InvalidArgumentError
from ably_ai_transport_haip.codec.projection import HaipEntry, HaipText
from ably_ai_transport_haip.protocol import HaipMessage

T = TypeVar("T")
_OPEN = ConfigDict(extra="allow")
_Named = Annotated[str, StringConstraints(min_length=1)]


@with_config(_OPEN)
class _ToolResult(TypedDict):
    call_id: _Named


@with_config(_OPEN)
class _ToolResultError(TypedDict):
    call_id: _Named
    message: str


@cache
def _adapters() -> Mapping[str, TypeAdapter[object]]:
    # Built on first use: reading a channel never needs them.
    return {
        "tool result": cast("TypeAdapter[object]", TypeAdapter(_ToolResult)),
        "tool result error": cast("TypeAdapter[object]", TypeAdapter(_ToolResultError)),
    }


def check(what: str, value: T) -> T:
    """Check the payload of an input.

    Args:
        what: The kind of the input, in words: ``tool result`` or ``tool result error``.
        value: The payload, a dict.

    Returns:
        A copy of the payload; unknown fields are kept.

    Raises:
        InvalidArgumentError: A field is missing or of the wrong type; the message names it.
    """
    try:
        return cast("T", _adapters()[what].validate_python(value, strict=True))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or what
        raise InvalidArgumentError(f"unable to build {what}; {where}: {first['msg']}") from error


def check_user_message(message: HaipEntry) -> HaipEntry:
    """Check a user's message.

    Args:
        message: The message.

    Returns:
        The message.

    Raises:
        InvalidArgumentError: It is not a :class:`HaipEntry` of role ``user``, or it has no text.
    """
    if not isinstance(message, HaipEntry):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            f"unable to build user message; {type(message).__name__} is no HaipEntry (see haip_user_message)"
        )
    if message.role != "user":
        raise InvalidArgumentError(f"unable to build user message; its role is '{message.role}'")
    if not message.texts:
        raise InvalidArgumentError("unable to build user message; it has no text")
    for text in message.texts:
        _check_text(text)
    return message


def check_event(event: HaipMessage) -> None:
    """Check an event of an agent before anything of it is published.

    Args:
        event: The event.

    Raises:
        InvalidArgumentError: It is no :class:`HaipMessage`, or its payload is no object.
    """
    if not isinstance(event, HaipMessage):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(f"unable to publish; {type(event).__name__} is no HaipMessage")
    # A dict, and no abstract class: this runs for each token.
    if type(event.payload) is not dict and not isinstance(event.payload, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(
            f"unable to publish {event.type}; its payload is {type(event.payload).__name__}, not an object"
        )


def _check_text(text: HaipText) -> None:
    if not isinstance(text, HaipText):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidArgumentError(f"unable to build user message; {type(text).__name__} is no HaipText")
    for name, value in (("message_id", text.message_id), ("text", text.text), ("author", text.author or "")):
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgumentError(
                f"unable to build user message; {name} of a HaipText is {type(value).__name__}, not text"
            )
