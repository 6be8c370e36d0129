"""Append roll-up: appends that arrive close together become one (Ably, documentation of appends)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.core.acks import Slot
    from ably_ai_transport.local.protocol.frames import Data
    from ably_ai_transport.local.protocol.messages import Submission

Publish: TypeAlias = "Callable[[str, Submission, list[Slot]], None]"
"""Publishes a merged append on a channel; the slots are those to acknowledge."""


class _Window:
    """The time after an append during which further ones wait."""

    __slots__ = ("parts", "slots", "submission", "timer")

    def __init__(self) -> None:
        self.timer: Timer | None = None
        self.submission: Submission | None = None
        self.parts: list[Data] = []
        self.slots: list[Slot] = []


class Rollup:
    """The appends of one connection that wait for their window to end.

    The first append after a quiet window passes at once; those within the window are concatenated, with
    the extras and the operation of the last one.
    """

    def __init__(self, window_ms: int, clock: Clock, publish: Publish) -> None:
        self.window_ms = window_ms
        self._clock = clock
        self._publish_append = publish
        self._windows: dict[tuple[str, str], _Window] = {}

    def offer(self, channel: str, submission: Submission, slot: Slot) -> None:
        """Publish an append now or at the end of its window."""
        key = (channel, cast("str", submission.serial))
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window()
            self._publish_append(channel, submission, [slot])
        else:
            held = window.submission
            if held is not None and not _fits(held, submission):
                self._publish(key[0], window)
                held = None
            window.submission = submission if held is None else _merge(held, submission)
            window.parts.append(submission.data)
            window.slots.append(slot)
        if window.timer is None:
            window.timer = self._clock.call_later(self.window_ms, lambda: self._end(key))

    def flush(self) -> None:
        """Publish all that waits: something else of the connection is about to happen."""
        windows, self._windows = self._windows, {}
        for key, window in windows.items():
            if window.timer is not None:
                window.timer.cancel()
            self._publish(key[0], window)

    @property
    def is_idle(self) -> bool:
        """Whether there is no window open."""
        return not self._windows

    def _end(self, key: tuple[str, str]) -> None:
        window = self._windows[key]
        window.timer = None
        if window.submission is None:
            del self._windows[key]
            return
        self._publish(key[0], window)
        window.timer = self._clock.call_later(self.window_ms, lambda: self._end(key))

    def _publish(self, channel: str, window: _Window) -> None:
        submission = window.submission
        if submission is None:
            return
        parts, slots = window.parts, window.slots
        window.submission, window.parts, window.slots = None, [], []
        if len(parts) > 1:
            present = [part for part in parts if part is not None]
            if present:
                joined = (
                    "".join(cast("list[str]", present))
                    if isinstance(present[0], str)
                    else b"".join(cast("list[bytes]", present))
                )
                submission = replace(submission, data=joined)
        self._publish_append(channel, submission, slots)


def _fits(held: Submission, later: Submission) -> bool:
    same_type = held.data is None or later.data is None or type(held.data) is type(later.data)
    return same_type and held.encoding == later.encoding and held.client_id == later.client_id


def _merge(held: Submission, later: Submission) -> Submission:
    """Return the later append with what it leaves out taken from the earlier; data is joined at the end."""
    return replace(
        later,
        data=later.data if later.data is not None else held.data,
        extras=later.extras if later.extras is not None else held.extras,
        name=later.name if later.name is not None else held.name,
        description=later.description if later.description is not None else held.description,
        metadata=later.metadata if later.metadata is not None else held.metadata,
    )
