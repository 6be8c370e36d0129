"""A channel that does what a test tells it."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from ably_ai_transport.channel.contract import (
    Channel,
    ChannelSource,
    ChannelState,
    ChannelStateChange,
    HistoryPage,
    MessageListener,
    Presence,
    StateListener,
    Unsubscribe,
)
from ably_ai_transport.wire import AITransportError, InboundMessage, MessageAction, OutboundMessage

AnswerT = TypeVar("AnswerT")


class _Page:
    """One page of a list of messages."""

    def __init__(self, messages: Sequence[InboundMessage], start: int, limit: int) -> None:
        self._messages = messages
        self._end = start + limit
        self._limit = limit
        self.items = messages[start : self._end]

    @property
    def has_next(self) -> bool:
        return self._end < len(self._messages)

    async def next(self) -> HistoryPage | None:
        return _Page(self._messages, self._end, self._limit) if self.has_next else None


class Taken(NamedTuple):
    """A publish that the channel did not refuse.

    Attributes:
        action: What it does.
        messages: Its messages.
        serials: Their serials in the ack.
    """

    action: MessageAction
    messages: tuple[OutboundMessage, ...]
    serials: Sequence[str | None]


class ScriptedChannel(Channel):
    """A channel in memory: a test delivers messages to it, sets its history and answers what is published.

    Attributes:
        published: The published messages, in order, with their actions.
        taken: The same without the refused ones.
        answers: Answers to the next publishes. Without one, serials are made up; they sort after all
            deliveries.
        history_walks: The messages of the next walks through history, newest first; without any, it is empty.
        detached: Whether it has been detached.
        released: Whether it has been released.
    """

    def __init__(self, name: str = "channel", client_id: str | None = None) -> None:
        self.published: list[tuple[MessageAction, tuple[OutboundMessage, ...]]] = []
        self.taken: list[Taken] = []
        self.answers: deque[Sequence[str | None] | AITransportError] = deque()
        self.history_walks: deque[Sequence[InboundMessage]] = deque()
        self.detached = False
        self.released = False
        self._name = name
        self._client_id = client_id
        self._state = ChannelState.INITIALIZED
        self._reason: AITransportError | None = None
        self._listeners: list[MessageListener] = []
        self._state_listeners: list[StateListener] = []
        self._minted = 0
        self._newest = ""
        self._echoed = 0
        self._stored: dict[str | None, InboundMessage] = {}
        self._echo_time = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def client_id(self) -> str | None:
        return self._client_id

    @property
    def state(self) -> ChannelState:
        return self._state

    @property
    def error_reason(self) -> AITransportError | None:
        return self._reason

    @property
    def presence(self) -> Presence:
        raise NotImplementedError

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        serials = [self._mint() for _ in messages]
        return self._answer(MessageAction.CREATE, tuple(messages), list, serials)

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        return self._answer(MessageAction.APPEND, (message,), _first, [self._mint()])

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        return self._answer(MessageAction.UPDATE, (message,), _first, [self._mint()])

    async def attach(self) -> None:
        if self._state is not ChannelState.ATTACHED:
            self.set_state(ChannelState.ATTACHED)

    async def detach(self) -> None:
        self.detached = True
        self.set_state(ChannelState.DETACHED)

    def subscribe(self, listener: MessageListener) -> Unsubscribe:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def on_state(self, listener: StateListener) -> Unsubscribe:
        self._state_listeners.append(listener)
        return lambda: self._state_listeners.remove(listener)

    async def history(self, *, limit: int = 100) -> HistoryPage:
        return _Page(self.history_walks.popleft() if self.history_walks else (), 0, limit)

    async def flush(self) -> None:
        return

    def release(self) -> None:
        self.released = True

    def deliver(self, *messages: InboundMessage) -> None:
        """Deliver messages of others to all listeners."""
        for message in messages:
            self._newest = message.serial or self._newest
            self._emit(message)

    def echo(self) -> None:
        """Deliver what was taken since the last echo to all listeners, as its publisher receives it."""
        new, self._echoed = self.taken[self._echoed :], len(self.taken)
        for message in [echo for taken in new for echo in self._echoes_of(taken)]:
            self._emit(message)

    def set_state(
        self, state: ChannelState, *, resumed: bool = False, reason: AITransportError | None = None
    ) -> None:
        """Change the channel's state, or attach it anew where it is attached."""
        change = ChannelStateChange(self._state, state, resumed, reason)
        self._state, self._reason = state, reason
        for listener in tuple(self._state_listeners):
            listener(change)

    def _emit(self, message: InboundMessage) -> None:
        for listener in tuple(self._listeners):
            listener(message)

    def _echoes_of(self, taken: Taken) -> Iterator[InboundMessage]:
        for message, version in zip(taken.messages, taken.serials, strict=True):
            self._echo_time += 1
            new = InboundMessage(
                name=message.name, serial=version, timestamp=self._echo_time, client_id=self._client_id
            )
            first = self._stored.setdefault(message.serial or version, new)
            yield replace(
                first, action=taken.action, version=version, data=message.data, extras=message.extras
            )

    def _mint(self) -> str:
        self._minted += 1
        return f"{self._newest}~{self._minted:06}"

    def _answer(
        self,
        action: MessageAction,
        messages: tuple[OutboundMessage, ...],
        result: Callable[[Iterable[str | None]], AnswerT],
        minted: list[str],
    ) -> asyncio.Future[AnswerT]:
        self.published.append((action, messages))
        answer = self.answers.popleft() if self.answers else minted
        future: asyncio.Future[AnswerT] = asyncio.get_running_loop().create_future()
        if isinstance(answer, AITransportError):
            future.set_exception(answer)
            future.exception()  # a refusal that nobody awaits makes no noise
        else:
            self.taken.append(Taken(action, messages, answer))
            future.set_result(result(answer))
        return future


def _first(serials: Iterable[str | None]) -> str | None:
    return next(iter(serials))


class ScriptedSource(ChannelSource):
    """Hands out one scripted channel.

    Attributes:
        channel: The channel.
        opened: How it was asked for: name, agents and modes.
    """

    def __init__(self, channel: ScriptedChannel | None = None) -> None:
        self.channel = channel or ScriptedChannel()
        self.opened: list[tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]] = []

    def open_channel(
        self, name: str, *, agents: Sequence[tuple[str, str]] = (), modes: Sequence[str] = ()
    ) -> Channel:
        self.opened.append((name, tuple(agents), tuple(modes)))
        return self.channel
