"""The conversation of one session: where messages from the channel and from history come together."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeAlias

import anyio

from ably_ai_transport.channel.contract import Channel, HistoryPage
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import (
    ConversationNode,
    OutputFolded,
    RunNode,
    Tree,
    TreeEvent,
    TreeUpdated,
)
from ably_ai_transport.session.emitter import Emitter
from ably_ai_transport.session.held_appends import HeldAppends
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, RunLifecycleEvent

logger = logging.getLogger("ably_ai_transport.session")

Watcher: TypeAlias = Callable[[TreeEvent[InT, OutT], bool], None]
"""Follows the changes of a conversation; told, too, whether a change came out of history."""

_RETRIES = 3
_FIRST_BACKOFF_SECONDS = 0.1


class Materialisation(Generic[InT, OutT, ProjT, MsgT]):
    """A tree with those who watch it, and the walk back through the channel's history.

    Args:
        channel: The channel.
        codec: The codec.
        page_size: Messages a page of history.
        reorder_window_ms: How long a finished run's events are kept, in milliseconds of message time.
        on_exception: Called with what a listener raised.
        lazy: Whether tokens may be taken in together as long as nobody watches closely.
    """

    def __init__(
        self,
        channel: Channel,
        codec: Codec[InT, OutT, ProjT, MsgT],
        *,
        page_size: int,
        reorder_window_ms: int,
        on_exception: Callable[[Exception], None],
        lazy: bool = False,
    ) -> None:
        self._tree = Tree(codec, reorder_window_ms=reorder_window_ms)
        self._held = HeldAppends() if lazy else None
        self._channel = channel
        self._page_size = page_size
        self._watchers: dict[object, Watcher[InT, OutT]] = {}
        self._on_exception = on_exception
        self._lock = anyio.Lock()
        self._page: HistoryPage | None = None
        self._exhausted = False
        self._walk = 0
        self._gap: str | None = None

    @property
    def tree(self) -> Tree[InT, OutT, ProjT, MsgT]:
        """The conversation, with everything that has arrived."""
        self.catch_up()
        return self._tree

    @property
    def has_older(self) -> bool:
        """Whether the channel's history may hold messages that have not been read."""
        return not self._exhausted

    def watch(self, watcher: Watcher[InT, OutT]) -> Callable[[], None]:
        """Call a function with each change, and whether it came out of history.

        Args:
            watcher: The function; what it raises is logged and stops nothing.

        Returns:
            A function that takes the watcher away again.
        """
        token = object()
        self._watchers[token] = watcher

        def remove() -> None:
            self._watchers.pop(token, None)

        return remove

    def apply(self, message: InboundMessage, *, from_history: bool = False) -> None:
        """Take in a message and tell the watchers what changed."""
        if self._held is not None:
            if not from_history and self._held.hold(message):
                return
            self.catch_up()
            if not from_history and self._held.hold(message):
                return
        self.publish(self._tree.apply(message), from_history=from_history)

    def catch_up(self) -> None:
        """Take in what was held back."""
        if self._held is not None and (message := self._held.release()) is not None:
            self.publish(self._tree.apply(message))

    def watch_closely(self) -> None:
        """Hold nothing back from now on: somebody wants to see each token."""
        self.catch_up()
        self._held = None

    def publish(self, events: Iterable[TreeEvent[InT, OutT]], *, from_history: bool = False) -> None:
        """Tell the watchers what changed."""
        for event in events:
            for watcher in tuple(self._watchers.values()):
                try:
                    watcher(event, from_history)
                except Exception as error:
                    logger.exception("A change of the conversation could not be followed")
                    self._on_exception(error)

    async def fold_until(self, enough: Callable[[], bool]) -> None:
        """Read history, page by page, newest first, until there is enough of it or none left.

        Args:
            enough: Asked before each page.

        Raises:
            AITransportError: A page could not be fetched, after retries (104011).
        """
        async with self._lock:
            while not self._exhausted and not enough():
                walk = self._walk
                page = await self._next_page()
                for message in reversed(page.items):
                    self._apply_from_history(message)
                if walk == self._walk:
                    self._page = page
                    self._exhausted = not page.has_next
                    self._close_gap(page)

    def expect_gap(self) -> None:
        """Learn that messages may have been missed: history is read again, from its end."""
        self._walk += 1
        self._page = None
        self._exhausted = False
        if self._gap is None:
            self._gap = self.tree.newest_serial

    async def fill_gap(self) -> None:
        """Read what may have been missed, back to what is known.

        Raises:
            AITransportError: A page could not be fetched, after retries (104011).
        """
        if self._gap is not None:
            await self.fold_until(lambda: self._gap is None)

    def _close_gap(self, page: HistoryPage) -> None:
        known = self._gap is not None and any((message.serial or "") <= self._gap for message in page.items)
        if known or self._exhausted:
            self._gap = None

    def _apply_from_history(self, message: InboundMessage) -> None:
        """Take in a message; one that cannot be processed does not keep those before it from being read."""
        try:
            self.apply(message, from_history=True)
        except Exception as error:
            logger.exception("A message of the history could not be processed")
            self._on_exception(error)

    async def _next_page(self) -> HistoryPage:
        backoff = _FIRST_BACKOFF_SECONDS
        for attempt in range(1, _RETRIES + 1):
            try:
                return await self._fetch()
            except AITransportError as error:
                logger.debug(
                    "A page of history could not be fetched", extra={"attempt": attempt, "error": str(error)}
                )
                await anyio.sleep(backoff)
                backoff *= 2
        try:
            return await self._fetch()
        except AITransportError as error:
            raise AITransportError.wrap(
                "fold channel history", error, ErrorCode.HISTORY_FETCH_FAILED
            ) from error

    async def _fetch(self) -> HistoryPage:
        if self._page is None:
            await self._channel.attach()
            return await self._channel.history(limit=self._page_size)
        return await self._page.next() or _NoPage()


class _NoPage:
    """What comes after the last page."""

    items: Sequence[InboundMessage] = ()
    has_next = False

    async def next(self) -> None:
        return None


class SessionTree(Generic[InT, OutT, ProjT, MsgT]):
    """The whole conversation that a session has seen: every branch, read-only, with its events.

    Listeners are plain functions; what they raise is logged and goes no further. Each ``on_…`` method
    returns a function that takes the listener away again.

    Example:
        >>> session.tree.on_run(lambda event: print(event.type, event.run_id))  # doctest: +SKIP
    """

    def __init__(
        self,
        source: Callable[[], Materialisation[InT, OutT, ProjT, MsgT]],
        on_exception: Callable[[Exception], None],
    ) -> None:
        self._source = source
        self._updates = Emitter[TreeUpdated](on_exception)
        self._messages = Emitter[InboundMessage](on_exception)
        self._runs = Emitter[RunLifecycleEvent](on_exception)
        self._outputs = Emitter[OutputFolded[InT, OutT]](on_exception)

    @property
    def nodes(self) -> list[ConversationNode[ProjT]]:
        """All inputs and runs that have been seen, on whatever branch, in the order of the channel."""
        return list(self._source().tree.index)

    def get_run_node(self, run_id: str) -> RunNode[ProjT] | None:
        """Return a run; None when it has not been seen."""
        return self._source().tree.get_run_node(run_id)

    def get_node_by_codec_message_id(self, codec_message_id: str) -> ConversationNode[ProjT] | None:
        """Return the node that owns a message; None when it has not been seen."""
        return self._source().tree.get_node_by_codec_message_id(codec_message_id)

    def get_sibling_nodes(self, key: str) -> Sequence[ConversationNode[ProjT]]:
        """Return the alternatives at a node's place, itself included, oldest first."""
        return self._source().tree.get_sibling_nodes(key)

    def find_message_by_event_id(self, event_id: str) -> InboundMessage | None:
        """Return the channel message that carried an event id; None when it has not been seen."""
        return self._source().tree.find_message_by_event_id(event_id)

    def on_update(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call a function when nodes come, go or change places."""
        self._source().watch_closely()
        return self._updates.on(lambda _: listener())

    def on_message(self, listener: Callable[[InboundMessage], object]) -> Callable[[], None]:
        """Call a function with each channel message, after what it changed."""
        self._source().watch_closely()
        return self._messages.on(listener)

    def on_run(self, listener: Callable[[RunLifecycleEvent], object]) -> Callable[[], None]:
        """Call a function with each event of a run's life."""
        self._source().watch_closely()
        return self._runs.on(listener)

    def on_output(self, listener: Callable[[OutputFolded[InT, OutT]], object]) -> Callable[[], None]:
        """Call a function with what is folded into a node, and how it is routed."""
        self._source().watch_closely()
        return self._outputs.on(listener)

    def forward(self, event: TreeEvent[InT, OutT], _from_history: bool) -> None:
        """Tell the listeners of a change. For sessions."""
        match event:
            case OutputFolded():
                self._outputs.emit(event)
            case InboundMessage():
                self._messages.emit(event)
            case TreeUpdated():
                self._updates.emit(event)
            case _:
                self._runs.emit(event)

    def close(self) -> None:
        """Take all listeners away. For sessions."""
        for emitter in (self._updates, self._messages, self._runs, self._outputs):
            emitter.clear()
