"""Who a session is: to Ably as a library, to the conversation as a client."""

from collections.abc import Sequence

from ably_ai_transport.channel import Channel
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.version import __version__
from ably_ai_transport.wire import AITransportError, ErrorCode

SDK_NAME = "ai-transport-python"


def agents_of(codec: Codec[InT, OutT, ProjT, MsgT]) -> Sequence[tuple[str, str]]:
    """List the libraries that a session identifies itself with.

    Args:
        codec: The codec, which may have a name of its own.

    Returns:
        Names and versions.
    """
    agents = [(SDK_NAME, __version__)]
    if codec.adapter_tag is not None:
        agents.append((codec.adapter_tag, __version__))
    return agents


def usable_client_id(channel: Channel) -> str | None:
    """Return the client id that a channel publishes under; None when anonymous or a wildcard."""
    return channel.client_id if channel.client_id not in ("", "*") else None


def no_objects_error() -> AITransportError:
    """Describe why there are no LiveObjects."""
    return AITransportError(
        "unable to use LiveObjects; the Ably SDK for Python does not support them",
        ErrorCode.INVALID_ARGUMENT,
        400,
    )
