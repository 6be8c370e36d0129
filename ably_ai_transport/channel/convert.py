"""Between the Ably SDK's values and ours: messages both ways, and errors."""

import base64
import json
from typing import Final

from ably_ai_transport.channel.sdk import Frame, Message
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, MessageAction, OutboundMessage

MESSAGE_TOO_LARGE: Final = 40009
DEFAULT_MAX_MESSAGE_SIZE: Final = 65536

CREATE: Final = 0
UPDATE: Final = 1
APPEND: Final = 5

_ACTIONS: Final = {
    0: MessageAction.CREATE,
    1: MessageAction.UPDATE,
    2: MessageAction.DELETE,
    3: MessageAction.META,
    4: MessageAction.SUMMARY,
    5: MessageAction.APPEND,
}


def inbound(message: Message) -> InboundMessage:
    """Read a message of the SDK.

    The SDK leaves the action out where the server does, and the version's serial where it equals the
    message's; here both are always there.

    Args:
        message: The SDK's message.

    Returns:
        The message as a value.
    """
    action, version, data = message.action, message.version, message.data
    serial = message.serial
    return InboundMessage(
        MessageAction.CREATE if action is None else _ACTIONS.get(int(action), MessageAction.META),
        message.name,
        bytes(data) if isinstance(data, bytearray) else data,
        serial,
        (version.serial if version is not None else None) or serial,
        message.timestamp,
        message.client_id,
        message.connection_id,
        message.id,
        message.extras,
    )


def outbound(message: OutboundMessage, action: int, *, binary: bool) -> Frame:
    """Write a message as the protocol has it.

    Args:
        message: The message.
        action: What it does.
        binary: Whether the connection speaks msgpack.

    Returns:
        The message's part of a frame.

    Raises:
        AITransportError: The data is no text, bytes or JSON, or holds half a character (40003). The SDK would
            let such a message shift the answers to all later ones.
    """
    written: Frame = {"extras": message.extras} if message.extras else {}
    if message.name is not None:
        written["name"] = message.name
    if action != CREATE:
        written["action"] = action
        written["serial"] = message.serial
    data = message.data
    try:
        match data:
            case None:
                pass
            case str():
                data.encode()
                written["data"] = data
            case bytes() | bytearray():
                written |= {"data": bytes(data)} if binary else _in_base64(data)
            case _:
                text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
                text.encode()
                written |= {"data": text, "encoding": "json"}
    except (UnicodeEncodeError, TypeError, ValueError) as error:
        raise AITransportError(
            f"unable to publish; data cannot be written: {error}", ErrorCode.INVALID_ARGUMENT, 400, error
        ) from error
    return written


def check_size(messages: list[Frame], limit: int) -> None:
    """Refuse what the server would refuse: too large a message, or extras that cannot be written.

    Args:
        messages: The messages of one publish.
        limit: The largest size, in bytes of name, data and extras.

    Raises:
        AITransportError: The messages are too large (40009), or their extras cannot be written (40003).
    """
    try:
        size = sum(_size(message) for message in messages)
    except (UnicodeEncodeError, TypeError, ValueError) as error:
        raise AITransportError(
            f"unable to publish; extras cannot be written: {error}", ErrorCode.INVALID_ARGUMENT, 400, error
        ) from error
    if size > limit:
        raise AITransportError(
            f"unable to publish; the message has {size} bytes, the limit is {limit}", MESSAGE_TOO_LARGE, 400
        )


def to_error(error: BaseException, fallback: int = ErrorCode.INTERNAL_ERROR) -> AITransportError:
    """Turn what the SDK raises into an error of ours.

    Args:
        error: What was raised.
        fallback: The code where there is none.

    Returns:
        An error with the server's or the SDK's code.
    """
    if isinstance(error, AITransportError):
        return error
    code: object = getattr(error, "code", None)
    status: object = getattr(error, "status_code", None)
    if isinstance(code, int) and isinstance(status, int) and code < 1000 <= status:
        # ably 3.1.4 swaps the two where it closes a connection.
        code, status = status, code
    message: object = getattr(error, "message", None) or str(error) or type(error).__name__
    return AITransportError(
        str(message),
        code if isinstance(code, int) and code else fallback,
        status if isinstance(status, int) else None,
        error,
    )


def _in_base64(data: bytes | bytearray) -> Frame:
    return {"data": base64.b64encode(data).decode(), "encoding": "base64"}


def _size(message: Frame) -> int:
    size = len((message.get("name") or "").encode())
    data: object = message.get("data")
    if isinstance(data, str):
        size += len(data.encode())
    elif isinstance(data, bytes):
        size += len(data)
    extras: object = message.get("extras")
    if extras:
        size += len(json.dumps(extras, ensure_ascii=False, separators=(",", ":")).encode())
    return size
