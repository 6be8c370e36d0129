"""The faults in force: rules that publishing and connections check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local.core.connection import Connection
    from ably_ai_transport.local.protocol.refusals import RefusedError

FaultAction: TypeAlias = Literal["create", "update", "delete", "append", "presence"]


@dataclass(slots=True)
class Rule:
    """A fault for the next `count` publishes after `skip` others; None matches every channel or action.

    Attributes:
        channel: The channel.
        action: The kind of publish.
        count: How many publishes it hits.
        skip: How many publishes pass before.
        error: The refusal, where it refuses.
        on_cut: Called with the connection before its websocket is cut.
    """

    channel: str | None
    action: FaultAction | None
    count: int
    skip: int
    error: RefusedError | None = None
    on_cut: Callable[[Connection], None] | None = None

    def takes(self, channel: str, action: FaultAction) -> bool:
        """Tell whether a publish is hit, and count it."""
        if self.channel not in (None, channel) or self.action not in (None, action) or not self.count:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count -= 1
        return True


class FaultRules:
    """The faults in force.

    Attributes:
        nacks: Publishes to refuse.
        cuts: Publishes whose websocket is cut before their ack.
        holds_acks: Whether acks are held.
        delay_ms: How much later subscribers get messages and presence.
        refuses_connections: Whether websocket upgrades are answered with 503.
    """

    def __init__(self) -> None:
        self.nacks: list[Rule] = []
        self.cuts: list[Rule] = []
        self.holds_acks = False
        self.delay_ms = 0.0
        self.refuses_connections = False

    def check_nack(self, channel: str, action: FaultAction) -> None:
        """Refuse a publish that a rule hits.

        Raises:
            RefusedError: The error of the rule.
        """
        for rule in self.nacks:
            if rule.takes(channel, action) and rule.error is not None:
                raise rule.error

    def cut_instead_of_ack(self, channel: str, action: FaultAction) -> Rule | None:
        """Return the rule by which the websocket is cut instead of sending the ack; None to send it."""
        return next((rule for rule in self.cuts if rule.takes(channel, action)), None)

    def affect(self, connection: Connection) -> None:
        """Apply the delay and the hold to a connection."""
        connection.acks.held = self.holds_acks
        if connection.transport is not None:
            connection.transport.delay_ms = self.delay_ms
