"""The contract of a channel: about a dozen operations that sessions need."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from ably_ai_transport.wire import AITransportError, InboundMessage, OutboundMessage


class ChannelState(StrEnum):
    """The states of a channel, in Ably's words."""

    INITIALIZED = "initialized"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    DETACHED = "detached"
    SUSPENDED = "suspended"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ChannelStateChange:
    """A change of a channel's state, or another ATTACHED while attached.

    Attributes:
        previous: The state before.
        current: The state now; equal to ``previous`` where the channel was attached again.
        resumed: Whether no message was missed.
        reason: The reason, where the channel gave one.
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


class PresenceMember(Protocol):
    """A member of a channel's presence set, or a change by a member."""

    @property
    def action(self) -> int | None:
        """1 present, 2 enter, 3 leave, 4 update."""
        ...

    @property
    def client_id(self) -> str | None:
        """The member's client id."""
        ...

    @property
    def connection_id(self) -> str | None:
        """The connection that the member is present on."""
        ...

    @property
    def data(self) -> object:
        """The data that the member published."""
        ...


PresenceListener: TypeAlias = Callable[[PresenceMember], object]
"""A plain function that is called with each change of the presence set."""


class Presence(Protocol):
    """The presence set of a channel, with the methods of the SDK's ``RealtimePresence``."""

    def enter(self, data: object = None) -> Coroutine[Any, Any, None]:
        """Enter under the channel's client id."""
        ...

    def update(self, data: object = None) -> Coroutine[Any, Any, None]:
        """Change the data; enters where the client has not."""
        ...

    def leave(self, data: object = None) -> Coroutine[Any, Any, None]:
        """Leave."""
        ...

    def get(
        self, wait_for_sync: bool = True, client_id: str | None = None, connection_id: str | None = None
    ) -> Coroutine[Any, Any, Sequence[PresenceMember]]:
        """Return the members that are present now.

        Args:
            wait_for_sync: Whether to wait until the set is complete.
            client_id: Only members with this client id.
            connection_id: Only members on this connection.
        """
        ...

    def subscribe(self, *event_and_listener: str | PresenceListener) -> Coroutine[Any, Any, None]:
        """Call a plain function with each change, or with one kind: ``subscribe("enter", listener)``."""
        ...

    def unsubscribe(self, *event_and_listener: str | PresenceListener) -> None:
        """Remove a listener, or all."""
        ...


@dataclass(slots=True)
class PublishStats:
    """Counters of one session's publishes.

    Attributes:
        merged: Appends that left as part of an earlier one that had to wait.
        refused: Publishes that the server refused for rate, and that are repeated.
    """

    merged: int = 0
    refused: int = 0


class Channel(Protocol):
    """One channel, as one session uses it.

    ``publish``, ``append`` and ``update`` enqueue at once, in the order of the calls, and return a future
    for the ack. A refused publish fails it with an :class:`AITransportError`. A failure that is
    never awaited is not logged.
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
        """The channel's state."""
        ...

    @property
    def error_reason(self) -> AITransportError | None:
        """The reason of the latest change, where the channel gave one."""
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

    @property
    def append_interval(self) -> float:
        """Seconds in which the server joins the appends to one message; 0 where it delivers each."""
        return 0.0

    @property
    def publish_stats(self) -> PublishStats:
        """The counters so far; all zero where the channel does not count."""
        return PublishStats()

    @abstractmethod
    async def attach(self) -> None:
        """Attach; returns once messages are received. Attaching twice is fine.

        Raises:
            AITransportError: The channel, or its connection, refused.
        """
        ...

    @abstractmethod
    async def detach(self) -> None:
        """Detach, as far as that is possible: without a connection it returns at once."""
        ...

    @abstractmethod
    def subscribe(self, listener: MessageListener) -> Unsubscribe:
        """Call a plain function with each message, in channel order. Does not attach."""
        ...

    @abstractmethod
    def on_state(self, listener: StateListener) -> Unsubscribe:
        """Call a plain function with each change of state, and with each ATTACHED while attached."""
        ...

    @abstractmethod
    async def history(self, *, limit: int = 100) -> HistoryPage:
        """Fetch the messages up to the attach, newest first; the listeners get the later ones.

        Args:
            limit: Messages a page, 1 to 1000.

        Raises:
            AITransportError: The channel is not attached, or the history could not be fetched.
        """
        ...

    @property
    def presence(self) -> Presence:
        """The channel's presence set."""
        ...

    @abstractmethod
    async def flush(self) -> None:
        """Wait until every publish has its ack."""
        ...

    @abstractmethod
    def release(self) -> None:
        """Remove the listeners and free resources. The channel must not be used afterwards."""
        ...


@runtime_checkable
class ChannelSource(Protocol):
    """A source of channels for sessions, in place of an Ably client."""

    @abstractmethod
    def open_channel(
        self, name: str, *, agents: Sequence[tuple[str, str]] = (), modes: Sequence[str] = ()
    ) -> Channel:
        """Return a channel, not attached yet.

        Args:
            name: The channel's name.
            agents: Name and version of each library that uses it, for identification.
            modes: Channel modes to request; empty for the server's default set.
        """
        ...
