"""Watches credits."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ably_ai_transport_haip.client import HaipClient
from ably_ai_transport_haip.protocol import HaipEventType, HaipMessage


@dataclass(frozen=True, slots=True)
class ChannelCredits:
    """What may be sent on a channel.

    Attributes:
        messages: Messages.
        bytes: Bytes.
    """

    messages: int
    bytes: int


class FlowControlMonitor:
    """Tells of grants as they come, and of credits whenever it is asked.

    Args:
        client: The client to watch.
        on_grant: Called with the channel, and with the messages and bytes that were granted.

    Attributes:
        granted: What has been granted on each channel so far.

    Example:
        >>> with FlowControlMonitor(client, print) as monitor:  # doctest: +SKIP
        ...     print(monitor.state()["USER"].messages)
    """

    def __init__(self, client: HaipClient, on_grant: Callable[[str, int, int], object] | None = None) -> None:
        self._client = client
        self._on_grant = on_grant
        self._off: Callable[[], None] = lambda: None
        self.granted: dict[str, ChannelCredits] = {}

    def state(self) -> dict[str, ChannelCredits]:
        """Return what may be sent on each channel now."""
        state = self._client.get_connection_state()
        return {
            channel: ChannelCredits(messages, state.byte_credits.get(channel, 0))
            for channel, messages in state.credits.items()
        }

    def __enter__(self) -> Self:
        self._off = self._client.on("message", self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._off()

    def _take(self, message: HaipMessage) -> None:
        if message.type is not HaipEventType.FLOW_UPDATE:
            return
        channel = str(message.payload["channel"])
        messages, size = (_count(message.payload.get(name)) for name in ("add_messages", "add_bytes"))
        known = self.granted.get(channel, ChannelCredits(0, 0))
        self.granted[channel] = ChannelCredits(known.messages + messages, known.bytes + size)
        if self._on_grant is not None:
            self._on_grant(channel, messages, size)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
