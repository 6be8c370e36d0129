"""Views: the part of a conversation that an application shows."""

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic, Self

import anyio

from ably_ai_transport.codec.contract import CodecMessage, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import (
    Branches,
    Move,
    OutputFolded,
    RunInfo,
    TreeUpdated,
    ViewState,
    ViewUpdated,
)
from ably_ai_transport.session.base import SessionCore, check_int
from ably_ai_transport.session.conversation import Change
from ably_ai_transport.session.logs import LOGGER
from ably_ai_transport.wire import (
    InboundMessage,
    RunEnd,
    RunLifecycleEvent,
    RunResume,
    RunStart,
    RunSuspend,
)
from ably_ai_transport.wire.listeners import Listeners


class View(Generic[InT, OutT, ProjT, MsgT]):
    """A window on one branch of a conversation.

    New messages appear by themselves. :meth:`load_older`, :meth:`load_until` and :meth:`load_all` reveal
    earlier ones.

    Example:
        >>> async for messages in view.updates():  # doctest: +SKIP
        ...     render(messages)
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        branches: Branches[ProjT, MsgT],
        *,
        on_exception: Callable[[Exception], None] | None = None,
        withholds_history: bool = False,
    ) -> None:
        self._conversation = core.conversation
        self._tree = core.conversation.tree
        self._window = ViewState(self._tree, branches, withholds_history=withholds_history)
        self._closed = anyio.Event()
        self._version = 0
        self._changed: anyio.Event | None = None
        report, spawn = on_exception or core.report_listener, core.tasks.start
        self._updates = Listeners[None](report, spawn=spawn, logger=LOGGER)
        self._runs = Listeners[RunLifecycleEvent](report, spawn=spawn, logger=LOGGER)
        self._raw = Listeners[InboundMessage](report, spawn=spawn, logger=LOGGER)
        self._loading = anyio.Lock()
        self._quiet = 0
        # Raw messages come with each token, so the view subscribes to them with the first listener.
        kinds = (TreeUpdated, OutputFolded, RunStart, RunSuspend, RunResume, RunEnd)
        self._subscriptions = [self._conversation.subscribe(self._on_change, *kinds)]
        branches.moved.add(self._on_branches_moved)

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self._window.nodes)} nodes"
        return f"<{type(self).__name__} {state}>"

    @property
    def messages(self) -> list[CodecMessage[MsgT]]:
        """The visible messages, oldest first. The list and its messages are not changed afterwards."""
        return self._window.messages

    @property
    def closed(self) -> bool:
        """Whether the view has been closed."""
        return self._closed.is_set()

    @property
    def has_older(self) -> bool:
        """Whether there may be older messages to reveal."""
        return not self.closed and (self._window.has_unrevealed or self._conversation.has_older)

    def runs(self) -> list[RunInfo]:
        """Describe the runs on the branch, oldest first."""
        return self._window.runs()

    def run(self, run_id: str) -> RunInfo | None:
        """Describe a run.

        Args:
            run_id: The run.

        Returns:
            The run; None when it has not been seen.
        """
        return self._window.run(run_id)

    def author_of(self, codec_message_id: str) -> str | None:
        """Return the client id of a message's author, as Ably verified it.

        Args:
            codec_message_id: The message.

        Returns:
            The first publisher; None for an anonymous one, and until the channel has brought the message.

        Example:
            >>> for item in view.messages:  # doctest: +SKIP
            ...     print(view.author_of(item.codec_message_id), item.message)
        """
        author = self._tree.author_of(codec_message_id)
        return None if author is None else author.client_id

    def run_of(self, codec_message_id: str) -> RunInfo | None:
        """Describe the run that a message belongs to, or, for an input, the reply that is shown.

        Args:
            codec_message_id: The message.

        Returns:
            The run; None when the message has not been seen, or has no reply yet.
        """
        return self._window.run_of(codec_message_id)

    async def updates(self) -> AsyncIterator[list[CodecMessage[MsgT]]]:
        """Yield the visible messages, now and after each change of them or of a run, until it is closed.

        Changes that come while the consumer is busy are shown together: a slow consumer skips states and
        never falls behind.

        Yields:
            The visible messages, oldest first.
        """
        self._conversation.watch_closely()
        while not self.closed:
            seen = self._version
            yield self.messages
            while seen == self._version and not self.closed:
                self._changed = self._changed or anyio.Event()
                await self._changed.wait()

    def on_update(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call a function when the visible messages change.

        Args:
            listener: A plain function or a coroutine function.

        Returns:
            A function that removes the listener.
        """
        remove = self._updates.add(lambda _: listener())
        self._conversation.watch_closely()
        return remove

    def on_run(self, listener: Callable[[RunLifecycleEvent], object]) -> Callable[[], None]:
        """Call a function with each event in the life of a visible run; its state has changed by then.

        Args:
            listener: A plain function or a coroutine function.

        Returns:
            A function that removes the listener.
        """
        remove = self._runs.add(listener)
        self._conversation.watch_closely()
        return remove

    def on_message(self, listener: Callable[[InboundMessage], object]) -> Callable[[], None]:
        """Call a function with each channel message that concerns visible nodes.

        Args:
            listener: A plain function or a coroutine function.

        Returns:
            A function that removes the listener.
        """
        if not self._raw:
            self._subscriptions.append(self._conversation.subscribe(self._on_message, InboundMessage))
        remove = self._raw.add(listener)
        self._conversation.watch_closely()
        return remove

    async def load_older(self, limit: int = 10) -> list[CodecMessage[MsgT]]:
        """Reveal older messages: exactly ``limit`` of them, fewer only where the history ends.

        Args:
            limit: How many messages to reveal.

        Returns:
            The revealed messages, oldest first; they stand before those that were visible.

        Raises:
            InvalidArgumentError: The limit is no positive whole number (40003).
            ChannelRefusedError: History could not be read (104011).
        """
        check_int("load older messages", "limit", limit, 1)
        async with self._loading:
            await self._conversation.fill_gap()
            await self._conversation.payloads_settled()
            if self.closed:
                return []
            return await self._load_older(limit)

    async def load_until(self, predicate: Callable[[CodecMessage[MsgT]], bool]) -> list[CodecMessage[MsgT]]:
        """Reveal older messages back to a *seam*: the newest message that an application has stored already.

        The seam itself and everything before it stay out of the window. The stored messages and the returned
        ones make up the conversation without a gap and without a duplicate.

        Args:
            predicate: Tells the seam.

        Returns:
            The messages after the seam, oldest first; all messages if there is no seam.

        Raises:
            ChannelRefusedError: History could not be read (104011).
        """
        if self.closed:
            return []
        self._quiet += 1
        try:
            await self._conversation.fill_gap()
            await self._conversation.payloads_settled()
            candidates = self.messages
            while True:
                for message in reversed(candidates):
                    if predicate(message):
                        self._window.hide_through(message.codec_message_id)
                        return self.messages
                if not self.has_older:
                    return self.messages
                candidates = await self.load_older(1)
        finally:
            self._quiet -= 1
            self._notify()

    async def load_all(self) -> list[CodecMessage[MsgT]]:
        """Reveal the whole branch.

        Returns:
            All its messages, oldest first.

        Raises:
            ChannelRefusedError: History could not be read (104011).
        """
        if self.closed:
            return []
        self._quiet += 1
        try:
            while self.has_older:
                await self.load_older(1000)
            await self._conversation.payloads_settled()
            return self.messages
        finally:
            self._quiet -= 1
            self._notify()

    def close(self) -> None:
        """Stop following the conversation. Iterations over :meth:`updates` end. Closing twice is fine."""
        if self.closed:
            return
        self._closed.set()
        for unsubscribe in self._subscriptions:
            unsubscribe()
        self._wake()
        for listeners in (self._updates, self._runs, self._raw):
            listeners.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _load_older(self, limit: int) -> list[CodecMessage[MsgT]]:
        state = self._window
        oldest = state.oldest_id
        try:
            while (missing := limit - state.count_before(oldest)) > 0:
                if not state.release_withheld(missing):
                    if not self._conversation.has_older:
                        break
                    await self._fetch(missing)
                    if self.closed:
                        return []
        except BaseException:  # a cancelled load reveals nothing
            state.reveal_before(oldest, 0)
            raise
        revealed = state.reveal_before(oldest, limit)
        self._notify()
        return revealed

    async def _fetch(self, need: int) -> None:
        state = self._window
        state.begin_fetch()
        try:
            await self._conversation.read_history(lambda: self.closed or state.count_fetched() >= need)
        finally:
            state.end_fetch(need)

    def _on_change(self, change: Change[InT, OutT]) -> None:
        shown = self._window.handle(change.event, from_history=not change.live)
        if isinstance(shown, ViewUpdated):
            self._notify()
        elif isinstance(shown, RunStart | RunSuspend | RunResume | RunEnd):
            self._runs.emit(shown)
            self._version += 1
            self._wake()

    def _on_message(self, change: Change[InT, OutT]) -> None:
        message = self._window.handle(change.event, from_history=not change.live)
        if isinstance(message, InboundMessage):
            self._raw.emit(message)

    def _on_branches_moved(self, move: Move) -> None:
        if self.closed:
            return
        if move == "chosen":
            self._window.recompute()
        else:
            # A run that was announced on the branch is still followed.
            self._window.recompute_if_changed()
        self._notify()

    def _notify(self) -> None:
        if self._quiet or self._closed.is_set():
            return
        self._version += 1
        if self._changed is not None:
            self._wake()
        if self._updates:
            self._updates.emit(None)

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
