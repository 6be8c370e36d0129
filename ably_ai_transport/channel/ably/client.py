"""One Ably client, as all sessions on it share it."""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.channel.ably.auth import renew_token_strings
from ably_ai_transport.channel.ably.channel import AblyChannel
from ably_ai_transport.channel.ably.frames import FrameGuard
from ably_ai_transport.channel.ably.guard import ConnectionGuard
from ably_ai_transport.channel.ably.heartbeat import Heartbeat
from ably_ai_transport.channel.ably.history import RestHistory
from ably_ai_transport.channel.ably.modes import resolve_channel_modes
from ably_ai_transport.channel.ably.reconnects import Reconnects
from ably_ai_transport.channel.ably.sdk import sdk
from ably_ai_transport.channel.ably.shared import SharedChannel
from ably_ai_transport.channel.ably.user_agent import agent_string, identify, merged
from ably_ai_transport.channel.ably.writer import MAX_FRAME_SIZE, Writer
from ably_ai_transport.wire import AITransportError, ErrorCode, InvalidArgumentError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ably_ai_transport.channel.ably.sdk import Realtime, RealtimeChannel

_KEPT_AS: Final = "_ably_ai_transport"
_IN_USE: Final = frozenset({"attached", "attaching"})


class AblyClient:
    """The guards, the writer, the heartbeat, the history and the open channels of one Ably client.

    It lives as long as the client does, and the client keeps it.

    Args:
        client: The client. It stays the caller's to close.
    """

    def __init__(self, client: Realtime) -> None:
        self._realtime = client
        self._history = RestHistory(client)
        self._shared: dict[str, SharedChannel] = {}
        limit: object = getattr(client.options, "max_message_size", None)
        manager = client.connection.connection_manager
        self._writer = Writer(manager, limit if isinstance(limit, int) else MAX_FRAME_SIZE)
        self._heartbeat = Heartbeat(manager)
        frames = FrameGuard(client, self._writer, self._shared, self._heartbeat)
        ConnectionGuard(client, self._writer, frames, Reconnects(manager, self._shared))
        # The SDK's idle timer does not see the websocket's own pings; protocol heartbeats it sees.
        client.options.transport_params.setdefault("heartbeats", "true")
        renew_token_strings(client)

    @property
    def channels(self) -> Collection[str]:
        """The names of the channels that sessions use, or are leaving."""
        return self._shared.keys()

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return sum(shared.sessions for shared in self._shared.values())

    def choose_heartbeat_interval(self, seconds: float) -> None:
        """Probe the connection after this much silence."""
        self._heartbeat.choose_interval(seconds)

    def open(
        self, name: str, agents: Sequence[tuple[str, str]], modes: Sequence[str], *, merge_appends: bool
    ) -> AblyChannel:
        """Open a channel for one session.

        Args:
            name: The channel's name.
            agents: Name and version of each library that uses it.
            modes: Channel modes beyond the default ones.
            merge_appends: Whether appends that wait are merged.

        Returns:
            The channel.

        Raises:
            InvalidArgumentError: There is no such mode.
            AITransportError: The channel is attached without it (40000).
        """
        agent = agent_string(agents)
        wanted = [_sdk_mode(mode) for mode in resolve_channel_modes(modes)]
        identify(self._realtime.options.transport_params, agent)
        shared = self._shared.get(name)
        ours = name not in self._realtime.channels
        channel = self._sdk_channel(name, agent, wanted)
        if shared is None:
            shared = self._shared[name] = SharedChannel(self._realtime, channel, self._shared, ours=ours)
        return AblyChannel(self._realtime, shared, self._writer, self._history, merges=merge_appends)

    def choose_rate(self, rate: float) -> None:
        """Publish at this rate, in messages a second, whatever the server announces."""
        self._writer.choose_rate(rate)

    def _sdk_channel(self, name: str, agent: str, modes: Sequence[int]) -> RealtimeChannel:
        """Get the SDK's channel, with the options that the application or other sessions gave it."""
        channels = self._realtime.channels
        if name not in channels:
            return channels.get(
                name, sdk().channel_options(params={"agent": agent}, modes=list(modes) or None)
            )
        channel = channels.get(name)
        if channel.state in _IN_USE:
            # The SDK refuses options that differ in any way from those of an attached channel.
            granted = {int(mode) for mode in (channel.options or {}).get("modes") or ()}
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
        known: list[int] = options.get("modes") or []
        return channels.get(
            name,
            sdk().channel_options(
                cipher=options.get("cipher"),
                params=params,
                modes=[*known, *(mode for mode in modes if mode not in known)] or None,
            ),
        )


class _ObjectMode(IntFlag):
    """Modes that the SDK does not know, and passes on to the server when it is given them."""

    OBJECT_SUBSCRIBE = 1 << 24
    OBJECT_PUBLISH = 1 << 25


def _sdk_mode(mode: str) -> int:
    for known in (sdk().channel_mode, _ObjectMode):
        if mode in known.__members__:
            return cast("int", known[mode])
    raise InvalidArgumentError(f"unable to open channel; there is no channel mode {mode!r}")


def client_of(realtime: Realtime) -> AblyClient:
    """Return the state that the sessions on an Ably client share.

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
