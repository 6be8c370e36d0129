"""One Ably client, as all the sessions on it share it."""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.channel.ably_channel import AblyChannel
from ably_ai_transport.channel.agent import agent_string, identify, merged
from ably_ai_transport.channel.auth import renew_token_strings
from ably_ai_transport.channel.frames import FrameGuard
from ably_ai_transport.channel.guard import ConnectionGuard
from ably_ai_transport.channel.modes import resolve_channel_modes
from ably_ai_transport.channel.rest_history import RestHistory
from ably_ai_transport.channel.shared_channel import SharedChannel
from ably_ai_transport.wire import AITransportError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably.types.channelmode import ChannelMode

    from ably_ai_transport.channel.sdk import Frame, Realtime, RealtimeChannel

MAX_FRAME_SIZE: Final = 524288
"""Bytes that a publish may have where the server's limit is not known: the size that breaks connections."""

_KEPT_AS: Final = "_ably_ai_transport"
_IN_USE = frozenset({"attached", "attaching"})


class AblyClient:
    """The guards, the history and the open channels of one ``ably.AblyRealtime``.

    It lives as long as the client does, and is kept by it.

    Args:
        client: The client. It stays the caller's to close.

    Attributes:
        realtime: The client.
        history: Reads histories with its credentials.
        writer: Sends publishes.
        max_message_size: Bytes that a publish may have, as far as the server has said so.
    """

    def __init__(self, client: Realtime) -> None:
        self.realtime = client
        self.history = RestHistory(client)
        limit: object = getattr(client.options, "max_message_size", None)
        self.max_message_size = limit if isinstance(limit, int) else MAX_FRAME_SIZE
        self._shared: dict[str, SharedChannel] = {}
        manager = client.connection.connection_manager
        self.writer = ConnectionGuard(manager, FrameGuard(manager, self).watch).writer
        # The SDK's idle timer does not see the websocket's own pings; protocol heartbeats it sees.
        client.options.transport_params.setdefault("heartbeats", "true")
        renew_token_strings(client)

    def open(self, name: str, agents: Sequence[tuple[str, str]], modes: Sequence[str]) -> AblyChannel:
        """Open a channel for one session.

        Args:
            name: The channel's name.
            agents: Name and version of each library that uses it.
            modes: Channel modes beyond the default ones.

        Returns:
            The channel.

        Raises:
            AITransportError: There is no such mode (40003), or the channel is attached without it (40000).
        """
        agent = agent_string(agents)
        wanted = [_sdk_mode(mode) for mode in resolve_channel_modes(modes)]
        identify(self.realtime.options.transport_params, agent)
        shared = self._shared.get(name)
        ours = name not in self.realtime.channels
        channel = self._sdk_channel(name, agent, wanted)
        if shared is None:
            shared = self._shared[name] = SharedChannel(self, channel, ours=ours)
        return AblyChannel(self, shared)

    def forget(self, shared: SharedChannel, *, sdk_too: bool) -> None:
        """Let go of a channel that no session uses; also in the SDK, which otherwise keeps it for ever."""
        if self._shared.get(shared.name) is shared:
            del self._shared[shared.name]
            if sdk_too:
                self.realtime.channels.release(shared.name)

    # What the frames tell

    def has_channel(self, name: str) -> bool:
        """Tell whether the SDK still has a channel."""
        return name in self.realtime.channels

    def on_connected(self, max_message_size: int | None) -> None:
        """Learn the server's limit, which the SDK does not keep."""
        if max_message_size is not None:
            self.max_message_size = max_message_size

    def on_attached(self, name: str, serial: str | None, *, resumed: bool, error: Frame | None) -> None:
        """Pass an ATTACHED on."""
        if name in self._shared:
            self._shared[name].on_attached(serial, resumed=resumed, error=error)

    def on_detached(self, name: str, error: Frame | None) -> None:
        """Pass a DETACHED on."""
        if name in self._shared:
            self._shared[name].on_detached(error)

    def _sdk_channel(self, name: str, agent: str, modes: Sequence[ChannelMode]) -> RealtimeChannel:
        """Get the SDK's channel, with the options that the application or other sessions gave it."""
        from ably.types.channeloptions import ChannelOptions

        channels = self.realtime.channels
        if name not in channels:
            return channels.get(name, ChannelOptions(params={"agent": agent}, modes=list(modes) or None))
        channel = channels.get(name)
        if channel.state in _IN_USE:
            # The SDK refuses options that differ in any way from those of an attached channel.
            granted = {int(cast("int", mode)) for mode in (channel.options or {}).get("modes") or ()}
            missing = [mode for mode in modes if int(mode) not in granted]
            if missing:
                raise AITransportError(
                    f"unable to open channel; {name!r} is attached already, with other modes",
                    ErrorCode.BAD_REQUEST,
                    400,
                )
            return channel
        options = channel.options or {}
        params: dict[str, str] = dict(options.get("params") or {})
        params["agent"] = merged(params.get("agent", ""), agent)
        known: list[ChannelMode] = options.get("modes") or []
        return channels.get(
            name,
            ChannelOptions(
                cipher=options.get("cipher"),
                params=params,
                modes=[*known, *(mode for mode in modes if mode not in known)] or None,
            ),
        )


class _ObjectMode(IntFlag):
    """Modes that the SDK does not know, and passes on to the server when it is given them."""

    OBJECT_SUBSCRIBE = 1 << 24
    OBJECT_PUBLISH = 1 << 25


def _sdk_mode(mode: str) -> ChannelMode:
    from ably.types.channelmode import ChannelMode

    for known in (ChannelMode, _ObjectMode):
        if mode in known.__members__:
            return cast("ChannelMode", known[mode])
    raise AITransportError(
        f"unable to open channel; there is no channel mode {mode!r}", ErrorCode.INVALID_ARGUMENT, 400
    )


def client_of(realtime: Realtime) -> AblyClient:
    """Return what is shared on an Ably client.

    Args:
        realtime: The client.

    Returns:
        The same object for the same client.
    """
    found: AblyClient | None = getattr(realtime, _KEPT_AS, None)
    if found is None:
        found = AblyClient(realtime)
        setattr(realtime, _KEPT_AS, found)
    return found
