"""Credits: the messages and bytes that a peer may send on each channel."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipFlowControlError
from ably_ai_transport_haip.protocol.messages import HaipMessage
from ably_ai_transport_haip.protocol.names import CONTROL, HaipChannel

DEFAULT_CREDITS: Final = 10
DEFAULT_CREDIT_BYTES: Final = 1024 * 1024

Amount: TypeAlias = int | Mapping[str, int]
"""One number for all channels, or a mapping from channel to number."""
OnExhausted: TypeAlias = Literal["raise", "queue", "wait"]
"""The treatment of a message without credits; see :class:`FlowControlConfig`."""


def calculate_message_credits(message: HaipMessage) -> int:
    """Return the cost of a message: one credit on data channels, none for control messages.

    Args:
        message: The message.

    Returns:
        The number of message credits.
    """
    return 0 if message.type in CONTROL or message.envelope.channel == HaipChannel.SYSTEM else 1


@dataclass(frozen=True, slots=True)
class FlowControlConfig:
    """Configuration of flow control.

    Each amount is one number for all channels, or a mapping from channel to number.

    Attributes:
        initial_credits: Message credits per channel at the start. The smaller of this number and the one in
            the handshake of the other side counts; 10 if neither is set.
        initial_credit_bytes: Byte credits per channel at the start, likewise; 1 MiB if neither is set.
        max_credits: The largest number of message credits per channel; None for no limit.
        max_credit_bytes: The largest number of byte credits per channel; None for no limit.
        on_exhausted: The treatment of a message without credits: ``raise`` a :class:`HaipFlowControlError`,
            ``queue`` the message until credits arrive, or let the sender ``wait``.
        message_cost: Returns the cost of a message in message credits.

    Raises:
        ValueError: An amount is negative, or ``on_exhausted`` is unknown.
    """

    initial_credits: Amount | None = None
    initial_credit_bytes: Amount | None = None
    max_credits: Amount | None = None
    max_credit_bytes: Amount | None = None
    on_exhausted: OnExhausted = "raise"
    message_cost: Callable[[HaipMessage], int] = calculate_message_credits

    def __post_init__(self) -> None:
        if self.on_exhausted not in get_args(OnExhausted):
            raise ValueError(
                f"unable to configure flow control; on_exhausted '{self.on_exhausted}' is not one of"
                f" {', '.join(get_args(OnExhausted))}"
            )
        for name in ("initial_credits", "initial_credit_bytes", "max_credits", "max_credit_bytes"):
            amount: Amount | None = getattr(self, name)
            for number in amount.values() if isinstance(amount, Mapping) else (amount,):
                if number is not None and number < 0:
                    raise ValueError(f"unable to configure flow control; {name} is negative")


@dataclass(slots=True)
class _Pool:
    messages: int
    bytes: int


@dataclass
class CreditAccount:
    """The credits of this side, per channel. No number is ever negative.

    Attributes:
        config: The configuration.
        announced_messages: The initial message credits in the other side's handshake.
        announced_bytes: The initial byte credits in the other side's handshake.
        paused: The channels that the other side has paused.
        is_lifted: Whether messages go out without credits, because the other side never grants any.
    """

    config: FlowControlConfig = field(default_factory=FlowControlConfig)
    announced_messages: Amount | None = None
    announced_bytes: Amount | None = None
    paused: set[str] = field(default_factory=set[str])
    is_lifted: bool = False
    _pools: dict[str, _Pool] = field(default_factory=dict[str, _Pool])

    def begin(self, messages: Amount | None, bytes_: Amount | None) -> None:
        """Start a session with the credits of the other side's handshake.

        Args:
            messages: Message credits per channel; None if the handshake has none.
            bytes_: Byte credits per channel; None if the handshake has none.
        """
        self.announced_messages, self.announced_bytes = messages, bytes_
        self.paused.clear()
        self.is_lifted = False
        self._pools.clear()

    def messages(self, channel: str) -> int:
        """Return the message credits of a channel."""
        return self._pool(channel).messages

    def bytes(self, channel: str) -> int:
        """Return the byte credits of a channel."""
        return self._pool(channel).bytes

    def covers(self, channel: str, messages: int, size: int) -> bool:
        """Tell whether the credits of a channel suffice, and it is not paused."""
        if messages == 0:
            return True
        pool = self._pool(channel)
        covered = self.is_lifted or (pool.messages >= messages and pool.bytes >= size)
        return channel not in self.paused and covered

    def take(self, channel: str, messages: int, size: int) -> None:
        """Spend credits.

        Args:
            channel: The channel.
            messages: The cost in message credits. With 0, the bytes cost nothing either.
            size: The size in bytes.

        Raises:
            HaipFlowControlError: The credits do not suffice (FLOW_CONTROL), or the channel is paused
                (CHANNEL_PAUSED).
        """
        if messages == 0:
            return
        if channel in self.paused:
            raise HaipFlowControlError(
                f"unable to send on {channel}; the other side has paused it",
                code=HaipErrorCode.CHANNEL_PAUSED,
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
        """Add granted credits, up to the configured maximum.

        Args:
            channel: The channel.
            messages: Message credits.
            size: Byte credits.
        """
        self.is_lifted = False
        pool = self._pool(channel)
        pool.messages = self._clamped(pool.messages + messages, self.config.max_credits, channel)
        pool.bytes = self._clamped(pool.bytes + size, self.config.max_credit_bytes, channel)

    def most(self, channel: str) -> tuple[float, float]:
        """Return the largest message and byte credits that a channel can have."""
        config = self.config
        limits = (_amount(config.max_credits, channel), _amount(config.max_credit_bytes, channel))
        messages, size = (math.inf if limit is None else limit for limit in limits)
        return messages, size

    def request(self, channel: str) -> tuple[int, int]:
        """Return the message and byte credits to request: as many as at the start, at least one."""
        return max(1, self._first_messages(channel)), max(1, self._first_bytes(channel))

    def snapshot(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return message and byte credits by channel, for the standard channels and all channels in use."""
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
    """The credits of the other side, per channel, and the grants that are due.

    Attributes:
        initial_messages: Message credits per channel at the start.
        initial_bytes: Byte credits per channel at the start.
    """

    initial_messages: Amount = 1000
    initial_bytes: Amount = 16 * DEFAULT_CREDIT_BYTES
    _left: dict[str, _Pool] = field(default_factory=dict[str, _Pool])

    def spend(self, channel: str, messages: int, size: int) -> bool:
        """Charge the other side for a message that arrived.

        Args:
            channel: The channel.
            messages: The cost in message credits. With 0, the bytes cost nothing either.
            size: The size in bytes.

        Returns:
            Whether its credits sufficed.
        """
        if messages == 0:
            return True
        pool = self._pool(channel)
        covered = pool.messages >= messages and pool.bytes >= size
        pool.messages = max(0, pool.messages - messages)
        pool.bytes = max(0, pool.bytes - size)
        return covered

    def refill(self, channel: str) -> tuple[int, int]:
        """Refill the credits of a channel if half of them are spent.

        Args:
            channel: The channel.

        Returns:
            The message and byte credits to grant; 0 for those that are not half spent.
        """
        pool = self._pool(channel)
        most_messages, most_bytes = self._initial(channel)
        messages = most_messages - pool.messages if 2 * pool.messages <= most_messages else 0
        size = most_bytes - pool.bytes if 2 * pool.bytes <= most_bytes else 0
        self.grant(channel, messages, size)
        return messages, size

    def grant(self, channel: str, messages: int, size: int) -> None:
        """Add a grant to the credits of a channel."""
        pool = self._pool(channel)
        pool.messages += messages
        pool.bytes += size

    def answer(self, channel: str, messages: int, size: int) -> tuple[int, int]:
        """Answer a request for credits with a grant of at most the initial credits.

        The request counts even if this ledger shows credits: peers may cap their credits below the grants.

        Args:
            channel: The channel.
            messages: The requested message credits.
            size: The requested byte credits.

        Returns:
            The message and byte credits to grant.
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
