"""Messages in the protocol's terms, checked before anything enters the SDK.

A message that the SDK cannot encode leaves a ghost among its unanswered messages (ably 3.1.4), and one that
is too large costs a round trip. Both are refused here.
"""

import base64
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from ably_ai_transport.wire import AITransportError, InvalidArgumentError, OutboundMessage
from ably_ai_transport.wire.errors import MESSAGE_TOO_LARGE

Frame: TypeAlias = dict[str, Any]
"""A protocol message, or a message in one."""

CREATE: Final = 0
UPDATE: Final = 1
APPEND: Final = 5

_ID_BYTES: Final = 9
_OVERHEAD = 6
"""Bytes that JSON puts around one header: quotes, colon, comma."""


def new_message_id() -> str:
    """Make up the id of a publish, by which the server recognizes it when it arrives twice."""
    return secrets.token_urlsafe(_ID_BYTES)


def written_new(messages: Sequence[OutboundMessage], limit: int, *, binary: bool) -> tuple[list[Frame], int]:
    """Write new messages, with ids that make it safe to publish them again.

    The ids of a batch differ by their index only, which is the form that Ably asks for (RSL1k).

    Args:
        messages: The messages, which are published together.
        limit: Bytes that they may have together.
        binary: Whether the connection speaks msgpack.

    Returns:
        The messages' part of a frame, and their size.

    Raises:
        AITransportError: There is none or one cannot be written (40003), or they are too large (40009).
    """
    if not messages:
        raise InvalidArgumentError("unable to publish; there is no message")
    frames: list[Frame] = []
    size = 0
    base = messages[0].id or new_message_id()
    for index, message in enumerate(messages):
        frame: Frame = {"id": f"{base}:{index}"}
        if message.name is not None:
            frame["name"] = message.name
        size += _write(frame, message, binary=binary)
        frames.append(frame)
    if size > limit:
        raise _too_large(size, limit)
    return frames, size


def written_change(
    message: OutboundMessage, action: int, limit: int, *, binary: bool
) -> tuple[list[Frame], int]:
    """Write an append or an update.

    Args:
        message: The change.
        action: Which of the two.
        limit: Bytes that it may have.
        binary: Whether the connection speaks msgpack.

    Returns:
        The message's part of a frame, and its size.

    Raises:
        AITransportError: It names no message or cannot be written (40003), or it is too large (40009).
    """
    if not message.serial:
        raise InvalidArgumentError("unable to change a message; it names no serial")
    frame: Frame = {"action": action, "serial": message.serial}
    if message.name is not None:
        frame["name"] = message.name
    size = _write(frame, message, binary=binary)
    if size > limit:
        raise _too_large(size, limit)
    return [frame], size


def _write(frame: Frame, message: OutboundMessage, *, binary: bool) -> int:
    """Add data and extras to a frame and return the message's size as Ably counts it."""
    size = 0
    data = message.data
    what = "data"
    try:
        if isinstance(data, str):
            frame["data"] = data
            size = len(data) if data.isascii() else len(data.encode())
        elif isinstance(data, bytes | bytearray):
            frame |= {"data": bytes(data)} if binary else _in_base64(data)
            size = len(data)
        elif data is not None:
            text = _json(data)
            frame |= {"data": text, "encoding": "json"}
            size = len(text.encode())
        what = "name"
        name = message.name
        if name is not None:
            size += len(name) if name.isascii() else len(name.encode())
        if message.extras:
            what = "extras"
            frame["extras"] = message.extras
            size += _extras_size(message.extras)
    except (TypeError, ValueError, RecursionError) as error:
        reason = (
            "it holds half a character" if isinstance(error, UnicodeEncodeError) else type(error).__name__
        )
        raise InvalidArgumentError(
            f"unable to publish; {what} cannot be written: {reason}", cause=error
        ) from error
    return size


def _extras_size(extras: Mapping[str, object]) -> int:
    """Count a session's extras without encoding them: this is on the way of every token."""
    if len(extras) == 1 and "ai" in extras:
        tiers = extras["ai"]
        try:
            size = 0
            for name, headers in cast("Mapping[str, Mapping[str, str]]", tiers).items():
                # Joining fails on a value that is not text, and checks a whole tier for ASCII at once.
                text = "".join(headers) + "".join(headers.values())
                if not (text.isascii() and name.isascii()):
                    return len(_json(extras).encode())
                size += len(name) + len(text) + _OVERHEAD * (len(headers) + 1)
        except (TypeError, AttributeError):
            return len(_json(extras).encode())
        return size + _OVERHEAD
    return len(_json(extras).encode())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _in_base64(data: bytes | bytearray) -> Frame:
    return {"data": base64.b64encode(data).decode(), "encoding": "base64"}


def _too_large(size: int, limit: int) -> AITransportError:
    return AITransportError(
        f"unable to publish; the message has {size} bytes, the limit is {limit}", MESSAGE_TOO_LARGE
    )
