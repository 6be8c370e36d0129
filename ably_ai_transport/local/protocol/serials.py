"""Serials: strings whose order is the order of a channel."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ably_ai_transport.local.clock import Clock

_ALPHABET: Final = string.ascii_letters + string.digits
_COUNTERS: Final = 1000

MAX_BATCH: Final = 1000
"""The most messages in one frame: their index has three digits."""


def random_id(length: int) -> str:
    """Return `length` random letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class SerialMinter:
    """Mints channel serials `<14 digits ms>-<3 digits counter>@<series>`.

    They ascend strictly as strings, even when the wall clock steps back. SDKs and sessions compare them as
    strings, hence the zero padding.
    """

    def __init__(self, clock: Clock, series: str | None = None) -> None:
        self._clock = clock
        self._series = series or random_id(10)
        self._suffix = f"@{self._series}"
        self._ms = 0
        self._counter = 0

    def go_on(self, series: str, after: int) -> None:
        """Continue a series of an earlier process, with serials after a time (milliseconds)."""
        self._series = series
        self._suffix = f"@{series}"
        if after >= self._ms:
            self._ms = after
            self._counter = _COUNTERS - 1

    @property
    def series(self) -> str:
        """The suffix of all serials of this server."""
        return self._series

    @property
    def ms(self) -> int:
        """The time in the latest serial; it never steps back."""
        return self._ms

    @property
    def origin(self) -> str:
        """A serial before all others of the series."""
        return f"{0:014d}-{0:03d}{self._suffix}"

    def mint(self) -> str:
        """Return the next channel serial."""
        ms = self._clock.now()
        if ms > self._ms:
            self._ms = ms
            self._counter = 0
        else:
            self._counter += 1
            if self._counter == _COUNTERS:
                self._ms += 1
                self._counter = 0
        return f"{self._ms:014d}-{self._counter:03d}{self._suffix}"

    def is_ours(self, serial: str) -> bool:
        """Tell whether a channel serial belongs to this series."""
        return serial.endswith(self._suffix)


def time_of(serial: str) -> int:
    """Return the time in a serial (milliseconds); 0 when there is none."""
    digits = serial[:14]
    return int(digits) if digits.isdecimal() else 0


def message_serial(channel_serial: str, index: int) -> str:
    """Return the serial of a message in a frame, which is also the serial of its first version."""
    return f"{channel_serial}:{index:03d}"
