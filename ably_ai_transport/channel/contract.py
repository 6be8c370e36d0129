"""What sessions need of a channel: about a dozen operations, whoever provides them."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias, runtime_checkable

from ably_ai_transport.wire import AITransportError, InboundMessage, OutboundMessage


class ChannelState(StrEnum):
    """Where a channel stands, in Ably's words."""

    INITIALIZED = "initialized"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    DETACHED = "detached"
    SUSPENDED = "suspended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ChannelStateChange:
    """A change of a channel's state, or a new ATTACHED while attached.

    Attributes:
        previous: The state before.
        current: The state now; equal to ``previous`` where the channel was attached anew.
        resumed: Whether no message was missed.
        reason: Why, where the channel said so.
    """

    previous: ChannelState
    current: ChannelState
    resumed: bool = False
    reason: AITransportError | None = None


MessageListener: TypeAlias = Callable[[InboundMessage], None]
StateListener: TypeAlias = Callable[[ChannelStateChange], None]
Unsubscribe: TypeAlias = Callable[[], None]


class HistoryPage(Protocol):
    """One page of a channel's history, newest first."""

    @property
    def items(self) -> Sequence[InboundMessage]:
        """The messages of this page, each in its latest version."""
        ...

    @property
    def has_next(self) -> bool:
        """Whether there are older messages."""
        ...

    async def next(self) -> "HistoryPage | None":
        """Fetch the next page; None when there is none.

        Raises:
            AITransportError: The page could not be fetched.
        """
        ...


class Channel(Protocol):
    """One channel, as one session uses it.

    Calls that publish enqueue at once, in the order of the calls, and return a future for the answer. A
    future that fails does so with an :class:`AITransportError`; one that nobody awaits makes no noise.
    """

    @property
    def name(self) -> str:
        """The channel's name."""
        ...

    @property
    def client_id(self) -> str | None:
        """The verified client id that this channel publishes under; None when anonymous or not connected."""
        ...

    @property
    def state(self) -> ChannelState:
        """Where the channel stands."""
        ...

    @property
    def error_reason(self) -> AITransportError | None:
        """Why the channel is where it stands, where it said so."""
        ...

    @abstractmethod
    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        """Publish new messages, atomically; resolves to their serials."""
        ...

    @abstractmethod
    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Append text to the message that ``serial`` names; resolves to the new version's serial."""
        ...

    @abstractmethod
    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Replace the message that ``serial`` names; resolves to the new version's serial."""
        ...

    @abstractmethod
    async def attach(self) -> None:
        """Attach; returns once messages are received. Attaching twice is fine.

        Raises:
            AITransportError: The channel, or its connection, refused.
        """
        ...

    @abstractmethod
    async def detach(self) -> None:
        """Detach. Best effort: returns at once where there is no connection to say so on."""
        ...

    @abstractmethod
    def subscribe(self, listener: MessageListener) -> Unsubscribe:
        """Call a plain function with each message, in channel order. Attaches nothing by itself."""
        ...

    @abstractmethod
    def on_state(self, listener: StateListener) -> Unsubscribe:
        """Call a plain function with each change of state, and with each ATTACHED while attached."""
        ...

    @abstractmethod
    async def history(self, *, limit: int = 100) -> HistoryPage:
        """Fetch what was published up to the attach, newest first; later messages come by subscription.

        Args:
            limit: Messages a page, 1 to 1000.

        Raises:
            AITransportError: The channel is not attached, or the history could not be fetched.
        """
        ...

    @property
    def presence(self) -> object:
        """The channel's presence, in the terms of the SDK underneath."""
        ...

    @abstractmethod
    async def flush(self) -> None:
        """Wait until nothing published is unanswered."""
        ...

    @abstractmethod
    def release(self) -> None:
        """Let go of listeners and resources. The channel object must not be used afterwards."""
        ...


@runtime_checkable
class ChannelSource(Protocol):
    """Where sessions get their channels from, in place of an Ably client."""

    @abstractmethod
    def open_channel(
        self, name: str, *, agents: Sequence[tuple[str, str]] = (), modes: Sequence[str] = ()
    ) -> Channel:
        """Return a channel, not attached yet.

        Args:
            name: The channel's name.
            agents: Name and version of each library that uses it, for identification.
            modes: Channel modes to ask for; the server's default set where empty.
        """
        ...
