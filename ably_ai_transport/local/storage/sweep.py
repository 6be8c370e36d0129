"""Sweep: trims the logs of idle channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.storage.contract import ChannelStorage

_AT_LEAST_MS: Final = 50


class Sweep:
    """Trims the logs of channels once they are too old to resume from.

    A channel trims its log on each publish. Without the sweep, the log of a channel without further publishes
    would stay.

    Args:
        clock: The clock.
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
