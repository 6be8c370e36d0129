"""One Ably client, as all the sessions on it share it."""

from __future__ import annotations

import asyncio
import platform
from enum import IntFlag
from typing import TYPE_CHECKING, cast

from ably_ai_transport.channel.ably_channel import AblyChannel, SharedChannel
from ably_ai_transport.channel.auth import renew_jwt_strings
from ably_ai_transport.channel.convert import DEFAULT_MAX_MESSAGE_SIZE, to_error
from ably_ai_transport.channel.guard import ConnectionGuard
from ably_ai_transport.channel.modes import resolve_channel_modes
from ably_ai_transport.channel.rest_history import RestHistory
from ably_ai_transport.wire import AITransportError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ably.types.channelmode import ChannelMode

    from ably_ai_transport.channel.sdk import Frame, PublishResult, Realtime, RealtimeChannel


class AblyClient:
    """The guard, the history and the open channels of one ``ably.AblyRealtime``.

    Args:
        client: The client. It stays the caller's to close.
    """

    def __init__(self, client: Realtime) -> None:
        self.realtime = client
        self.manager = client.connection.connection_manager
        self._guard: ConnectionGuard | None = None
        self._history: RestHistory | None = None
        self._shared: dict[str, SharedChannel] = {}
        renew_jwt_strings(client.options)

    @property
    def history(self) -> RestHistory:
        """Reads histories with this client's credentials."""
        if self._history is None:
            self._history = RestHistory(
                self.realtime.options, self.realtime.options.transport_params["agent"]
            )
        return self._history

    @property
    def max_message_size(self) -> int:
        """The largest message, in bytes: the client's option of that name, or Ably's default.

        The SDK does not keep what the server told.
        """
        limit: object = getattr(self.realtime.options, "max_message_size", None)
        return limit if isinstance(limit, int) else DEFAULT_MAX_MESSAGE_SIZE

    def open(self, name: str, agents: Sequence[tuple[str, str]], modes: Sequence[str]) -> AblyChannel:
        """Open a channel for one session.

        Args:
            name: The channel's name.
            agents: Name and version of each library that uses it.
            modes: Channel modes beyond the default ones.

        Returns:
            The channel.
        """
        agent = " ".join(f"{library}/{version}" for library, version in agents)
        self._identify(agent)
        if self._guard is None:
            self._guard = ConnectionGuard(self.realtime)
        shared = self._shared.get(name)
        if shared is None:
            shared = self._shared[name] = SharedChannel(self, self._sdk_channel(name, agent, modes))
        return AblyChannel(shared)

    def forget(self, shared: SharedChannel) -> None:
        """Let go of a channel that no session uses; of the guard, too, with the last one."""
        if self._shared.get(shared.name) is shared:
            del self._shared[shared.name]
        if not self._shared:
            _clients.pop(self.realtime, None)
            if self._guard is not None:
                self._guard.close()
                self._guard = None

    async def close_history(self) -> None:
        """Close the history's connections where no session is left to use them."""
        if not self._shared and self._history is not None:
            history, self._history = self._history, None
            await history.close()

    async def send(self, frame: Frame) -> list[str | None]:
        """Send a protocol message and wait for the answer.

        Args:
            frame: The message.

        Returns:
            The serials in the answer.

        Raises:
            AITransportError: The server, or the SDK, refused.
        """
        try:
            result = await self.manager.send_protocol_message(frame)
        except Exception as error:  # noqa: BLE001 - the SDK lets the websocket library's errors through
            result = await self._answer_after_all(frame, error)
        return [] if result is None else list(result.serials)

    async def _answer_after_all(self, frame: Frame, error: Exception) -> PublishResult | None:
        """A publish whose socket died under it fails in the SDK, which sends it again all the same."""
        pending = None if self._guard is None else self._guard.find(frame)
        if pending is None or pending.future is None:
            raise to_error(error) from error
        try:
            return await asyncio.shield(pending.future)
        except Exception as answer:
            raise to_error(answer) from answer

    def _identify(self, agent: str) -> None:
        """Name the library on connections to come; the SDK offers no way to."""
        from ably import lib_version

        params = self.realtime.options.transport_params
        params.setdefault("heartbeats", "true")
        known = params.get("agent") or f"ably-python/{lib_version} python/{platform.python_version()}"
        added = [name for name in agent.split() if name not in known.split()]
        params["agent"] = " ".join([known, *added])

    def _sdk_channel(self, name: str, agent: str, modes: Sequence[str]) -> RealtimeChannel:
        from ably.types.channeloptions import ChannelOptions

        channels = self.realtime.channels
        if name in channels and channels.get(name).state in ("attached", "attaching"):
            # The SDK refuses options that differ in any way from those of an attached channel.
            return channels.get(name)
        wanted = [_sdk_mode(mode) for mode in resolve_channel_modes(modes)]
        return channels.get(name, ChannelOptions(params={"agent": agent}, modes=wanted or None))


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


_clients: dict[Realtime, AblyClient] = {}


def client_of(realtime: Realtime) -> AblyClient:
    """Return what is shared on an Ably client.

    Args:
        realtime: The client.

    Returns:
        The same object for the same client.
    """
    found = _clients.get(realtime)
    if found is None:
        found = _clients[realtime] = AblyClient(realtime)
    return found
