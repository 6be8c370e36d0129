"""Forgets what channels on which nothing happens any more keep for those who resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.storage.contract import ChannelStorage

_AT_LEAST_MS: Final = 50


class Sweep:
    """Trims the logs of channels when they are too old to be resumed from.

    A channel trims its own log when something is published on it; most conversations end, and their logs
    would stay.

    Args:
        clock: Where time comes from.
        retention_ms: How far back a channel can be resumed.
    """

    def __init__(self, clock: Clock, retention_ms: int) -> None:
        self._clock = clock
        self._retention_ms = retention_ms
        self._due: dict[ChannelStorage, None] = {}
        self._timer: Timer | None = None

    def note(self, storage: ChannelStorage) -> None:
        """Note that a channel's log has grown."""
        self._due[storage] = None
        if self._timer is None:
            self._timer = self._clock.call_later(max(self._retention_ms, _AT_LEAST_MS), self._run)

    def close(self) -> None:
        """Forget all channels."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._due.clear()

    def _run(self) -> None:
        self._timer = None
        due, self._due = self._due, {}
        before = self._clock.now() - self._retention_ms
        for storage in due:
            if storage.trim(before):
                self.note(storage)
