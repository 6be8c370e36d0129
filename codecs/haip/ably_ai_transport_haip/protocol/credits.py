"""Credits: how many messages and bytes a side may send on a channel before it is granted more."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipFlowControlError
from ably_ai_transport_haip.protocol.messages import HaipMessage
from ably_ai_transport_haip.protocol.names import CONTROL, HaipChannel

DEFAULT_CREDITS: Final = 10
DEFAULT_CREDIT_BYTES: Final = 1024 * 1024

Amount: TypeAlias = int | Mapping[str, int]
"""One number for every channel, or a number by channel."""
OnExhausted: TypeAlias = Literal["raise", "queue", "wait"]


def calculate_message_credits(message: HaipMessage) -> int:
    """Return what a message costs: one credit, and nothing where it keeps the connection going.

    Args:
        message: The message.

    Returns:
        The number of credits.
    """
    return 0 if message.type in CONTROL or message.envelope.channel == HaipChannel.SYSTEM else 1


@dataclass(frozen=True, slots=True)
class FlowControlConfig:
    """How a side accounts for what it sends, and what it lets the other side send.

    Each number is one for all channels, or a mapping from channel to number.

    Attributes:
        initial_credits: Messages a channel at first. Left out, what the other side's handshake announces
            holds, or else 10; given, the smaller of the two.
        initial_credit_bytes: Bytes a channel at first; left out, as above, or else 1 MiB.
        max_credits: Messages a channel at most, however much is granted; left out, no limit.
        max_credit_bytes: Bytes a channel at most.
        on_exhausted: What becomes of a message without credits: ``raise`` a :class:`HaipFlowControlError`,
            ``queue`` it until there are some, or let the sender ``wait``.
        message_cost: What a message costs in credits.
    """

    initial_credits: Amount | None = None
    initial_credit_bytes: Amount | None = None
    max_credits: Amount | None = None
    max_credit_bytes: Amount | None = None
    on_exhausted: OnExhausted = "raise"
    message_cost: Callable[[HaipMessage], int] = calculate_message_credits


@dataclass(slots=True)
class _Pool:
    messages: int
    bytes: int


@dataclass
class CreditAccount:
    """What may be sent on each channel. No number in it is ever negative.

    Attributes:
        config: How to account.
        announced_messages: What the other side grants at first, once that is known.
        announced_bytes: The same in bytes.
        paused: Channels on which nothing may be sent now.
        is_lifted: Whether credits are no limit, because the other side does not grant any.
    """

    config: FlowControlConfig = field(default_factory=FlowControlConfig)
    announced_messages: Amount | None = None
    announced_bytes: Amount | None = None
    paused: set[str] = field(default_factory=set[str])
    is_lifted: bool = False
    _pools: dict[str, _Pool] = field(default_factory=dict[str, _Pool])

    def begin(self, messages: Amount | None, bytes_: Amount | None) -> None:
        """Begin a session with what the other side grants at first.

        Args:
            messages: Messages a channel; None where nothing is said of them.
            bytes_: Bytes a channel.
        """
        self.announced_messages, self.announced_bytes = messages, bytes_
        self.paused.clear()
        self.is_lifted = False
        self._pools.clear()

    def messages(self, channel: str) -> int:
        """Return how many messages may be sent on a channel."""
        return self._pool(channel).messages

    def bytes(self, channel: str) -> int:
        """Return how many bytes may be sent on a channel."""
        return self._pool(channel).bytes

    def covers(self, channel: str, messages: int, size: int) -> bool:
        """Tell whether there are credits for something, and the channel is not paused."""
        if messages == 0:
            return True
        pool = self._pool(channel)
        covered = self.is_lifted or (pool.messages >= messages and pool.bytes >= size)
        return channel not in self.paused and covered

    def take(self, channel: str, messages: int, size: int) -> None:
        """Spend credits.

        Args:
            channel: Where something is sent.
            messages: Its cost in messages; what costs none costs no bytes either.
            size: Its size in bytes.

        Raises:
            HaipFlowControlError: There are not enough of them (FLOW_CONTROL), or the channel is paused
                (CHANNEL_PAUSED).
        """
        if messages == 0:
            return
        if channel in self.paused:
            raise HaipFlowControlError(
                f"unable to send on {channel}; the other side has paused it", HaipErrorCode.CHANNEL_PAUSED
            )
        pool = self._pool(channel)
        if self.is_lifted:
            return
        if pool.messages < messages or pool.bytes < size:
            raise HaipFlowControlError(
                f"unable to send on {channel}; {messages} message credits and {size} byte credits are needed,"
                f" {pool.messages} and {pool.bytes} are left (wait for a grant, or set on_exhausted)",
                details={"channel": channel, "messages": pool.messages, "bytes": pool.bytes},
            )
        pool.messages -= messages
        pool.bytes -= size

    def add(self, channel: str, messages: int = 0, size: int = 0) -> None:
        """Take a grant, up to what the configuration allows.

        Args:
            channel: Where more may be sent.
            messages: How many more messages.
            size: How many more bytes.
        """
        self.is_lifted = False
        pool = self._pool(channel)
        pool.messages = self._clamped(pool.messages + messages, self.config.max_credits, channel)
        pool.bytes = self._clamped(pool.bytes + size, self.config.max_credit_bytes, channel)

    def most(self, channel: str) -> tuple[float, float]:
        """Return how many messages and bytes there can be credits for, however much is granted."""
        config = self.config
        limits = (_amount(config.max_credits, channel), _amount(config.max_credit_bytes, channel))
        messages, size = (math.inf if limit is None else limit for limit in limits)
        return messages, size

    def asks_for(self, channel: str) -> tuple[int, int]:
        """Return how many messages and bytes to ask for, to have as many again as at first."""
        return max(1, self._first_messages(channel)), max(1, self._first_bytes(channel))

    def snapshot(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return messages and bytes by channel, those of the protocol's own channels at least."""
        names = dict.fromkeys([*(channel.value for channel in HaipChannel), *self._pools])
        return {name: self.messages(name) for name in names}, {name: self.bytes(name) for name in names}

    def _pool(self, channel: str) -> _Pool:
        pool = self._pools.get(channel)
        if pool is None:
            pool = self._pools[channel] = _Pool(self._first_messages(channel), self._first_bytes(channel))
        return pool

    def _first_messages(self, channel: str) -> int:
        first = _first(self.config.initial_credits, self.announced_messages, DEFAULT_CREDITS, channel)
        return self._clamped(first, self.config.max_credits, channel)

    def _first_bytes(self, channel: str) -> int:
        first = _first(self.config.initial_credit_bytes, self.announced_bytes, DEFAULT_CREDIT_BYTES, channel)
        return self._clamped(first, self.config.max_credit_bytes, channel)

    @staticmethod
    def _clamped(value: int, limit: Amount | None, channel: str) -> int:
        most = _amount(limit, channel)
        return value if most is None else min(value, most)


@dataclass
class CreditLedger:
    """What the other side may send, as far as it has been granted: tells when to grant more.

    Attributes:
        initial_messages: Messages a channel at first.
        initial_bytes: Bytes a channel at first.
    """

    initial_messages: Amount = 1000
    initial_bytes: Amount = 16 * DEFAULT_CREDIT_BYTES
    _left: dict[str, _Pool] = field(default_factory=dict[str, _Pool])

    def spend(self, channel: str, messages: int, size: int) -> bool:
        """Note that something came.

        Args:
            channel: Where.
            messages: Its cost in messages; what costs none costs no bytes either.
            size: Its size in bytes.

        Returns:
            Whether the other side had credits for it.
        """
        if messages == 0:
            return True
        pool = self._pool(channel)
        covered = pool.messages >= messages and pool.bytes >= size
        pool.messages = max(0, pool.messages - messages)
        pool.bytes = max(0, pool.bytes - size)
        return covered

    def refill(self, channel: str) -> tuple[int, int]:
        """Fill up what is half empty.

        Args:
            channel: Where.

        Returns:
            Messages and bytes to grant; zeros where there is still enough.
        """
        pool = self._pool(channel)
        most_messages, most_bytes = self._initial(channel)
        messages = most_messages - pool.messages if 2 * pool.messages <= most_messages else 0
        size = most_bytes - pool.bytes if 2 * pool.bytes <= most_bytes else 0
        self.grant(channel, messages, size)
        return messages, size

    def grant(self, channel: str, messages: int, size: int) -> None:
        """Note that more was granted."""
        pool = self._pool(channel)
        pool.messages += messages
        pool.bytes += size

    def answer(self, channel: str, messages: int, size: int) -> tuple[int, int]:
        """Decide on a request for credits: it is met up to what there is at first.

        Who asks has run out, whatever the ledger says: one that keeps less than it is granted does.

        Args:
            channel: Where.
            messages: Messages that are asked for.
            size: Bytes that are asked for.

        Returns:
            Messages and bytes to grant.
        """
        most_messages, most_bytes = self._initial(channel)
        granted = min(messages, most_messages), min(size, most_bytes)
        pool = self._pool(channel)
        pool.messages = min(most_messages, pool.messages + granted[0])
        pool.bytes = min(most_bytes, pool.bytes + granted[1])
        return granted

    def _pool(self, channel: str) -> _Pool:
        pool = self._left.get(channel)
        if pool is None:
            pool = self._left[channel] = _Pool(*self._initial(channel))
        return pool

    def _initial(self, channel: str) -> tuple[int, int]:
        return (
            _amount(self.initial_messages, channel) or DEFAULT_CREDITS,
            _amount(self.initial_bytes, channel) or DEFAULT_CREDIT_BYTES,
        )


def _amount(amount: Amount | None, channel: str) -> int | None:
    return amount.get(channel) if isinstance(amount, Mapping) else amount


def _first(configured: Amount | None, announced: Amount | None, default: int, channel: str) -> int:
    known = [n for n in (_amount(configured, channel), _amount(announced, channel)) if n is not None]
    return min(known) if known else default
