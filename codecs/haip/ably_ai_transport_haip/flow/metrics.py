"""Figures of flow control."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FlowMetrics:
    """Figures of flow control.

    Attributes:
        credit_requests: Requests for credits.
        credit_received: Granted message credits.
        messages_blocked: Messages that waited for credits.
        total_wait_time: The total time that they waited, in seconds.
    """

    credit_requests: int = 0
    credit_received: int = 0
    messages_blocked: int = 0
    total_wait_time: float = 0.0

    @property
    def average_wait_time(self) -> float:
        """The average wait of a blocked message, in seconds; 0 without blocked messages."""
        return self.total_wait_time / self.messages_blocked if self.messages_blocked else 0.0

    @property
    def credit_utilization(self) -> float:
        """Requests per 100 granted credits; 0 without grants."""
        return self.credit_requests / self.credit_received * 100 if self.credit_received else 0.0


class FlowControlMetrics:
    """Collects the figures of flow control.

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
        """Count a request for credits."""
        self._requests += 1

    def record_credit_received(self, amount: int) -> None:
        """Count a grant.

        Args:
            amount: The granted message credits.
        """
        self._received += amount

    def record_message_blocked(self, wait_time: float) -> None:
        """Count a message that waited for credits.

        Args:
            wait_time: The wait in seconds.
        """
        self._blocked += 1
        self._waited += wait_time

    def get_metrics(self) -> FlowMetrics:
        """Return the figures so far."""
        return FlowMetrics(self._requests, self._received, self._blocked, self._waited)

    def reset(self) -> None:
        """Set all figures to zero."""
        self._requests = self._received = self._blocked = 0
        self._waited = 0.0
