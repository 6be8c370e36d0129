"""Session names: a session is one channel, and its name is the channel's."""

from ably_ai_transport.wire.errors import InvalidArgumentError


def check_session_name(name: str) -> str:
    """Refuse names that would make Ably do more than open a channel.

    A name that begins with a qualifier, such as ``[?rewind=100]chat`` or ``[meta]chat``, changes how the
    channel is attached, or names another channel. A session name often comes from outside: it has none.

    Args:
        name: The name of a session or channel.

    Returns:
        The name.

    Raises:
        InvalidArgumentError: The name is empty, or begins with a qualifier.
    """
    if not name:
        raise InvalidArgumentError("unable to open session; its name is empty")
    if name.startswith("["):
        raise InvalidArgumentError(
            "unable to open session; its name begins with a channel qualifier (drop the part in brackets)"
        )
    return name
