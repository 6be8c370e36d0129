"""Credits: the messages and bytes that a peer may send on each channel."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from ably_ai_transport_haip.protocol.errors import HaipErrorCode, HaipFlowControlError
from ably_ai_transport_haip.protocol.messages import HaipMessage
from ably_ai_transport_haip.protocol.names import HaipChannel
from ably_ai_transport_haip.protocol.tariff import calculate_message_credits

__all__ = [
    "DEFAULT_CREDITS",
    "DEFAULT_CREDIT_BYTES",
    "Amount",
    "CreditAccount",
    "CreditLedger",
    "FlowControlConfig",
    "OnExhausted",
    "calculate_message_credits",
]

DEFAULT_CREDITS: Final = 10
DEFAULT_CREDIT_BYTES: Final = 1024 * 1024

Amount: TypeAlias = int | Mapping[str, int]
"""One number for all channels, or a mapping from channel to number."""
OnExhausted: TypeAlias = Literal["raise", "queue", "wait"]
"""The treatment of a message without credits; see :class:`FlowControlConfig`."""


@dataclass(frozen=True, slots=True)
class FlowControlConfig:
    """Configuration of flow control.

    Each amount is one number for all channels, or a mapping from channel to number.

    Attributes:
        initial_credits: Message credits per channel at the start. The smaller of this number and the one in
            the handshake of the other side counts; 10 if neither is set.
        initial_credit_bytes: Byte credits per channel at the start, likewise; 1 MiB if neither is set.
        max_credits: The largest number of message credits per channel that may be used without a pause for
            new ones; None for no limit. A grant above it is kept, and used later.
        max_credit_bytes: The largest number of byte credits per channel, likewise; None for no limit.
        on_exhausted: The treatment of a message without credits: ``raise`` a :class:`HaipFlowControlError`,
            ``queue`` the message until credits arrive, or let the sender ``wait``.
        message_cost: Returns the cost of a message in message credits. Both sides have to count alike, so
            leave it out unless the other side uses the same function. It is not called for control messages
            and for the channel ``SYSTEM``, which cost nothing. By default a text costs one credit per part
            and its bytes are those of its payload, if the other side counts like this, too. With any other
            peer, each message costs one credit and the bytes of its frame.

    Raises:
        ValueError: An amount is negative, or ``on_exhausted`` is unknown.
    """

    initial_credits: Amount | None = None
    initial_credit_bytes: Amount | None = None
    max_credits: Amount | None = None
    max_credit_bytes: Amount | None = None
    on_exhausted: OnExhausted = "raise"
    message_cost: Callable[[HaipMessage], int] | None = None

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
class _Granted:
    """The unspent grants of one channel, and the part that the configuration withholds."""

    messages: int
    bytes: int
    withheld_messages: int
    withheld_bytes: int


@dataclass
class CreditAccount:
    """The credits of this side, per channel: every grant of the other side, less what was spent.

    No grant is dropped. Credits above the configured maximum stay in the account, and so do those that the
    other side grants at the start beyond ``initial_credits``. So both sides always count the same.

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
    _pools: dict[str, _Granted] = field(default_factory=dict[str, _Granted])

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
        """Return the message credits of a channel that may be used now."""
        pool = self._pool(channel)
        return _at_most(pool.messages - pool.withheld_messages, self.config.max_credits, channel)

    def bytes(self, channel: str) -> int:
        """Return the byte credits of a channel that may be used now."""
        pool = self._pool(channel)
        return _at_most(pool.bytes - pool.withheld_bytes, self.config.max_credit_bytes, channel)

    def granted(self, channel: str) -> tuple[int, int]:
        """Return all unspent message and byte credits of a channel, with those that are withheld."""
        pool = self._pool(channel)
        return pool.messages, pool.bytes

    def covers(self, channel: str, messages: int, size: int) -> bool:
        """Tell whether the credits of a channel suffice, and it is not paused."""
        if channel in self.paused:
            return False
        return (
            not messages
            or self.is_lifted
            or (self.messages(channel) >= messages and self.bytes(channel) >= size)
        )

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
        if channel in self.paused:
            raise HaipFlowControlError(
                f"unable to send on {channel}; the other side has paused it",
                code=HaipErrorCode.CHANNEL_PAUSED,
            )
        if self.is_lifted or not messages:
            return
        left_messages, left_bytes = self.messages(channel), self.bytes(channel)
        if left_messages < messages or left_bytes < size:
            raise HaipFlowControlError(
                f"unable to send on {channel}; {messages} message credits and {size} byte credits are needed,"
                f" {left_messages} and {left_bytes} are left (wait for a grant, or set on_exhausted)",
                details={
                    "channel": channel,
                    "messages": left_messages,
                    "bytes": left_bytes,
                    "needed_messages": messages,
                    "needed_bytes": size,
                },
            )
        self.spend(channel, messages, size)

    def spend(self, channel: str, messages: int, size: int) -> None:
        """Spend credits that suffice; see :meth:`covers`."""
        if messages and not self.is_lifted:
            pool = self._pool(channel)
            pool.messages -= messages
            pool.bytes -= size

    def add(self, channel: str, messages: int = 0, size: int = 0) -> None:
        """Add granted credits.

        Args:
            channel: The channel.
            messages: Message credits.
            size: Byte credits.
        """
        self.is_lifted = False
        pool = self._pool(channel)
        pool.messages += messages
        pool.bytes += size

    def release(self, channel: str, messages: int, size: int) -> bool:
        """Use credits that were granted at the start and withheld since.

        Args:
            channel: The channel.
            messages: The message credits that are needed.
            size: The byte credits that are needed.

        Returns:
            Whether credits were released.
        """
        pool = self._pool(channel)
        short = max(0, messages - self.messages(channel)), max(0, size - self.bytes(channel))
        freed = min(short[0], pool.withheld_messages), min(short[1], pool.withheld_bytes)
        pool.withheld_messages -= freed[0]
        pool.withheld_bytes -= freed[1]
        return freed != (0, 0)

    def most(self, channel: str) -> tuple[float, float]:
        """Return the largest message and byte credits that a channel can have."""
        config = self.config
        limits = (_amount(config.max_credits, channel), _amount(config.max_credit_bytes, channel))
        messages, size = (math.inf if limit is None else limit for limit in limits)
        return messages, size

    def request(self, channel: str, messages: int, size: int) -> tuple[int, int]:
        """Return the credits to request: as many as at the start, and at least those that are missing.

        Args:
            channel: The channel.
            messages: The message credits that are needed.
            size: The byte credits that are needed.

        Returns:
            Message and byte credits; 0 for those that suffice.
        """
        pool = self._pool(channel)
        config = self.config
        wanted: list[int] = []
        for needed, left, first in (
            (messages, pool.messages - pool.withheld_messages, self._first_messages(channel)),
            (size, pool.bytes - pool.withheld_bytes, self._first_bytes(channel)),
        ):
            wanted.append(max(1, first, needed - left) if needed > left else 0)
        most = _amount(config.max_credits, channel), _amount(config.max_credit_bytes, channel)
        limited = [n if limit is None else min(n, limit) for n, limit in zip(wanted, most, strict=True)]
        return limited[0], limited[1]

    def snapshot(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return message and byte credits by channel, for the standard channels and all channels in use."""
        names = dict.fromkeys([*(channel.value for channel in HaipChannel), *self._pools])
        return {name: self.messages(name) for name in names}, {name: self.bytes(name) for name in names}

    def _pool(self, channel: str) -> _Granted:
        pool = self._pools.get(channel)
        if pool is None:
            pool = self._pools[channel] = self._opened(channel)
        return pool

    def _opened(self, channel: str) -> _Granted:
        messages, bytes_ = self._first_messages(channel), self._first_bytes(channel)
        granted = _amount(self.announced_messages, channel), _amount(self.announced_bytes, channel)
        all_messages = messages if granted[0] is None else granted[0]
        all_bytes = bytes_ if granted[1] is None else granted[1]
        return _Granted(all_messages, all_bytes, all_messages - messages, all_bytes - bytes_)

    def _first_messages(self, channel: str) -> int:
        return _first(self.config.initial_credits, self.announced_messages, DEFAULT_CREDITS, channel)

    def _first_bytes(self, channel: str) -> int:
        return _first(self.config.initial_credit_bytes, self.announced_bytes, DEFAULT_CREDIT_BYTES, channel)


@dataclass(slots=True)
class _Booked:
    """One kind of credits of one channel: those that are left, unread messages, and an unanswered request."""

    window: int
    left: int
    unread: int = 0
    asked: int = 0

    @property
    def room(self) -> int:
        """The credits that may be granted, so that unspent and unread ones stay within the window."""
        return self.window - self.left - self.unread


@dataclass
class CreditLedger:
    """The credits of the other side, per channel, and the grants that are due.

    A channel has a window: the sum of unspent credits and of messages that arrived and were not read yet. New
    credits are due as messages are read, once half of the window is free. A request is answered as soon as
    everything that arrived was read, or half of the window is free. The other side may not use all of its
    credits, so the answer to a request may go beyond the window if nothing is unread, up to twice its size.

    Attributes:
        initial_messages: Message credits per channel at the start.
        initial_bytes: Byte credits per channel at the start.
        windows: The size of the window in initial credits. With 2, the first message that is read brings a
            grant of as many credits as at the start.
    """

    initial_messages: Amount = 1000
    initial_bytes: Amount = 16 * DEFAULT_CREDIT_BYTES
    windows: int = 1
    _booked: dict[str, tuple[_Booked, _Booked]] = field(default_factory=dict[str, tuple[_Booked, _Booked]])

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels in use."""
        return tuple(self._booked)

    def left(self, channel: str) -> tuple[int, int]:
        """Return the unspent message and byte credits of a channel; negative if more arrived than granted."""
        messages, size = self._books(channel)
        return messages.left, size.left

    def unread(self, channel: str) -> tuple[int, int]:
        """Return the message and byte credits of the messages that arrived and were not read yet."""
        messages, size = self._books(channel)
        return messages.unread, size.unread

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
        covered = True
        for booked, amount in zip(self._books(channel), (messages, size), strict=True):
            covered = covered and booked.left >= amount
            booked.left -= amount
            booked.unread += amount
        return covered

    def read(self, channel: str, messages: int, size: int) -> tuple[int, int]:
        """Note that a message was read.

        Args:
            channel: The channel.
            messages: Its cost in message credits.
            size: Its size in bytes.

        Returns:
            The message and byte credits to grant now; they are booked.
        """
        if messages == 0:
            return 0, 0
        books = self._books(channel)
        for booked, amount in zip(books, (messages, size), strict=True):
            booked.unread = max(0, booked.unread - amount)
        return self._due(books)

    def grant(self, channel: str, messages: int, size: int) -> None:
        """Book a grant."""
        for booked, amount in zip(self._books(channel), (messages, size), strict=True):
            booked.left += amount

    def answer(self, channel: str, messages: int, size: int) -> tuple[int, int]:
        """Note a request for credits.

        Args:
            channel: The channel.
            messages: The requested message credits.
            size: The requested byte credits.

        Returns:
            The message and byte credits to grant now; they are booked. The rest follows as messages are read.
        """
        books = self._books(channel)
        for booked, amount in zip(books, (messages, size), strict=True):
            booked.asked = max(booked.asked, amount)
        return self._due(books)

    def _due(self, books: tuple[_Booked, _Booked]) -> tuple[int, int]:
        all_read = not any(booked.unread for booked in books)
        if not any(_is_due(booked, all_read=all_read) for booked in books):
            return 0, 0
        granted: list[int] = []
        for booked in books:
            amount = booked.room
            if booked.asked and all_read:
                amount = max(amount, min(booked.asked, 2 * booked.window - booked.left))
            amount = max(0, amount)
            booked.left += amount
            if amount:
                booked.asked = 0
            granted.append(amount)
        return granted[0], granted[1]

    def _books(self, channel: str) -> tuple[_Booked, _Booked]:
        books = self._booked.get(channel)
        if books is None:
            messages = _amount(self.initial_messages, channel)
            size = _amount(self.initial_bytes, channel)
            books = self._booked[channel] = (
                self._opened(DEFAULT_CREDITS if messages is None else messages, DEFAULT_CREDITS),
                self._opened(DEFAULT_CREDIT_BYTES if size is None else size, DEFAULT_CREDIT_BYTES),
            )
        return books

    def _opened(self, initial: int, default: int) -> _Booked:
        # A window of zero would never open.
        return _Booked(self.windows * (initial or default), initial)


def _is_due(booked: _Booked, *, all_read: bool) -> bool:
    if 2 * booked.room >= booked.window:
        return True
    if not booked.asked:
        return False
    return all_read or booked.room >= booked.asked


def _amount(amount: Amount | None, channel: str) -> int | None:
    return amount if amount is None or isinstance(amount, int) else amount.get(channel)


def _at_most(value: int, limit: Amount | None, channel: str) -> int:
    most = _amount(limit, channel)
    return value if most is None else min(value, most)


def _first(configured: Amount | None, announced: Amount | None, default: int, channel: str) -> int:
    known = [n for n in (_amount(configured, channel), _amount(announced, channel)) if n is not None]
    return min(known) if known else default
