"""Channels: the Ably SDK behind a small protocol, and channels in memory for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

from ably_ai_transport.channel.ably.modes import BASE_MODES, OBJECT_MODES, resolve_channel_modes
from ably_ai_transport.channel.contract import (
    Channel,
    ChannelSource,
    ChannelState,
    ChannelStateChange,
    HistoryPage,
    MessageListener,
    StateListener,
    Unsubscribe,
)
from ably_ai_transport.wire import AITransportError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably import AblyRealtime

    from ably_ai_transport.channel.ably.sdk import Realtime

ChannelClient: TypeAlias = "AblyRealtime | ChannelSource"
"""What sessions are opened on: an Ably client, or anything else that has channels."""


def open_channel(
    client: ChannelClient, name: str, *, agents: Sequence[tuple[str, str]] = (), modes: Sequence[str] = ()
) -> Channel:
    """Open a channel for one session.

    Args:
        client: An ``ably.AblyRealtime``, or a :class:`ChannelSource`.
        name: The channel's name.
        agents: Name and version of each library that uses it.
        modes: Channel modes beyond the default ones.

    Returns:
        The channel, not attached yet.

    Raises:
        AITransportError: The name is empty, a mode is not known, or the client is neither (40003).
    """
    if not name:
        raise AITransportError("unable to open channel; its name is empty", ErrorCode.INVALID_ARGUMENT, 400)
    if isinstance(client, ChannelSource):
        return client.open_channel(name, agents=agents, modes=modes)
    if not hasattr(client, "connection") or not hasattr(client, "channels"):
        raise AITransportError(
            f"unable to open channel; {type(client).__name__} is no ably.AblyRealtime (nor a ChannelSource)",
            ErrorCode.INVALID_ARGUMENT,
            400,
        )
    from ably_ai_transport.channel.ably.client import client_of

    return client_of(cast("Realtime", client)).open(name, agents, modes)


__all__ = [
    "BASE_MODES",
    "OBJECT_MODES",
    "Channel",
    "ChannelClient",
    "ChannelSource",
    "ChannelState",
    "ChannelStateChange",
    "HistoryPage",
    "MessageListener",
    "StateListener",
    "Unsubscribe",
    "open_channel",
    "resolve_channel_modes",
]
