"""The conversation of one session: one door for live messages and for history."""

import asyncio
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import anyio

from ably_ai_transport.channel.contract import Channel, HistoryPage
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import (
    ConversationNode,
    OutputFolded,
    Received,
    RunNode,
    Tree,
    TreeEvent,
    TreeUpdated,
)
from ably_ai_transport.payloads.exchange import PayloadExchange
from ably_ai_transport.session.logs import LOGGER, SessionLog
from ably_ai_transport.session.payloads import ArrivingPayloads
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    MessageAction,
    RunEnd,
    RunLifecycleEvent,
    RunResume,
    RunStart,
    RunSuspend,
    StepEnd,
    StepStart,
    names,
)
from ably_ai_transport.wire.listeners import Listeners, Spawn

E = TypeVar("E")

_ECHO_SECONDS = 0.1
_RETRIES = 3
_FIRST_BACKOFF_SECONDS = 0.1


KINDS: Final = (TreeUpdated, OutputFolded, InboundMessage, RunStart, RunSuspend, RunResume, RunEnd)
"""The classes of the events that a change may hold."""


class Change(NamedTuple, Generic[InT, OutT]):
    """One change of a conversation.

    Attributes:
        event: The change.
        live: Whether it is a live message of the channel, not one of its history.
        message: The message that brought it; None for a preview of a message that this session publishes.
    """

    event: TreeEvent[InT, OutT]
    live: bool
    message: InboundMessage | None


class Gate(Protocol):
    """Decides which messages a conversation takes in."""

    def admit(self, received: Received) -> Sequence[Received]:
        """Return the messages to take in now: none, this one, or this one and those that waited for it."""
        ...

    def flush(self, *, exhausted: bool) -> Sequence[Received]:
        """Return the messages that waited and are to be taken in now.

        Args:
            exhausted: Whether history has just been read to its end.
        """
        ...


class LiveConversation(Generic[InT, OutT, ProjT, MsgT]):
    """A tree, the subscribers to its changes, and the walk back through the channel's history.

    Everything that arrives goes through :meth:`receive`: it is applied to the tree, and then published to the
    subscribers. Run latches, steering, cancel routing and views are subscribers like any other.

    Args:
        channel: The channel.
        codec: The codec.
        page_size: Messages a page of history.
        reorder_window_ms: How long a finished run's events are kept, in milliseconds of message time.
        report: Called with errors of processing and of subscribers.
        log: Gets debug records.
        payloads: Brings back values from the session's payload store; None shows references as they came.
        spawn: Runs reads of that store in tasks of the session.
    """

    def __init__(
        self,
        channel: Channel,
        codec: Codec[InT, OutT, ProjT, MsgT],
        *,
        page_size: int,
        reorder_window_ms: int,
        report: Callable[[AITransportError], None],
        log: SessionLog,
        payloads: PayloadExchange | None = None,
        spawn: Spawn,
    ) -> None:
        self.tree = Tree(codec, reorder_window_ms=reorder_window_ms)
        """The conversation as it has been applied."""
        self.history_error: AITransportError | None = None
        """The error of the last attempt to read history; None if it succeeded."""
        self.gates: list[Gate] = []
        """Each message passes them in this order."""
        self._report = report
        self._log = log
        self._subscribers = {
            kind: Listeners[Change[InT, OutT]](self._on_listener_exception, logger=LOGGER) for kind in KINDS
        }
        self._echoes = _Echoes()
        self._pipes = 0
        self._watched = False
        self._flushing: asyncio.Handle | None = None
        self._news: anyio.Event | None = None
        self._channel = channel
        self._page_size = page_size
        self._lock = anyio.Lock()
        self._page: HistoryPage | None = None
        self._page_head: str | None = None
        self._exhausted = False
        self._walk = 0
        self._unknown_told = 0
        self._gap: str | None = None
        self._payloads: ArrivingPayloads[InT, OutT, ProjT, MsgT] | None = None
        if payloads is not None:
            self._payloads = ArrivingPayloads(
                payloads, self.tree, publish=self.publish, report=report, spawn=spawn
            )

    def has_read_before(self, message: InboundMessage) -> bool:
        """Tell whether a page of history has been read that ends before a message, or all of history."""
        return self._exhausted or (self._page_head is not None and self._page_head < (message.serial or ""))

    @property
    def has_older(self) -> bool:
        """Whether the channel's history may hold messages that have not been read."""
        return not self._exhausted

    def subscribe(
        self, subscriber: Callable[[Change[InT, OutT]], object], *kinds: type
    ) -> Callable[[], None]:
        """Call a plain function with each change.

        Args:
            subscriber: The function. An exception in it is logged and reported, and stops nothing.
            kinds: The classes of events that it wants; all of them by default.

        Returns:
            A function that removes the subscriber.
        """
        removes = [self._subscribers[kind].add(subscriber) for kind in kinds or KINDS]

        def remove() -> None:
            for one in removes:
                one()

        return remove

    def receive(self, message: InboundMessage, *, live: bool) -> None:
        """Take a message from the channel or from history.

        Args:
            message: The message. One that cannot be processed is reported, and changes nothing.
            live: Whether the channel delivered it now.
        """
        if self.gates:
            self._take_all(self._pass_gates([Received(message, live)], self.gates))
        else:
            self.take(message, live=live)

    def take(self, message: InboundMessage, *, live: bool) -> None:
        """Take a message that has passed the gates.

        Args:
            message: As for :meth:`receive`.
            live: As for :meth:`receive`.
        """
        if self._pipes:
            if live and not self._watched and self._hold(message):
                return
            self.flush_echoes()
        self._apply(message, live=live)

    def flush_echoes(self) -> None:
        """Apply and publish the echoes that are held back."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        message = self._echoes.release()
        if message is not None:
            self._apply(message, live=True)

    @contextmanager
    def holding_echoes(self) -> Generator[None]:
        """Apply echoes of tokens in batches while a pipe runs; after it each echo is applied at once."""
        self._pipes += 1
        try:
            yield
        finally:
            self._pipes -= 1
            self.flush_echoes()

    def watch_closely(self) -> None:
        """Hold no echoes back from now on: a listener wants each token."""
        self.flush_echoes()
        self._watched = True

    def publish(
        self,
        events: Iterable[TreeEvent[InT, OutT]],
        *,
        live: bool = True,
        message: InboundMessage | None = None,
    ) -> None:
        """Tell the subscribers what changed."""
        for event in events:
            if subscribers := self._subscribers[type(event)]:
                subscribers.emit(Change(event, live, message))
        if self._news is not None:
            self._news.set()
            self._news = None

    def preview(self, event: RunLifecycleEvent | StepStart | StepEnd) -> None:
        """Apply an event that this session has published, before the channel echoes it."""
        if isinstance(event, StepStart | StepEnd):
            self.publish(self.tree.apply_step_lifecycle(event))
        else:
            self.publish(self.tree.apply_run_lifecycle(event))

    async def find(self, found: Callable[[], bool]) -> None:
        """Wait until something is in the conversation: read history back to it, or wait for it to come live.

        Where history cannot be read, :attr:`history_error` says why, and the wait goes on.

        Args:
            found: Tells whether it is there; called again after each change.
        """
        while not found():
            walk = self._walk
            try:
                await self.read_history(found)
            except AITransportError as error:
                self._log.warning("History could not be read; waiting for live messages: %s", error)
            while not found() and walk == self._walk:
                self._news = self._news or anyio.Event()
                await self._news.wait()

    def wake(self) -> None:
        """Let every :meth:`find` look again."""
        self.publish(())

    async def read_history(self, enough: Callable[[], bool]) -> None:
        """Read history, page by page, newest first, until there is enough of it or none left.

        Args:
            enough: Called before each page.

        Raises:
            ChannelRefusedError: A page could not be fetched, after retries (104011).
        """
        async with self._lock:
            while not self._exhausted and not enough():
                walk = self._walk
                page = await self._next_page()
                self._log.debug("history page", extra={"messages": len(page.items)})
                items = page.items
                if self._payloads is not None:
                    items = await self._payloads.bring_back(items)
                for message in reversed(items):
                    self.receive(message, live=False)
                if page.items:
                    self._page_head = page.items[0].serial
                if walk == self._walk:
                    self._page = page
                    self._exhausted = not page.has_next
                    self._close_gap(page)
                    if self._exhausted:
                        self._flush_gates(exhausted=True)

    def expect_gap(self) -> None:
        """Note that messages may have been missed: history is read again, from its end."""
        self.flush_echoes()
        self._walk += 1
        self._page = None
        self._page_head = None
        self._exhausted = False
        if self._gap is None:
            self._gap = self.tree.newest_serial
        self.wake()

    async def fill_gap(self) -> None:
        """Read the messages that may have been missed, back to those that are known.

        Raises:
            ChannelRefusedError: A page could not be fetched, after retries (104011).
        """
        if self._gap is not None:
            await self.read_history(lambda: self._gap is None)

    async def payloads_settled(self) -> None:
        """Wait until messages that have arrived show their original values, as far as the store has them."""
        if self._payloads is not None:
            await self._payloads.settled()

    def close(self) -> None:
        """Remove all subscribers."""
        if self._payloads is not None:
            self._payloads.close()
        for subscribers in self._subscribers.values():
            subscribers.clear()
        self.flush_echoes()

    @staticmethod
    def _pass_gates(received: Sequence[Received], gates: Sequence[Gate]) -> Sequence[Received]:
        for gate in gates:
            received = [admitted for one in received for admitted in gate.admit(one)]
        return received

    def _flush_gates(self, *, exhausted: bool) -> None:
        for place, gate in enumerate(self.gates):
            if received := gate.flush(exhausted=exhausted):
                self._take_all(self._pass_gates(received, self.gates[place + 1 :]))

    def _take_all(self, received: Sequence[Received]) -> None:
        for message, live in received:
            self.take(message, live=live)

    def _hold(self, message: InboundMessage) -> bool:
        if not self._echoes.hold(message):
            self.flush_echoes()
            if not self._echoes.hold(message):
                return False
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(_ECHO_SECONDS, self.flush_echoes)
        return True

    def _apply(self, message: InboundMessage, *, live: bool) -> None:
        if self._payloads is not None:
            message = self._payloads.known(message)
        try:
            events = self.tree.apply(message)
        except Exception as error:  # noqa: BLE001 - a codec's code may be a user's
            self._log.exception(
                "A %s message could not be processed",
                "live" if live else "history",
                extra={"serial": message.serial},
            )
            self._report(
                AITransportError.wrap("process channel message", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR)
            )
        else:
            if len(self.tree.unknown_kinds) != self._unknown_told:
                self._report_unknown(message)
            if self._payloads is not None:
                self._payloads.follow_up(message)
            self.publish(events, live=live, message=message)
            if self.gates:
                self._flush_gates(exhausted=False)

    def _report_unknown(self, message: InboundMessage) -> None:
        """Report the first event kind that the codec does not know, and log each further one."""
        kinds = self.tree.unknown_kinds
        error = AITransportError(
            f"unable to read message; {type(self.tree.codec).__name__} does not know the event"
            f" {message.codec_headers.get('kind') or message.codec_headers.get('type')!r} that"
            f" {message.client_id or 'an unnamed client'} published (do all clients use the same codec?)",
            ErrorCode.BAD_REQUEST,
        )
        if self._unknown_told == 0:
            self._report(error)
        else:
            self._log.warning("%s", error, extra={"serial": message.serial})
        self._unknown_told = len(kinds)

    def _close_gap(self, page: HistoryPage) -> None:
        known = self._gap is not None and any((message.serial or "") <= self._gap for message in page.items)
        if known or self._exhausted:
            self._gap = None

    async def _next_page(self) -> HistoryPage:
        backoff = _FIRST_BACKOFF_SECONDS
        for attempt in range(1, _RETRIES + 1):
            try:
                return await self._fetch()
            except AITransportError as error:
                self._log.debug(
                    "A page of history could not be fetched: %s", error, extra={"attempt": attempt}
                )
                await anyio.sleep(backoff)
                backoff *= 2
        try:
            return await self._fetch()
        except AITransportError as error:
            failure = AITransportError.wrap("fold channel history", error, ErrorCode.HISTORY_FETCH_FAILED)
            self.history_error = failure
            raise failure from error

    async def _fetch(self) -> HistoryPage:
        if self._page is None:
            await self._channel.attach()
            page = await self._channel.history(limit=self._page_size)
        else:
            page = await self._page.next() or _NoPage()
        self.history_error = None
        return page

    def _on_listener_exception(self, error: Exception) -> None:
        self._report(AITransportError.wrap("call listener", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR))


class _NoPage:
    """The page after the last one."""

    items: Sequence[InboundMessage] = ()
    has_next = False

    async def next(self) -> None:
        return None


class _Echoes:
    """Appends to one open stream, joined while they are held back.

    An agent receives the echo of every token that it publishes. While it pipes, and no listener wants each of
    them, they are decoded and folded together, up to a tenth of a second later.
    """

    __slots__ = ("_latest", "_texts")

    def __init__(self) -> None:
        self._latest: InboundMessage | None = None
        self._texts: list[str] = []

    def hold(self, message: InboundMessage) -> bool:
        """Hold a message back, if it continues the held ones.

        Returns:
            Whether it is held. If not, the held messages must be applied first, and then the message.
        """
        latest, text = self._latest, message.data
        if (
            message.action is not MessageAction.APPEND
            or not isinstance(text, str)
            or message.transport_headers.get(names.STATUS) != "streaming"
        ):
            return False
        if latest is not None and (
            latest.serial != message.serial or (message.version or "") <= (latest.version or "")
        ):
            return False
        self._latest = message
        self._texts.append(text)
        return True

    def release(self) -> InboundMessage | None:
        """Return the held messages as one; None if there are none."""
        latest = self._latest
        if latest is None:
            return None
        texts, self._latest, self._texts = self._texts, None, []
        return latest if len(texts) == 1 else replace(latest, data="".join(texts))


class SessionTree(Generic[InT, OutT, ProjT, MsgT]):
    """The whole conversation that a session has seen: every branch, read-only, with its events.

    A listener is a plain function or a coroutine function; an exception in it is logged and reported through
    the session's ``on_error``. Each ``on_…`` method returns a function that removes the listener.

    Example:
        >>> session.tree.on_run(lambda event: print(event.type, event.run_id))  # doctest: +SKIP
    """

    def __init__(
        self,
        conversation: LiveConversation[InT, OutT, ProjT, MsgT],
        *,
        on_exception: Callable[[Exception], None],
        spawn: Spawn,
    ) -> None:
        self._conversation = conversation
        self._updates = Listeners[None](on_exception, spawn=spawn, logger=LOGGER)
        self._messages = Listeners[InboundMessage](on_exception, spawn=spawn, logger=LOGGER)
        self._runs = Listeners[RunLifecycleEvent](on_exception, spawn=spawn, logger=LOGGER)
        self._outputs = Listeners[OutputFolded[InT, OutT]](on_exception, spawn=spawn, logger=LOGGER)
        self._unsubscribe: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"<SessionTree {len(self.nodes)} nodes>"

    @property
    def nodes(self) -> list[ConversationNode[ProjT]]:
        """All inputs and runs that have been seen, on any branch, in the order of the channel."""
        return list(self._conversation.tree.index)

    def get_run_node(self, run_id: str) -> RunNode[ProjT] | None:
        """Return a run; None when it has not been seen."""
        return self._conversation.tree.get_run_node(run_id)

    def get_node_by_codec_message_id(self, codec_message_id: str) -> ConversationNode[ProjT] | None:
        """Return the node that owns a message; None when it has not been seen."""
        return self._conversation.tree.get_node_by_codec_message_id(codec_message_id)

    def get_sibling_nodes(self, key: str) -> Sequence[ConversationNode[ProjT]]:
        """Return the alternatives at a node's place, itself included, oldest first."""
        return self._conversation.tree.get_sibling_nodes(key)

    def author_of(self, codec_message_id: str) -> str | None:
        """Return the client id of a message's author, as Ably verified it.

        Args:
            codec_message_id: The message.

        Returns:
            The first publisher; None for an anonymous one, and until the channel has brought the message.
        """
        author = self._conversation.tree.author_of(codec_message_id)
        return None if author is None else author.client_id

    def find_message_by_event_id(self, event_id: str) -> InboundMessage | None:
        """Return the earliest channel message with an event id; None when it has not been seen."""
        return self._conversation.tree.find_message_by_event_id(event_id)

    def on_update(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call a function when nodes come, go or change places."""
        return self._listen(self._updates, lambda _: listener())

    def on_message(self, listener: Callable[[InboundMessage], object]) -> Callable[[], None]:
        """Call a function with each channel message, after the events of its changes."""
        return self._listen(self._messages, listener)

    def on_run(self, listener: Callable[[RunLifecycleEvent], object]) -> Callable[[], None]:
        """Call a function with each event of a run's life."""
        return self._listen(self._runs, listener)

    def on_output(self, listener: Callable[[OutputFolded[InT, OutT]], object]) -> Callable[[], None]:
        """Call a function with the events that are folded into a node, and their routing."""
        return self._listen(self._outputs, listener)

    def _listen(self, listeners: Listeners[E], listener: Callable[[E], object]) -> Callable[[], None]:
        remove = listeners.add(listener)
        self._conversation.watch_closely()
        if self._unsubscribe is None:
            self._unsubscribe = self._conversation.subscribe(self._on_change)
        return remove

    def _on_change(self, change: Change[InT, OutT]) -> None:
        match change.event:
            case OutputFolded() as output:
                self._outputs.emit(output)
            case InboundMessage() as message:
                self._messages.emit(message)
            case TreeUpdated():
                self._updates.emit(None)
            case run_event:
                self._runs.emit(run_event)
