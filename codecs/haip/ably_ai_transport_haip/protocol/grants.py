"""Grants: the credits that this side gives the other, as the application reads."""

from collections.abc import Callable
from enum import Enum, auto

from ably_ai_transport_haip.protocol.credits import CreditLedger
from ably_ai_transport_haip.protocol.messages import HaipEnvelope, HaipMessage
from ably_ai_transport_haip.protocol.names import HaipChannel, HaipEventType
from ably_ai_transport_haip.protocol.outbox import Outbox, channel_of
from ably_ai_transport_haip.protocol.tariff import Tariff, content_bytes, is_free, message_credits


class _Manner(Enum):
    """The ways to treat the other side."""

    STRICT = auto()
    """It counts as the specification says: it gets credits as its messages are read."""
    GENEROUS = auto()
    """It is the reference client."""
    SILENT = auto()
    """It is the reference server."""


class Grants:
    """Charges the other side for its messages, and grants it new credits as they are read.

    Every grant that is sent is booked, and every grant that is booked is sent.

    Args:
        outbox: Sends the grants.
        messages: The message credits per channel that the other side starts with.
        size: The byte credits per channel that the other side starts with.
        message_cost: The function of the configuration that replaces the tariff.

    Attributes:
        ledger: The credits of the other side.
    """

    def __init__(
        self,
        outbox: Outbox,
        messages: int,
        size: int,
        message_cost: Callable[[HaipMessage], int] | None,
    ) -> None:
        self._outbox = outbox
        self._initial = messages, size
        self._message_cost = message_cost
        self._manner = _Manner.STRICT
        self.ledger = CreditLedger(messages, size)

    def begin(self) -> None:
        """Start a session with a peer that counts as the specification says."""
        self._manner = _Manner.STRICT
        self.ledger = CreditLedger(*self._initial)

    def begin_with_reference(self, *, is_server: bool) -> None:
        """Start a session with a peer that counts like the reference peers.

        The reference client starts with ten credits, whatever the handshake says. It charges itself on
        ``SYSTEM``, too, and never requests credits, so the first message that is read brings a large grant.
        The reference server refuses grants, so it gets none.

        Args:
            is_server: Whether the other side is the server.
        """
        self._manner = _Manner.SILENT if is_server else _Manner.GENEROUS
        self.ledger = CreditLedger(*self._initial, windows=1 if is_server else 2)

    def charge(self, message: HaipMessage) -> bool:
        """Charge the other side for a message that is next in order.

        Args:
            message: The message.

        Returns:
            Whether its credits sufficed. Always true for a peer that counts like the reference peers.
        """
        channel = channel_of(message)
        if self._manner is not _Manner.STRICT and is_free(message):
            self.ledger.spend(channel, 1, message.size)
            self._send(channel, *self.ledger.read(channel, 1, message.size))
            return True
        price = self._price(message)
        # Noted in the message, because its text may be joined with that of another before it is read.
        object.__setattr__(message, "price", price)
        covered = self.ledger.spend(channel, *price)
        return covered or self._manner is not _Manner.STRICT

    def note_read(self, message: HaipMessage) -> None:
        """Note that the application has read a message, and grant credits that are due.

        Args:
            message: The message as it was received.
        """
        channel = channel_of(message)
        self._send(channel, *self.ledger.read(channel, *message.price))

    def grant(self, channel: str, messages: int, size: int) -> None:
        """Grant credits."""
        if self._send(channel, messages, size):
            self.ledger.grant(channel, messages, size)

    def book(self, message: HaipMessage) -> None:
        """Book a message that the application has sent, if it is a grant."""
        if message.type is HaipEventType.FLOW_UPDATE:
            messages, size = (message.payload.get(name) for name in ("add_messages", "add_bytes"))
            self.ledger.grant(
                str(message.payload["channel"]),
                messages if isinstance(messages, int) else 0,
                size if isinstance(size, int) else 0,
            )

    def answer(self, channel: str, messages: int, size: int) -> None:
        """Answer a request for credits, now or as messages are read."""
        self._send(channel, *self.ledger.answer(channel, messages, size))

    def make_up_for_lost(self) -> None:
        """Grant credits after messages were lost for good: the other side spent some on them."""
        for channel in self.ledger.channels:
            self.answer(channel, *self._initial)

    def _price(self, message: HaipMessage) -> tuple[int, int]:
        tariff = self._outbox.tariff
        cost = message_credits(message, tariff, self._message_cost)
        if not cost:
            return 0, 0
        return cost, content_bytes(message) if tariff is Tariff.CONTENT else message.size

    def _send(self, channel: str, messages: int, size: int) -> bool:
        """Send a grant; return whether there was anything to send."""
        payload: dict[str, object] = {"channel": channel}
        if messages:
            payload["add_messages"] = messages
        if size:
            payload["add_bytes"] = size
        is_heard = self._manner is not _Manner.SILENT and self._outbox.accepts(HaipEventType.FLOW_UPDATE)
        if len(payload) == 1 or not is_heard:
            return False
        self._outbox.write(
            HaipMessage(HaipEventType.FLOW_UPDATE, payload, HaipEnvelope(channel=HaipChannel.SYSTEM))
        )
        return True
