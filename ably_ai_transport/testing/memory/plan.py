"""The plan of the faults to come: what channels ask before they do something."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ably_ai_transport.testing.memory.turns import Turns
from ably_ai_transport.wire import AITransportError, error_of

FaultAction: TypeAlias = Literal["create", "append", "update"]
"""The publishes that can be refused."""


@dataclass(slots=True)
class Refusal:
    """A fault for the next ``count`` calls, after letting ``skip`` pass.

    Attributes:
        actions: The calls that it is for.
        channel: Name of the channel; None for all.
        count: How many calls it still refuses.
        skip: How many calls it lets pass before.
        error: The error of those calls.
    """

    actions: frozenset[str]
    channel: str | None
    count: int
    skip: int
    error: AITransportError

    def takes(self, action: str, channel: str) -> bool:
        """Tell whether it refuses a call, and count it."""
        if not self.count or action not in self.actions or self.channel not in (None, channel):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count -= 1
        return True


class FaultPlan:
    """The refusals to come, and the acks and deliveries that are held back.

    Args:
        turns: The hub's order of things.

    Attributes:
        refusals: The refusals to come.
        holds_deliveries: Whether messages are kept from subscribers.
    """

    def __init__(self, turns: Turns) -> None:
        self.refusals: list[Refusal] = []
        self.holds_deliveries = False
        self._turns = turns
        self._held_acks: list[Callable[[], None]] | None = None

    def refusal(self, action: str, channel: str) -> AITransportError | None:
        """Return the error that a call gets, if it is one's turn."""
        for one in self.refusals:
            if one.takes(action, channel):
                return error_of(one.error.message, one.error.code, one.error.status_code)
        return None

    def ack(self, give: Callable[[], None]) -> None:
        """Give an ack, in a turn of its own, unless acks are held."""
        if self._held_acks is None:
            self._turns.add(give)
        else:
            self._held_acks.append(give)

    def hold_acks(self) -> None:
        """Keep acks back from now on."""
        if self._held_acks is None:
            self._held_acks = []

    def release_acks(self, count: int | None = None) -> None:
        """Give this many held acks, oldest first; without a count, give all and stop holding."""
        held = self._held_acks or []
        for ack in held[:count]:
            self._turns.add(ack)
        self._held_acks = None if count is None else held[count:]
