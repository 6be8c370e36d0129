"""A client's session."""

from types import TracebackType
from typing import Generic, Self, Unpack

from ably_ai_transport.channel import ChannelClient, ChannelState, ChannelStateChange
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.session.base import SessionOptions
from ably_ai_transport.session.client.latches import RunLatches
from ably_ai_transport.session.client.publisher import InputWriter
from ably_ai_transport.session.client.steering import ClientSteering
from ably_ai_transport.session.client.view import ClientView
from ably_ai_transport.session.connection import continuity_lost_error
from ably_ai_transport.session.conversation import Change
from ably_ai_transport.session.session import BaseSession
from ably_ai_transport.wire import (
    AITransportError,
    RunEnd,
    RunResume,
    RunStart,
    SessionClosedError,
)


class ClientSession(BaseSession[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """Follows a conversation and takes part in it.

    As a context it is connected on entry and closed on exit. The Ably client stays the caller's to close.

    Args:
        client: A connected or connecting ``ably.AblyRealtime``. In tests, any
            :class:`~ably_ai_transport.channel.ChannelSource`.
        session_name: The conversation, which is the name of its channel.
        codec: The vocabulary of the conversation: an instance of a codec.
        **options: Keyword arguments as in :class:`~ably_ai_transport.SessionOptions`.

    Raises:
        InvalidArgumentError: An argument is out of bounds (40003).

    Example:
        >>> async with ClientSession(ably, "chat:42", codec=UIMessageCodec()) as session:  # doctest: +SKIP
        ...     run = await session.view.send(codec.create_user_message(text_message("Hello")))
        ...     async for messages in session.view.updates():
        ...         render(messages)
    """

    def __init__(
        self,
        client: ChannelClient,
        session_name: str,
        *,
        codec: Codec[InT, OutT, ProjT, MsgT],
        **options: Unpack[SessionOptions],
    ) -> None:
        super().__init__(client, session_name, codec, options, is_agent=False)
        conversation = self._core.conversation
        self._core.telemetry.follow(conversation)
        self._latches = RunLatches(conversation)
        self._writer = InputWriter(self._core, self._latches)
        self._steering = ClientSteering(self._core, self._writer)
        conversation.subscribe(self._on_run_end, RunEnd)
        conversation.subscribe(self._latches.on_change, RunStart, RunResume, RunEnd)
        self._views: list[ClientView[InT, OutT, ProjT, MsgT]] = []
        self._view = self.create_view()

    @property
    def view(self) -> ClientView[InT, OutT, ProjT, MsgT]:
        """The session's own view."""
        return self._view

    def create_view(self) -> ClientView[InT, OutT, ProjT, MsgT]:
        """Create another view, with a window and a selection of its own.

        Returns:
            The view; closed with the session, or before.

        Raises:
            SessionClosedError: The session is closed (104004).
        """
        self._core.connection.check_open("create view")
        view = ClientView(self._core, self._writer, self._steering)
        self._views = [*(open_view for open_view in self._views if not open_view.closed), view]
        return view

    async def cancel(self, run_id: str) -> None:
        """Ask the agent to stop a run, even one with the input of another client.

        Args:
            run_id: The run.

        Raises:
            AITransportError: The session is not connected (40003) or closed (104004), or the channel refused.
        """
        await self._writer.cancel(run_id=run_id)

    async def close(self) -> None:
        """Leave the conversation: views end, and latches that are not settled fail with 104004.

        May be repeated. If the caller is cancelled, the session continues to close in a task of its own.
        """
        await self._core.close_once(self._close)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._core.leave(self.close, error)

    async def _close(self) -> None:
        core = self._core
        await core.tasks.close(grace=None)
        await self._writer.close()
        await core.connection.close()
        for view in self._views:
            view.close()
        closed = SessionClosedError("unable to await run; session closed")
        self._latches.close(closed)
        self._steering.close(closed)
        core.conversation.close()

    def _on_run_end(self, change: Change[InT, OutT]) -> None:
        """Report the errors that agents publish; those of runs that ended long ago are no news."""
        event = change.event
        if not isinstance(event, RunEnd) or event.error is None:
            return
        if change.live or self._latches.is_running(event.run_id):
            self._core.report(event.error)

    def _on_continuity_lost(self, change: ChannelStateChange) -> None:
        error = continuity_lost_error(change, "deliver events")
        self._steering.drain(error)
        self._core.conversation.expect_gap()
        self._core.report(error)
        if self._latches.is_waiting and change.current is ChannelState.ATTACHED:
            self._core.tasks.start(self._backfill())

    async def _backfill(self) -> None:
        """Read missed messages: a caller waits for a run that may have ended meanwhile."""
        try:
            await self._core.conversation.fill_gap()
        except AITransportError as error:
            self._core.report(error)
