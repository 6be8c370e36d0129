"""Views: what an application shows of a conversation."""

from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic, Self

import anyio

from ably_ai_transport.codec.contract import CodecMessage, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import Branches, RunInfo, TreeEvent, ViewState, ViewUpdated
from ably_ai_transport.session.emitter import Emitter
from ably_ai_transport.session.materialisation import Materialisation
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage, RunLifecycleEvent


class View(Generic[InT, OutT, ProjT, MsgT]):
    """A window on one branch of a conversation.

    What happens from now on appears by itself; what happened before is revealed by :meth:`load_older`,
    :meth:`load_until` or :meth:`load_all`.

    Example:
        >>> async for messages in view.updates():  # doctest: +SKIP
        ...     render(messages)
    """

    def __init__(
        self,
        materialisation: Materialisation[InT, OutT, ProjT, MsgT],
        branches: Branches[ProjT, MsgT],
        *,
        on_exception: Callable[[Exception], None],
        on_close: Callable[[Self], None] | None = None,
        withholds_history: bool = False,
    ) -> None:
        self._materialisation = materialisation
        self._tree = materialisation.tree
        self._window = ViewState(self._tree, branches, withholds_history=withholds_history)
        self._on_close = on_close
        self._closed = anyio.Event()
        self._version = 0
        self._changed: anyio.Event | None = None
        self._updates = Emitter[None](on_exception)
        self._runs = Emitter[RunLifecycleEvent](on_exception)
        self._raw = Emitter[InboundMessage](on_exception)
        self._loading = anyio.Lock()
        self._quiet = 0
        self._unwatch = materialisation.watch(self._on_tree_event)

    @property
    def messages(self) -> list[CodecMessage[MsgT]]:
        """The visible messages, oldest first. The list and its messages are not changed afterwards."""
        return self._state.messages

    @property
    def closed(self) -> bool:
        """Whether the view has been closed."""
        return self._closed.is_set()

    @property
    def has_older(self) -> bool:
        """Whether there may be older messages to reveal."""
        return not self.closed and (self._state.has_unrevealed or self._materialisation.has_older)

    def runs(self) -> list[RunInfo]:
        """Describe the runs on the branch, oldest first."""
        return self._state.runs()

    def run(self, run_id: str) -> RunInfo | None:
        """Describe a run.

        Args:
            run_id: The run.

        Returns:
            The run; None when it has not been seen.
        """
        return self._state.run(run_id)

    def run_of(self, codec_message_id: str) -> RunInfo | None:
        """Describe the run that a message belongs to, or, for an input, the reply that is shown.

        Args:
            codec_message_id: The message.

        Returns:
            The run; None when the message has not been seen, or has no reply yet.
        """
        return self._state.run_of(codec_message_id)

    async def updates(self) -> AsyncIterator[list[CodecMessage[MsgT]]]:
        """Yield the visible messages, now and after each change of them or of a run, until it is closed.

        Changes that come while the consumer is busy are shown together: a slow consumer skips states and
        never falls behind.

        Yields:
            The visible messages, oldest first.
        """
        self._materialisation.watch_closely()
        while not self.closed:
            seen = self._version
            yield self.messages
            while seen == self._version and not self.closed:
                self._changed = self._changed or anyio.Event()
                await self._changed.wait()

    def on_update(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call a function when the visible messages change.

        Args:
            listener: A plain function.

        Returns:
            A function that takes the listener away again.
        """
        self._materialisation.watch_closely()
        return self._updates.on(lambda _: listener())

    def on_run(self, listener: Callable[[RunLifecycleEvent], object]) -> Callable[[], None]:
        """Call a function with each event in the life of a visible run; its state has changed by then.

        Args:
            listener: A plain function.

        Returns:
            A function that takes the listener away again.
        """
        self._materialisation.watch_closely()
        return self._runs.on(listener)

    def on_message(self, listener: Callable[[InboundMessage], object]) -> Callable[[], None]:
        """Call a function with each channel message that concerns what is visible.

        Args:
            listener: A plain function.

        Returns:
            A function that takes the listener away again.
        """
        self._materialisation.watch_closely()
        return self._raw.on(listener)

    async def load_older(self, limit: int = 10) -> list[CodecMessage[MsgT]]:
        """Reveal older messages: exactly ``limit`` of them, fewer only where the history ends.

        Args:
            limit: How many messages to reveal.

        Returns:
            The revealed messages, oldest first; they stand before those that were visible.

        Raises:
            AITransportError: The limit is not positive (40003), or history could not be read (104011).
        """
        if limit <= 0:
            raise AITransportError(
                f"unable to load older messages; limit must be a positive integer, got {limit}",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        async with self._loading:
            await self._materialisation.fill_gap()
            if self.closed:
                return []
            return await self._load_older(limit)

    async def load_until(self, predicate: Callable[[CodecMessage[MsgT]], bool]) -> list[CodecMessage[MsgT]]:
        """Reveal older messages back to a *seam*: the newest message that an application has stored already.

        The seam itself and everything before it stay out of the window, so that what was stored and what is
        returned make up the conversation without a gap and without a duplicate.

        Args:
            predicate: Tells the seam.

        Returns:
            The messages after the seam, oldest first; all messages where there is no seam.

        Raises:
            AITransportError: History could not be read (104011).
        """
        self._quiet += 1
        try:
            await self._materialisation.fill_gap()
            candidates = self.messages
            while True:
                for message in reversed(candidates):
                    if predicate(message):
                        self._state.hide_through(message.codec_message_id)
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
            AITransportError: History could not be read (104011).
        """
        self._quiet += 1
        try:
            while self.has_older:
                await self.load_older(1000)
            return self.messages
        finally:
            self._quiet -= 1
            self._notify()

    def close(self) -> None:
        """Stop following the conversation. Iterations over :meth:`updates` end. Closing twice is fine."""
        if self.closed:
            return
        self._closed.set()
        self._unwatch()
        self._wake()
        for emitter in (self._updates, self._runs, self._raw):
            emitter.clear()
        if self._on_close is not None:
            self._on_close(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _state(self) -> ViewState[InT, OutT, ProjT, MsgT]:
        """What is shown, with everything that has arrived."""
        self._materialisation.catch_up()
        return self._window

    async def _load_older(self, limit: int) -> list[CodecMessage[MsgT]]:
        state = self._state
        oldest = state.oldest_id
        try:
            while (missing := limit - state.count_before(oldest)) > 0:
                if not state.release_withheld(missing):
                    if not self._materialisation.has_older:
                        break
                    await self._fetch(missing)
                    if self.closed:
                        return []
        except BaseException:
            state.reveal_before(oldest, 0)
            raise
        revealed = state.reveal_before(oldest, limit)
        self._notify()
        return revealed

    async def _fetch(self, need: int) -> None:
        state = self._state
        state.begin_fetch()
        try:
            await self._materialisation.fold_until(lambda: self.closed or state.count_fetched() >= need)
        finally:
            state.end_fetch(need)

    def _on_tree_event(self, event: TreeEvent[InT, OutT], from_history: bool) -> None:
        match self._window.handle(event, from_history=from_history):
            case None:
                pass
            case ViewUpdated():
                self._notify()
            case InboundMessage() as message:
                self._raw.emit(message)
            case run_event:
                self._runs.emit(run_event)
                self._version += 1
                self._wake()

    def refresh(self) -> None:
        """Walk the branch again, after it was chosen anew. For sessions."""
        self._state.recompute()
        self._notify()

    def _notify(self) -> None:
        if self._quiet or self.closed:
            return
        self._version += 1
        self._wake()
        self._updates.emit(None)

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
