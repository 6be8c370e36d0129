"""Append roll-up: appends that arrive close together become one (Ably's documentation of appends)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.clock import Clock, Timer
    from ably_ai_transport.local.core.acks import Slot
    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.protocol.frames import Data
    from ably_ai_transport.local.protocol.messages import Submission

PublishAppend: TypeAlias = "Callable[[Connection, str, Submission, list[Slot]], None]"
"""Publishes a merged append on a channel and acks the slots."""

_Key: TypeAlias = "tuple[str, str]"


class _Window:
    """The time after an append during which further ones wait."""

    __slots__ = ("parts", "slots", "submission", "timer")

    def __init__(self) -> None:
        self.timer: Timer | None = None
        self.submission: Submission | None = None
        self.parts: list[Data] = []
        self.slots: list[Slot] = []


class Rollup:
    """The appends that wait for their window to end, by connection and message.

    The first append after a quiet window passes at once. Those within the window are concatenated, with the
    extras and the operation of the last one.
    """

    def __init__(self, clock: Clock, publish: PublishAppend) -> None:
        self._clock = clock
        self._publish_append = publish
        self._windows: dict[Connection, dict[_Key, _Window]] = {}

    def offer(self, connection: Connection, label: str, submission: Submission, slot: Slot) -> None:
        """Publish an append now or at the end of its window."""
        windows = self._windows.setdefault(connection, {})
        key = (label, cast("str", submission.serial))
        window = windows.get(key)
        if window is None:
            window = windows[key] = _Window()
            self._publish_append(connection, label, submission, [slot])
        else:
            held = window.submission
            if held is not None and not _fits(held, submission):
                self._publish(connection, label, window)
                held = None
            window.submission = submission if held is None else _merge(held, submission)
            window.parts.append(submission.data)
            window.slots.append(slot)
        if window.timer is None:
            window.timer = self._clock.call_later(connection.rollup_ms, lambda: self._end(connection, key))

    def flush(self, connection: Connection) -> None:
        """Publish the waiting appends of a connection now, to keep the order with its next frame."""
        windows = self._windows.pop(connection, None)
        if windows is None:
            return
        for (label, _), window in windows.items():
            if window.timer is not None:
                window.timer.cancel()
            self._publish(connection, label, window)

    def holds(self, connection: Connection) -> bool:
        """Tell whether a connection has an open window."""
        return connection in self._windows

    def _end(self, connection: Connection, key: _Key) -> None:
        windows = self._windows[connection]
        window = windows[key]
        window.timer = None
        if window.submission is None:
            del windows[key]
            if not windows:
                del self._windows[connection]
            return
        self._publish(connection, key[0], window)
        window.timer = self._clock.call_later(connection.rollup_ms, lambda: self._end(connection, key))

    def _publish(self, connection: Connection, label: str, window: _Window) -> None:
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
        self._publish_append(connection, label, submission, slots)


def _fits(held: Submission, later: Submission) -> bool:
    same_type = held.data is None or later.data is None or type(held.data) is type(later.data)
    return same_type and held.encoding == later.encoding and held.client_id == later.client_id


def _merge(held: Submission, later: Submission) -> Submission:
    """Return the later append with missing fields from the earlier one; the data is joined at the end."""
    return replace(
        later,
        data=later.data if later.data is not None else held.data,
        extras=later.extras if later.extras is not None else held.extras,
        held_by_extras=later.held_by_extras if later.extras is not None else held.held_by_extras,
        name=later.name if later.name is not None else held.name,
        description=later.description if later.description is not None else held.description,
        metadata=later.metadata if later.metadata is not None else held.metadata,
    )
