"""Tariff: the cost of a message in message credits and in byte credits."""

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final, cast

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipProtocolError
from ably_ai_transport_haip.protocol.messages import HaipMessage, size_of
from ably_ai_transport_haip.protocol.names import CONTROL, HaipChannel, HaipEventType

COUNTED_BY: Final = "counted_by"
"""The field of a handshake's ``capabilities.flow_control`` that names the tariff."""

_SCALAR_BYTES: Final = 8


class Tariff(StrEnum):
    """The two ways to count. Both sides of a session have to count alike.

    The specification leaves the cost of a message open. The reference peers charge each message. The guide to
    flow control counts whole texts, and bytes of text. A peer that announces ``content`` counts like the
    guide if the other side announces it, too, and charges each message otherwise.
    """

    MESSAGE = "message"
    """Each message costs one credit and the bytes of its frames."""
    CONTENT = "content"
    """A text costs one credit per part with text, any other message one. Bytes are those of the payload:
    of a text its characters as UTF-8, of audio the sound."""


def calculate_message_credits(message: HaipMessage) -> int:
    """Return the cost of a message: one credit on data channels, none for control messages.

    Args:
        message: The message.

    Returns:
        The number of message credits.
    """
    return 0 if is_free(message) else 1


def is_free(message: HaipMessage) -> bool:
    """Tell whether a message costs nothing: it is a control message, or on the channel ``SYSTEM``."""
    return (message.envelope.channel or HaipChannel.SYSTEM) == HaipChannel.SYSTEM or message.type in CONTROL


def message_credits(
    message: HaipMessage, tariff: Tariff, custom: Callable[[HaipMessage], int] | None = None
) -> int:
    """Return the cost of a message in message credits.

    Args:
        message: The message.
        tariff: The tariff of the session.
        custom: The function of the configuration that replaces the tariff.

    Returns:
        The number of message credits.
    """
    if is_free(message):
        return 0
    if custom is not None:
        return custom(message)
    if tariff is Tariff.MESSAGE:
        return 1
    match message.type:
        case HaipEventType.MESSAGE_START:
            return 1 if message.payload.get("text") else 0
        case HaipEventType.MESSAGE_END:
            return 0
        case _:
            return 1


def content_bytes(message: HaipMessage) -> int:
    """Return the bytes of a message's content: its text as UTF-8, its audio, and 8 for any other value.

    Both sides get the same number, whatever the payload looks like on the wire.

    Args:
        message: The message, to send or received.

    Returns:
        The number of bytes.

    Raises:
        HaipProtocolError: The payload is no JSON (INVALID_MESSAGE).
    """
    payload = message.payload
    match message.type:
        case HaipEventType.MESSAGE_PART | HaipEventType.MESSAGE_START | HaipEventType.MESSAGE_END:
            text = payload.get("text")
            return size_of(text) if isinstance(text, str) else 0
        case HaipEventType.AUDIO_CHUNK:
            data = payload.get("data")
            if isinstance(data, str):
                return len(data) * 3 // 4 - data[-2:].count("=")
            return _body_bytes(message)
        case _:
            try:
                return _value_bytes(payload) + _body_bytes(message)
            except (TypeError, ValueError, RecursionError) as error:
                raise HaipProtocolError(
                    f"unable to write {message.type}; its payload is no JSON ({error})",
                    HaipErrorCode.INVALID_MESSAGE,
                ) from error


def _body_bytes(message: HaipMessage) -> int:
    return message.bin_len or 0 if message.binary is None else len(message.binary)


def _value_bytes(value: object) -> int:
    if isinstance(value, str):
        return size_of(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        return sum(size_of(str(key)) + _value_bytes(inner) for key, inner in items)
    if isinstance(value, list | tuple):
        return sum(map(_value_bytes, cast("list[object]", value)))
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not in JSON")
    if value is None or isinstance(value, int | float):
        return _SCALAR_BYTES
    raise TypeError(f"{type(value).__name__} is not in JSON")
