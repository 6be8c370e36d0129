"""Mock of flow control for tests."""

from ably_ai_transport_haip.flow.monitor import ChannelCredits
from ably_ai_transport_haip.protocol import CreditAccount, FlowControlConfig, HaipFlowControlError


class MockFlowControl:
    """The credits of a client, without a client: 10 messages and 1 MiB per channel at the start.

    Args:
        config: The configuration of flow control.

    Example:
        >>> flow = MockFlowControl()
        >>> [flow.consume_credits("USER") for _ in range(11)].count(True)
        10
    """

    def __init__(self, config: FlowControlConfig | None = None) -> None:
        self._account = CreditAccount(config or FlowControlConfig())

    def consume_credits(self, channel: str, message_credits: int = 1, byte_credits: int = 0) -> bool:
        """Spend credits: all or none.

        Args:
            channel: The channel.
            message_credits: The message credits.
            byte_credits: The byte credits.

        Returns:
            Whether the credits sufficed.
        """
        try:
            self._account.take(channel, message_credits, byte_credits)
        except HaipFlowControlError:
            return False
        return True

    def add_credits(self, channel: str, message_credits: int = 0, byte_credits: int = 0) -> None:
        """Grant credits.

        Args:
            channel: The channel.
            message_credits: The message credits.
            byte_credits: The byte credits.
        """
        self._account.add(channel, message_credits, byte_credits)

    def get_credits(self, channel: str) -> ChannelCredits:
        """Return the credits of a channel."""
        return ChannelCredits(self._account.messages(channel), self._account.bytes(channel))
