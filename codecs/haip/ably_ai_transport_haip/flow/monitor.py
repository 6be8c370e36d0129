"""Monitor of credits."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ably_ai_transport_haip.client import HaipClient
from ably_ai_transport_haip.protocol import HaipEventType, HaipMessage


@dataclass(frozen=True, slots=True)
class ChannelCredits:
    """The credits of a channel.

    Attributes:
        messages: Message credits.
        bytes: Byte credits.
    """

    messages: int
    bytes: int


class FlowControlMonitor:
    """Reports grants as they arrive, and the credits at any time.

    Args:
        client: The client to watch.
        on_grant: A plain or coroutine function, called with the channel and the granted message and byte
            credits. Its exceptions are logged and passed to the listeners of the client's ``error``.

    Attributes:
        granted: All credits granted so far, by channel.

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
        """Return the current credits of each channel."""
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

    def _take(self, message: HaipMessage) -> object:
        if message.type is not HaipEventType.FLOW_UPDATE:
            return None
        channel = str(message.payload["channel"])
        messages, size = (_count(message.payload.get(name)) for name in ("add_messages", "add_bytes"))
        known = self.granted.get(channel, ChannelCredits(0, 0))
        self.granted[channel] = ChannelCredits(known.messages + messages, known.bytes + size)
        # The client runs the coroutine of a coroutine function.
        return None if self._on_grant is None else self._on_grant(channel, messages, size)


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
