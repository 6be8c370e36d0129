"""From the Ably SDK's values to ours: messages and errors."""

from typing import Final, cast

from ably_ai_transport.channel.sdk import Message, SdkError
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


def word(state: str) -> str:
    """Return a state of the SDK, a member of an enumeration of strings, as the plain word."""
    return str.__str__(state)


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
    from ably import AblyException

    if not isinstance(error, AblyException):
        return AITransportError(str(error) or type(error).__name__, fallback, cause=error)
    sdk = cast("SdkError", error)
    code, status = sdk.code, sdk.status_code
    if isinstance(code, int) and isinstance(status, int) and code < 1000 <= status:
        # ably 3.1.4 swaps the two where it closes a connection.
        code, status = status, code
    return AITransportError(
        sdk.message or type(error).__name__,
        code if isinstance(code, int) and code else fallback,
        status if isinstance(status, int) else None,
        error,
    )
