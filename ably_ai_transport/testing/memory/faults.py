"""Faults on demand, by the names of the local server's fault switch."""

from collections.abc import Sequence

from ably_ai_transport.channel.contract import ChannelState
from ably_ai_transport.testing.memory.channel import MemoryChannel
from ably_ai_transport.testing.memory.plan import FaultAction, FaultPlan, Refusal
from ably_ai_transport.wire import AITransportError, ErrorCode, error_of

_PUBLISHES = frozenset({"create", "append", "update"})


class MemoryFaults:
    """The fault switch of a hub.

    Where a fault takes the name of a channel or a client, None means all of them. The local server calls its
    faults by the same names.

    Args:
        plan: The plan that the channels follow.
        channels: The open channels; the hub keeps the list current.
    """

    def __init__(self, plan: FaultPlan, channels: Sequence[MemoryChannel]) -> None:
        self._plan = plan
        self._channels = channels

    # Calls

    def nack(
        self,
        channel: str | None = None,
        *,
        count: int = 1,
        skip: int = 0,
        action: FaultAction | None = None,
        code: int = ErrorCode.INTERNAL_ERROR,
        status: int | None = None,
        message: str = "Publish refused by a fault",
    ) -> None:
        """Refuse the next publishes.

        Args:
            channel: Name of the channel.
            count: How many.
            skip: How many to let pass before.
            action: Only publishes of this kind.
            code: The code of the error.
            status: Its HTTP status; None derives it from the code.
            message: Its message.
        """
        actions = _PUBLISHES if action is None else frozenset({action})
        self._refuse(actions, channel, count, skip, error_of(message, code, status))

    def refuse_attach(
        self,
        channel: str | None = None,
        *,
        count: int = 1,
        code: int = ErrorCode.INSUFFICIENT_CAPABILITY,
        message: str = "Attach refused by a fault",
    ) -> None:
        """Refuse the next attaches; the channel is then FAILED."""
        self._refuse(frozenset({"attach"}), channel, count, 0, error_of(message, code))

    def fail_history(
        self,
        channel: str | None = None,
        *,
        count: int = 1,
        skip: int = 0,
        code: int = ErrorCode.INTERNAL_ERROR,
        message: str = "History failed by a fault",
    ) -> None:
        """Fail the next fetches of a history page."""
        self._refuse(frozenset({"history"}), channel, count, skip, error_of(message, code))

    def hold_acks(self) -> None:
        """Keep acks back. The published messages are on the channel nevertheless."""
        self._plan.hold_acks()

    def release_acks(self, count: int | None = None) -> None:
        """Send the acks that were held.

        Args:
            count: Send only this many, oldest first, and keep holding. Without it, send all and stop holding.
        """
        self._plan.release_acks(count)

    def hold_deliveries(self) -> None:
        """Keep messages back from subscribers."""
        self._plan.holds_deliveries = True

    def release_deliveries(self) -> None:
        """Deliver the held messages, in order."""
        self._plan.holds_deliveries = False
        for channel in self._channels:
            channel.release_held()

    # States

    def drop_continuity(self, channel: str | None = None, client_id: str | None = None) -> None:
        """Attach again without resuming; undelivered messages are lost."""
        for one in self._named(channel, client_id):
            one.reattach(resumed=False)

    def reattach(
        self, channel: str | None = None, client_id: str | None = None, *, resumed: bool = True
    ) -> None:
        """Bring channels back from SUSPENDED, DETACHED or FAILED, or through a short interruption.

        Args:
            channel: Name of the channel.
            client_id: Name of the client.
            resumed: Whether messages that were published meanwhile are delivered.
        """
        for one in self._named(channel, client_id):
            one.reattach(resumed=resumed)

    def suspend(self, channel: str | None = None, client_id: str | None = None) -> None:
        """Suspend channels, as a long loss of the connection does."""
        error = error_of("connection to server unavailable", 80002, 400)
        self._interrupt(channel, client_id, ChannelState.SUSPENDED, error)

    def detach(
        self,
        channel: str | None = None,
        client_id: str | None = None,
        *,
        code: int = 90007,
        status: int | None = 400,
        message: str = "Detached by a fault",
    ) -> None:
        """Detach channels, unasked."""
        self._interrupt(channel, client_id, ChannelState.DETACHED, error_of(message, code, status))

    def fail(
        self,
        channel: str | None = None,
        client_id: str | None = None,
        *,
        code: int = ErrorCode.INSUFFICIENT_CAPABILITY,
        message: str = "Channel failed by a fault",
    ) -> None:
        """Fail channels."""
        self._interrupt(channel, client_id, ChannelState.FAILED, error_of(message, code))

    def reset(self) -> None:
        """Switch all faults off, and release held acks and messages."""
        self._plan.refusals.clear()
        self.release_acks()
        self.release_deliveries()

    # Inside

    def _refuse(
        self, actions: frozenset[str], channel: str | None, count: int, skip: int, error: AITransportError
    ) -> None:
        self._plan.refusals.append(Refusal(actions, channel, count, skip, error))

    def _interrupt(
        self, channel: str | None, client_id: str | None, state: ChannelState, error: AITransportError
    ) -> None:
        for one in self._named(channel, client_id):
            one.interrupt(state, error)

    def _named(self, channel: str | None, client_id: str | None) -> list[MemoryChannel]:
        return [
            one
            for one in self._channels
            if channel in (None, one.name) and client_id in (None, one.client_id)
        ]
