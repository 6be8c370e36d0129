"""Draining: a session that takes no new runs, and lets go of those that take too long."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import anyio

from ably_ai_transport.session.logs import LOGGER
from ably_ai_transport.wire import AITransportError, SessionClosedError
from ably_ai_transport.wire.listeners import Listeners

Parting: TypeAlias = Literal["suspend", "cancel", "detach"]
"""The fate of a run that is still open when the time is up."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A request to give up a run.

    Attributes:
        then: The run's fate.
        why: The reason, for those who follow the run.
    """

    then: Parting
    why: AITransportError


class Drainer:
    """Counts the open runs of one session, and asks them to leave.

    Attributes:
        requested: Called when the open runs must be given up.
    """

    def __init__(self) -> None:
        self.requested = Listeners[Departure](logger=LOGGER)
        self._is_draining = False
        self._open: set[object] = set()
        self._left = anyio.Event()

    def begin(self) -> None:
        """Take no new runs from now on."""
        self._is_draining = True

    def check_takes_runs(self, action: str) -> None:
        """Refuse a new run.

        Raises:
            SessionClosedError: The session is draining (104004).
        """
        if self._is_draining:
            raise SessionClosedError(f"unable to {action}; session is draining")

    def enter(self, run: object) -> None:
        """Count a run that is opened."""
        self._open.add(run)

    def leave(self, run: object) -> None:
        """Stop counting a run."""
        self._open.discard(run)
        self._left.set()
        self._left = anyio.Event()

    async def emptied(self) -> None:
        """Return when no run is open."""
        while self._open:
            await self._left.wait()
