"""Counts what flow control costs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlowMetrics:
    """Figures of flow control.

    Attributes:
        credit_requests: How often credits were asked for.
        credit_received: Message credits that were granted.
        messages_blocked: Messages that had to wait.
        total_wait_time: How long they waited, in seconds.
    """

    credit_requests: int = 0
    credit_received: int = 0
    messages_blocked: int = 0
    total_wait_time: float = 0.0

    @property
    def average_wait_time(self) -> float:
        """How long a message that had to wait waited, in seconds; 0 where none had to."""
        return self.total_wait_time / self.messages_blocked if self.messages_blocked else 0.0

    @property
    def credit_utilization(self) -> float:
        """Requests for each hundred credits that were granted; 0 where none were."""
        return self.credit_requests / self.credit_received * 100 if self.credit_received else 0.0


class FlowControlMetrics:
    """Keeps figures of flow control.

    Example:
        >>> metrics = FlowControlMetrics()
        >>> metrics.record_message_blocked(0.5)
        >>> metrics.get_metrics().average_wait_time
        0.5
    """

    def __init__(self) -> None:
        self._requests = self._received = self._blocked = 0
        self._waited = 0.0

    def record_credit_request(self) -> None:
        """Note that credits were asked for."""
        self._requests += 1

    def record_credit_received(self, amount: int) -> None:
        """Note a grant.

        Args:
            amount: Message credits.
        """
        self._received += amount

    def record_message_blocked(self, wait_time: float) -> None:
        """Note that a message had to wait.

        Args:
            wait_time: How long, in seconds.
        """
        self._blocked += 1
        self._waited += wait_time

    def get_metrics(self) -> FlowMetrics:
        """Return the figures so far."""
        return FlowMetrics(self._requests, self._received, self._blocked, self._waited)

    def reset(self) -> None:
        """Begin again."""
        self._requests = self._received = self._blocked = 0
        self._waited = 0.0
