"""Messages for channels that the application has given a cipher."""

from typing import Any, cast

from ably_ai_transport.channel.ably.sdk import sdk
from ably_ai_transport.channel.payload import CREATE, Frame
from ably_ai_transport.wire import OutboundMessage


def encrypted(message: OutboundMessage, action: int, cipher: object, *, binary: bool) -> Frame:
    """Write a message as the SDK does for an encrypted channel.

    Args:
        message: The message.
        action: The action's number in the protocol.
        cipher: The channel's cipher.
        binary: Whether the connection speaks msgpack.

    Returns:
        The message's part of a frame.
    """
    encoded: Any = sdk().message(
        name=message.name,
        data=message.data,
        extras=message.extras or None,
        serial=message.serial,
        action=None if action == CREATE else sdk().message_action(action),
    )
    encoded.encrypt(cipher)
    return cast("Frame", encoded.as_dict(binary=binary))
