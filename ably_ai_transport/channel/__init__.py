"""Channels: the Ably SDK behind a small protocol."""

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
    Presence,
    PresenceMember,
    StateListener,
    Unsubscribe,
)
from ably_ai_transport.wire import InvalidArgumentError
from ably_ai_transport.wire.session_name import check_session_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably import AblyRealtime

    from ably_ai_transport.channel.ably.sdk import Realtime

ChannelClient: TypeAlias = "AblyRealtime | ChannelSource"
"""A client that sessions are opened on: an Ably client, or any other source of channels."""


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
        InvalidArgumentError: The name is empty or begins with a channel qualifier, a mode is not known, or
            the client is neither.
        AITransportError: The channel is attached already, without one of the modes (40000).
    """
    check_session_name(name)
    if isinstance(client, ChannelSource):
        return client.open_channel(name, agents=agents, modes=modes)
    if not hasattr(client, "connection") or not hasattr(client, "channels"):
        raise InvalidArgumentError(
            f"unable to open channel; {type(client).__name__} is no ably.AblyRealtime (nor a ChannelSource)"
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
    "Presence",
    "PresenceMember",
    "StateListener",
    "Unsubscribe",
    "open_channel",
    "resolve_channel_modes",
]
