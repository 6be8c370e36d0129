"""Faults on demand: what tests switch on to see how sessions take it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ably_ai_transport.channel.contract import ChannelState
from ably_ai_transport.testing.memory.turns import Turns
from ably_ai_transport.wire import AITransportError, ErrorCode

if TYPE_CHECKING:
    from ably_ai_transport.testing.memory.channel import MemoryChannel

MemoryOperation: TypeAlias = Literal["create", "append", "update"]


@dataclass(slots=True)
class _Refusal:
    """A fault for some of the calls to come."""

    operation: MemoryOperation | Literal["attach", "history"] | None
    channel: str | None
    count: int
    skip: int
    error: AITransportError

    def takes(self, operation: str, channel: str) -> bool:
        if not self.count or self.operation not in (None, operation) or self.channel not in (None, channel):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.count -= 1
        return True


class MemoryFaults:
    """The fault switch of a hub.

    Where a fault takes a channel's or a client's name, None means all of them.
    """

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._refusals: list[_Refusal] = []
        self._kept_answers: list[Callable[[], None]] | None = None
        self._kept_deliveries: bool = False
        self._channels: list[MemoryChannel] = []

    # Calls that are refused

    def refuse(
        self,
        count: int = 1,
        *,
        operation: MemoryOperation | None = None,
        channel: str | None = None,
        skip: int = 0,
        code: int = ErrorCode.INTERNAL_ERROR,
        message: str = "publish refused by a fault",
    ) -> None:
        """Refuse the next ``count`` publishes, appends or updates, after letting ``skip`` pass."""
        self._refusals.append(_Refusal(operation, channel, count, skip, AITransportError(message, code)))

    def refuse_attach(
        self,
        count: int = 1,
        *,
        channel: str | None = None,
        code: int = ErrorCode.INSUFFICIENT_CAPABILITY,
        message: str = "attach refused by a fault",
    ) -> None:
        """Refuse the next attaches; the channel is then FAILED."""
        self._refusals.append(_Refusal("attach", channel, count, 0, AITransportError(message, code)))

    def fail_history(
        self,
        count: int = 1,
        *,
        channel: str | None = None,
        skip: int = 0,
        code: int = ErrorCode.INTERNAL_ERROR,
        message: str = "history failed by a fault",
    ) -> None:
        """Fail the next fetches of a page of history, after letting ``skip`` pass."""
        self._refusals.append(_Refusal("history", channel, count, skip, AITransportError(message, code)))

    # What is under way

    def hold_answers(self) -> None:
        """Keep answers to publishes back. What was published is on the channel all the same."""
        if self._kept_answers is None:
            self._kept_answers = []

    def release_answers(self, count: int | None = None) -> None:
        """Give the answers that were held back.

        Args:
            count: Only that many, oldest first, and keep holding; all of them, and no longer, when left out.
        """
        kept = self._kept_answers or []
        for answer in kept[:count]:
            self._turns.add(answer)
        self._kept_answers = None if count is None else kept[count:]

    def hold_deliveries(self) -> None:
        """Keep messages back from subscribers."""
        self._kept_deliveries = True

    def release_deliveries(self) -> None:
        """Deliver what was held back, in order."""
        self._kept_deliveries = False
        for channel in self._channels:
            channel.release_held()

    # States

    def drop_continuity(self, channel: str | None = None, client_id: str | None = None) -> None:
        """Attach anew without resuming; what was not delivered yet is lost."""
        for one in self._named(channel, client_id):
            one.reattach(resumed=False)

    def reattach(
        self, channel: str | None = None, client_id: str | None = None, *, resumed: bool = True
    ) -> None:
        """Bring channels back from SUSPENDED, DETACHED or FAILED, or through a short interruption.

        Args:
            channel: Name of the channel.
            client_id: Name of the client.
            resumed: Whether what was published meanwhile is delivered.
        """
        for one in self._named(channel, client_id):
            one.reattach(resumed=resumed)

    def suspend(self, channel: str | None = None, client_id: str | None = None) -> None:
        """Suspend channels, as a long loss of the connection does."""
        error = AITransportError("connection to server unavailable", 80002, 400)
        self._interrupt(channel, client_id, ChannelState.SUSPENDED, error)

    def detach(self, channel: str | None = None, client_id: str | None = None) -> None:
        """Detach channels from outside."""
        error = AITransportError("detached by a fault", 90007, 400)
        self._interrupt(channel, client_id, ChannelState.DETACHED, error)

    def fail(
        self,
        channel: str | None = None,
        client_id: str | None = None,
        *,
        code: int = ErrorCode.INSUFFICIENT_CAPABILITY,
        message: str = "channel failed by a fault",
    ) -> None:
        """Fail channels."""
        self._interrupt(channel, client_id, ChannelState.FAILED, AITransportError(message, code))

    def reset(self) -> None:
        """Switch all faults off and let go of what they hold back."""
        self._refusals.clear()
        self.release_answers()
        self.release_deliveries()

    # What the channels ask

    def register(self, channel: "MemoryChannel") -> None:
        """Take a channel into the switch's reach."""
        self._channels.append(channel)

    def forget(self, channel: "MemoryChannel") -> None:
        """Let a channel go."""
        if channel in self._channels:
            self._channels.remove(channel)

    def refusal(self, operation: str, channel: str) -> AITransportError | None:
        """Return the error that an operation gets, if it is one's turn."""
        for one in self._refusals:
            if one.takes(operation, channel):
                return AITransportError(one.error.message, one.error.code)
        return None

    def answer(self, give: Callable[[], None]) -> None:
        """Give an answer, in a turn of its own, unless answers are held."""
        if self._kept_answers is None:
            self._turns.add(give)
        else:
            self._kept_answers.append(give)

    @property
    def holds_deliveries(self) -> bool:
        """Whether messages are kept from subscribers."""
        return self._kept_deliveries

    def _interrupt(
        self, channel: str | None, client_id: str | None, state: ChannelState, error: AITransportError
    ) -> None:
        for one in self._named(channel, client_id):
            one.interrupt(state, error)

    def _named(self, channel: str | None, client_id: str | None) -> "list[MemoryChannel]":
        return [
            one
            for one in self._channels
            if channel in (None, one.name) and client_id in (None, one.client_id)
        ]
