"""From the Ably SDK's values to ours: messages and errors."""

from typing import Final

from ably_ai_transport.channel.sdk import Message
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, MessageAction

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
