"""Channels: the Ably SDK behind a small protocol."""

from __future__ import annotations

import math
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
    client: ChannelClient,
    name: str,
    *,
    agents: Sequence[tuple[str, str]] = (),
    modes: Sequence[str] = (),
    merge_appends: bool = False,
) -> Channel:
    """Open a channel for one session.

    Args:
        client: An ``ably.AblyRealtime``, or a :class:`ChannelSource`.
        name: The channel's name.
        agents: Name and version of each library that uses it.
        modes: Channel modes beyond the default ones.
        merge_appends: Whether appends to one message that wait to be sent are merged. A
            :class:`ChannelSource` decides for itself.

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

    return client_of(cast("Realtime", client)).open(name, agents, modes, merge_appends=merge_appends)


def limit_publish_rate(client: AblyRealtime, per_second: float | None) -> None:
    """Choose the rate at which all sessions on an Ably client publish together.

    Without it, they publish at four fifths of the rate that the server announces, or of Ably's default of 50
    messages a second, slow down when the server refuses a publish for rate, and speed up again.

    Args:
        client: The Ably client.
        per_second: Messages a second; None for no limit until the server refuses some.

    Raises:
        InvalidArgumentError: The rate is not a positive number (40003).

    Example:
        >>> limit_publish_rate(ably, 200)  # an account with a higher limit  # doctest: +SKIP
    """
    rate: float = math.inf if per_second is None else per_second
    if type(rate) not in (int, float) or not rate > 0:
        raise InvalidArgumentError(
            f"unable to limit publish rate; it must be a positive number of messages a second, got {rate!r}"
        )
    from ably_ai_transport.channel.ably.client import client_of

    client_of(cast("Realtime", client)).choose_rate(rate)


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
    "limit_publish_rate",
    "open_channel",
    "resolve_channel_modes",
]
