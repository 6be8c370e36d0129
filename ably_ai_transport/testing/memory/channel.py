"""One session's use of a channel in memory."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ably_ai_transport.channel.acks import Acks
from ably_ai_transport.channel.contract import (
    ChannelState,
    ChannelStateChange,
    MessageListener,
    PublishStats,
    StateListener,
    Unsubscribe,
)
from ably_ai_transport.channel.payload import APPEND, UPDATE, written_change, written_new
from ably_ai_transport.testing.memory.log import Attachment, ChannelLog, Publisher
from ably_ai_transport.testing.memory.plan import FaultPlan
from ably_ai_transport.testing.memory.presence import MemoryPresence
from ably_ai_transport.testing.memory.turns import Turns
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    OutboundMessage,
    error_of,
)
from ably_ai_transport.wire.listeners import Listeners

T = TypeVar("T")

_MAX_PAGE = 1000
_UNPUBLISHABLE = frozenset({ChannelState.SUSPENDED, ChannelState.FAILED})
_INVALID_STATE = 90001
_SUPERSEDED = 90000


class MemoryChannel:
    """One channel in memory; see :class:`~ably_ai_transport.channel.contract.Channel`.

    Attributes:
        agents: The libraries that it was opened for.
    """

    def __init__(
        self,
        name: str,
        publisher: Publisher,
        *,
        log: ChannelLog,
        presence: MemoryPresence,
        turns: Turns,
        plan: FaultPlan,
        registry: "list[MemoryChannel]",
        max_message_size: int,
        agents: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.agents = tuple(agents)
        self._name = name
        self._publisher = publisher
        self._log = log
        self._presence = presence
        self._turns = turns
        self._plan = plan
        self._registry = registry
        self._max_message_size = max_message_size
        self._state = ChannelState.INITIALIZED
        self._error: AITransportError | None = None
        self._attachment: Attachment | None = None
        self._interrupted = False
        self._inbox: deque[InboundMessage] = deque()
        self._attaching: asyncio.Future[None] | None = None
        self._acks = Acks()
        self._messages: Listeners[InboundMessage] = Listeners()
        self._states: Listeners[ChannelStateChange] = Listeners()
        registry.append(self)

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._name

    @property
    def client_id(self) -> str | None:
        """The client id that this channel publishes under."""
        return self._publisher.client_id

    @property
    def state(self) -> ChannelState:
        """The channel's state."""
        return self._state

    @property
    def error_reason(self) -> AITransportError | None:
        """The reason of the latest change."""
        return self._error

    @property
    def presence(self) -> MemoryPresence:
        """The presence set of the channel, in memory."""
        return self._presence

    # Publishing

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        """Publish new messages, atomically; resolves to their serials."""
        try:
            written_new(messages, self._max_message_size, binary=False)
            self._check_publishable("create")
            serials = self._log.publish(messages, self._publisher)
        except AITransportError as error:
            return self._refused(error)
        return self._acked(serials)

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Append to the message that ``serial`` names; resolves to the new version's serial."""
        try:
            written_change(message, APPEND, self._max_message_size, binary=False)
            self._check_publishable("append")
            version = self._log.append(message, self._publisher)
        except AITransportError as error:
            return self._refused(error)
        return self._acked(version)

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Replace the message that ``serial`` names; resolves to the new version's serial."""
        try:
            written_change(message, UPDATE, self._max_message_size, binary=False)
            self._check_publishable("update")
            version = self._log.update(message, self._publisher)
        except AITransportError as error:
            return self._refused(error)
        return self._acked(version)

    async def flush(self) -> None:
        """Wait until every publish has its ack."""
        await self._acks.drained()

    # Attaching

    @property
    def append_interval(self) -> float:
        """0: each append is delivered."""
        return 0.0

    @property
    def publish_stats(self) -> PublishStats:
        """All zero: nothing is merged, and nothing refused for rate."""
        return PublishStats()

    async def attach(self) -> None:
        """Attach; returns once messages are received.

        Raises:
            AITransportError: A fault refused it, or the channel was detached meanwhile.
        """
        if self._state is ChannelState.ATTACHED:
            return
        if self._attaching is None:
            self._attaching = asyncio.get_running_loop().create_future()
            self._attaching.add_done_callback(lambda done: done.exception())
            self._change(ChannelState.ATTACHING)
            self._turns.add(self._finish_attach)
        # Shielded: one caller's cancellation is not the others' concern.
        await asyncio.shield(self._attaching)

    async def detach(self) -> None:
        """Detach."""
        if self._state in (ChannelState.INITIALIZED, ChannelState.DETACHED, ChannelState.FAILED):
            return
        detached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._change(ChannelState.DETACHING)
        self._leave()
        self._end_attaching(AITransportError("detach superseded the attach", _SUPERSEDED, 409))

        def finish() -> None:
            if self._state is ChannelState.DETACHING:
                self._change(ChannelState.DETACHED)
            _wake(detached)

        self._turns.add(finish)
        await detached

    def subscribe(self, listener: MessageListener) -> Unsubscribe:
        """Call a plain function with each message, in channel order. Attaches nothing by itself."""
        return self._messages.add(listener)

    def on_state(self, listener: StateListener) -> Unsubscribe:
        """Call a plain function with each change of state, and with each ATTACHED while attached."""
        return self._states.add(listener)

    async def history(self, *, limit: int = 100) -> "MemoryHistoryPage":
        """Fetch the messages published before the attach, newest first.

        Raises:
            AITransportError: The channel is not attached, or a fault.
        """
        if self._state is not ChannelState.ATTACHED or self._attachment is None:
            raise error_of(
                f"unable to read history; channel is {self._state}", ErrorCode.CHANNEL_NOT_READY, 400
            )
        if not 1 <= limit <= _MAX_PAGE:
            raise InvalidArgumentError(f"unable to read history; limit must be 1 to {_MAX_PAGE}, got {limit}")
        return await self.fetch_page(self._attachment.serial, limit, None)

    async def fetch_page(self, bound: str, limit: int, older_than: str | None) -> "MemoryHistoryPage":
        """Fetch a page of history, a turn of the loop later."""
        fetched: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.add(lambda: _wake(fetched))
        await fetched
        error = self._plan.refusal("history", self._name)
        if error is not None:
            raise error
        items, has_next = self._log.before(bound, limit, older_than)
        return MemoryHistoryPage(self, items, has_next, bound, limit)

    def release(self) -> None:
        """Remove the listeners, the member of the presence set and the attachment."""
        self._messages.clear()
        self._states.clear()
        self._presence.release()
        self._leave()
        if self in self._registry:
            self._registry.remove(self)

    # What the fault switch does

    def interrupt(self, state: ChannelState, error: AITransportError) -> None:
        """Leave ATTACHED for a while, or for good."""
        if self._state not in (ChannelState.ATTACHED, ChannelState.ATTACHING, ChannelState.SUSPENDED):
            return

        def happen() -> None:
            self._interrupted = True
            self._change(state, reason=error)
            self._end_attaching(error)

        self._turns.add(happen)

    def reattach(self, *, resumed: bool) -> None:
        """Attach anew, with or without the missed messages."""

        def happen() -> None:
            if self._attachment is None:
                return
            self._interrupted = False
            if not resumed:
                self._inbox.clear()
                self._log.move_to_head(self._attachment)
            elif self._state is ChannelState.ATTACHED:
                self._change(ChannelState.ATTACHING)
            self._change(ChannelState.ATTACHED, resumed=resumed)
            self.release_held()

        self._turns.add(happen)

    def release_held(self) -> None:
        """Deliver the held messages, unless there is still a reason to hold them."""
        for _ in self._inbox:
            self._turns.add(self._deliver_next)

    # Inside

    def _check_publishable(self, operation: str) -> None:
        if self._state in _UNPUBLISHABLE:
            raise error_of(f"unable to publish; channel is {self._state}", _INVALID_STATE, 400, self._error)
        error = self._plan.refusal(operation, self._name)
        if error is not None:
            raise error

    def _acked(self, value: T) -> asyncio.Future[T]:
        ack: asyncio.Future[T] = self._acks.expect()
        self._plan.ack(lambda: self._acks.resolve(ack, value))
        return ack

    def _refused(self, error: AITransportError) -> asyncio.Future[Any]:
        ack: asyncio.Future[Any] = self._acks.expect()
        self._plan.ack(lambda: self._acks.refuse(ack, error))
        return ack

    def _finish_attach(self) -> None:
        if self._state is not ChannelState.ATTACHING:
            return
        error = self._plan.refusal("attach", self._name)
        if error is not None:
            self._change(ChannelState.FAILED, reason=error)
            self._end_attaching(error)
            return
        self._leave()
        self._attachment = self._log.attach(self._deliver)
        self._change(ChannelState.ATTACHED)
        self._end_attaching(None)

    def _end_attaching(self, error: AITransportError | None) -> None:
        attaching, self._attaching = self._attaching, None
        if attaching is None or attaching.done():
            return
        if error is None:
            attaching.set_result(None)
        else:
            attaching.set_exception(error)

    def _leave(self) -> None:
        self._inbox.clear()
        self._interrupted = False
        if self._attachment is not None and self._attachment in self._log.attachments:
            self._log.attachments.remove(self._attachment)
        self._attachment = None

    def _change(
        self, state: ChannelState, *, resumed: bool = False, reason: AITransportError | None = None
    ) -> None:
        previous, self._state = self._state, state
        if reason is not None or state is ChannelState.ATTACHED:
            self._error = reason
        self._states.emit(ChannelStateChange(previous, state, resumed, reason))

    def _holds(self) -> bool:
        return self._interrupted or self._plan.holds_deliveries

    def _deliver(self, message: InboundMessage) -> None:
        self._inbox.append(message)
        self._turns.add(self._deliver_next)

    def _deliver_next(self) -> None:
        if self._inbox and not self._holds():
            self._messages.emit(self._inbox.popleft())


@dataclass(frozen=True, slots=True)
class MemoryHistoryPage:
    """One page of history."""

    channel: MemoryChannel
    items: Sequence[InboundMessage]
    has_next: bool
    bound: str
    limit: int

    async def next(self) -> "MemoryHistoryPage | None":
        """Fetch the next page; None when there is none.

        Raises:
            AITransportError: A fault.
        """
        if not self.has_next:
            return None
        return await self.channel.fetch_page(self.bound, self.limit, self.items[-1].serial)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
