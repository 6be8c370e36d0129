"""The channels of an app: made once a step on them is permitted, released when nothing is left of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ably_ai_transport.local.core.channel import HELD_BY_CHANNEL, Channel
from ably_ai_transport.local.core.rates import channel_rate
from ably_ai_transport.local.protocol.refusals import too_many_channels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.core.commits import Commits
    from ably_ai_transport.local.core.limits import Quota
    from ably_ai_transport.local.options import LocalServerOptions
    from ably_ai_transport.local.protocol.serials import SerialMinter
    from ably_ai_transport.local.stats import Stats
    from ably_ai_transport.local.storage.contract import Storage

_AT_LEAST_MS: Final = 50


class Channels:
    """The channels of an app by name.

    A sweep visits the recently used channels, once per retention. It trims their logs, which
    otherwise only a publish does, and it releases channels that hold nothing and that no client can resume.
    """

    def __init__(
        self,
        storage: Storage,
        minter: SerialMinter,
        quota: Quota,
        commits: Commits,
        *,
        options: LocalServerOptions,
        clock: Clock,
        stats: Stats,
    ) -> None:
        self._storage = storage
        self._minter = minter
        self._quota = quota
        self._commits = commits
        self._options = options
        self._clock = clock
        self._stats = stats
        self._channels: dict[str, Channel] = {}
        self._due: dict[Channel, None] = {}
        self._timer: Timer | None = None

    def open(self, name: str) -> Channel:
        """Return a channel, made when missing, for a client that is permitted to use it.

        Raises:
            RefusedError: 40114, the app has too many channels; 40112, it holds too much.
        """
        channel = self._channels.get(name)
        if channel is None:
            limit = self._options.limits.max_channels
            if len(self._channels) >= limit:
                raise too_many_channels(limit)
            self._quota.check(HELD_BY_CHANNEL)
            channel = self._make(name)
        return channel

    def discard(self, name: str) -> None:
        """Let go of a channel that was opened for a step that was then refused, if it is a new one."""
        channel = self._channels.get(name)
        if channel is not None and channel.is_new:
            self._release(channel)

    def find(self, name: str) -> Channel | None:
        """Return a channel; None when it does not exist."""
        return self._channels.get(name)

    def all(self) -> Iterable[Channel]:
        """Return all channels."""
        return self._channels.values()

    def reload(self) -> None:
        """Drop all channels and open those that the storage holds."""
        for channel in list(self._channels.values()):
            self._forget(channel)
        for name in self._storage.names():
            self._make(name)

    def close(self) -> None:
        """End the sweep."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._due.clear()

    def _make(self, name: str) -> Channel:
        options = self._options
        channel = self._channels[name] = Channel(
            name,
            self._storage.channel(name),
            self._minter,
            self._quota,
            self._commits,
            clock=self._clock,
            mutable=options.is_mutable(name),
            retention_ms=options.retention_ms,
            max_members=options.limits.max_members,
            max_accumulated=options.limits.max_accumulated_size,
            note=self._note,
            rate=channel_rate(options.limits.channel_rate, self._clock),
            # Every step of a channel in a durable storage came after the origin of its series.
            origin=self._minter.origin if self._storage.is_durable else None,
        )
        self._stats.channels += 1
        self._note(channel)
        return channel

    def _forget(self, channel: Channel) -> None:
        del self._channels[channel.name]
        self._due.pop(channel, None)
        channel.release()
        self._stats.channels -= 1

    def _release(self, channel: Channel) -> None:
        self._forget(channel)
        self._storage.release(channel.name)

    # The sweep

    def _note(self, channel: Channel) -> None:
        """Note that a channel was used."""
        self._due[channel] = None
        if self._timer is None:
            self._timer = self._clock.call_later(max(self._options.retention_ms, _AT_LEAST_MS), self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        due, self._due = self._due, {}
        for channel in due:
            more = channel.tidy()
            if channel.is_idle:
                self._release(channel)
            elif more:
                self._note(channel)
