"""Channels: the Ably SDK behind a small protocol."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from ably_ai_transport.channel.ably.endpoint import client_options, connect, opened
from ably_ai_transport.channel.ably.modes import BASE_MODES, OBJECT_MODES, resolve_channel_modes
from ably_ai_transport.channel.ably.pool import AblyPool
from ably_ai_transport.channel.ably.sdk import is_ably_client, sdk
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
    from collections.abc import Mapping, Sequence

    from ably import AblyRealtime

    from ably_ai_transport.channel.ably.sdk import Realtime

ChannelClient: TypeAlias = "AblyRealtime | AblyPool | ChannelSource"
"""A client that sessions are opened on: an Ably client, a pool of them, or any other source of channels."""

_MIN_HEARTBEAT_SECONDS: Final = 0.1


def make_client(options: Mapping[str, Any]) -> AblyRealtime:
    """Make an Ably client with the installed SDK: ``ably`` 3 or ``ably-pubsub-server`` 4.

    Args:
        options: The SDK's keyword arguments.

    Returns:
        The client, connecting.
    """
    return sdk().client(**options)


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
        client: An ``ably.AblyRealtime``, an :class:`AblyPool` of them, or a :class:`ChannelSource`.
        name: The channel's name.
        agents: Name and version of each library that uses it.
        modes: Channel modes beyond the default ones.
        merge_appends: Whether appends to one message that wait to be sent are merged. A
            :class:`ChannelSource` decides for itself.

    Returns:
        The channel, not attached yet.

    Raises:
        InvalidArgumentError: The name is empty or begins with a channel qualifier, a mode is not known, or
            the client is none of these.
        AITransportError: The channel is attached already, without one of the modes (40000); or the pool has
            no client for it.
    """
    check_session_name(name)
    if isinstance(client, ChannelSource):
        return client.open_channel(name, agents=agents, modes=modes)
    if isinstance(client, AblyPool):
        client = client.client_for(name)
    if not is_ably_client(client):
        raise InvalidArgumentError(
            f"unable to open channel; {type(client).__name__} is no ably.AblyRealtime (nor a ChannelSource)"
        )
    from ably_ai_transport.channel.ably.client import client_of

    return client_of(cast("Realtime", client)).open(name, agents, modes, merge_appends=merge_appends)


def limit_publish_rate(client: AblyRealtime, per_second: float | None) -> None:
    """Choose the rate at which all sessions on an Ably client publish together.

    Without it, they publish at four fifths of the rate that the server announces. Where that is not known,
    because the client was connected before its first session was opened, they begin with four fifths of
    Ably's default of 50 messages a second, and try out more while messages wait. When the server refuses a
    publish for rate, they slow down, and speed up again.

    Args:
        client: The Ably client. For the clients of a pool, call this in the pool's factory.
        per_second: Messages a second; None for no limit until the server refuses some.

    Raises:
        InvalidArgumentError: The client is no Ably client, or the rate is not a positive number (40003).

    Example:
        >>> limit_publish_rate(ably, 200)  # an account with a higher limit  # doctest: +SKIP
    """
    _check_ably_client("limit publish rate", client)
    rate: float = math.inf if per_second is None else per_second
    if type(rate) not in (int, float) or not rate > 0:
        raise InvalidArgumentError(
            f"unable to limit publish rate; it must be a positive number of messages a second, got {rate!r}"
        )
    from ably_ai_transport.channel.ably.client import client_of

    client_of(cast("Realtime", client)).choose_rate(rate)


def set_heartbeat_interval(client: AblyRealtime, seconds: float) -> None:
    """Choose how soon a client finds out that its connection is dead, though its socket is still open.

    After this much silence of the server, the client asks for a heartbeat. If none comes within the same
    time, or within 2 s where that is shorter, the client reconnects and resumes. Without this setting, the
    silence may last 3 s while publishes have no ack, and as long as the server announces otherwise
    (``maxIdleInterval``: 15 s on Ably). Each heartbeat costs one small frame in either direction, and only
    silent connections have any.

    Args:
        client: The Ably client. For the clients of a pool, call this in the pool's factory.
        seconds: The silence, at least 0.1.

    Raises:
        InvalidArgumentError: The client is no Ably client, or the silence is no such number (40003).

    Example:
        >>> set_heartbeat_interval(ably, 1.0)  # recovers within about 3 s  # doctest: +SKIP
    """
    _check_ably_client("set heartbeat interval", client)
    if not (_is_number(seconds) and _MIN_HEARTBEAT_SECONDS <= seconds < math.inf):
        raise InvalidArgumentError(
            f"unable to set heartbeat interval; it must be a number of seconds of at least"
            f" {_MIN_HEARTBEAT_SECONDS}, got {seconds!r}"
        )
    from ably_ai_transport.channel.ably.client import client_of

    client_of(cast("Realtime", client)).choose_heartbeat_interval(seconds)


def _check_ably_client(action: str, client: object) -> None:
    if not is_ably_client(client):
        raise InvalidArgumentError(f"unable to {action}; {type(client).__name__} is no ably.AblyRealtime")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


__all__ = [
    "BASE_MODES",
    "OBJECT_MODES",
    "AblyPool",
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
    "client_options",
    "connect",
    "limit_publish_rate",
    "make_client",
    "open_channel",
    "opened",
    "resolve_channel_modes",
    "set_heartbeat_interval",
]
