"""A client's part in a conversation."""

import logging
import uuid
from collections.abc import Sequence
from types import TracebackType
from typing import Generic, Self

import anyio

from ably_ai_transport.channel import ChannelClient, ChannelState, ChannelStateChange
from ably_ai_transport.codec.contract import (
    Codec,
    Decoded,
    InT,
    MsgT,
    OutT,
    ProjT,
    RoutedInput,
    WriteOptions,
)
from ably_ai_transport.conversation.tree import REORDER_WINDOW_MS
from ably_ai_transport.session.base_session import HISTORY_PAGE_SIZE, BaseSession
from ably_ai_transport.session.client_run import ClientRun
from ably_ai_transport.session.client_view import ClientView, SendOptions
from ably_ai_transport.session.connection import continuity_lost_error, publish_error
from ably_ai_transport.session.identity import usable_client_id
from ably_ai_transport.session.steering import Steering, SteerResult
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    OutboundMessage,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
    names,
)
from ably_ai_transport.wire.headers import build_cancel_headers, build_transport_headers
from ably_ai_transport.wire.messages import ai_extras

logger = logging.getLogger("ably_ai_transport.session")


class ClientSession(BaseSession[InT, OutT, ProjT, MsgT], Generic[InT, OutT, ProjT, MsgT]):
    """Follows a conversation and takes part in it.

    Args:
        client: A connected or connecting ``ably.AblyRealtime``; it stays the caller's to close. In tests, any
            :class:`~ably_ai_transport.channel.ChannelSource`.
        session_name: The conversation, which is the name of its channel.
        codec: The vocabulary of the conversation.
        channel_modes: Channel modes to ask for beyond the default ones.
        history_page_size: Messages a page of history.
        reorder_window_ms: How long a finished run's events are kept, in milliseconds of message time.

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
        channel_modes: Sequence[str] = (),
        history_page_size: int = HISTORY_PAGE_SIZE,
        reorder_window_ms: int = REORDER_WINDOW_MS,
    ) -> None:
        super().__init__(
            client,
            session_name,
            codec=codec,
            channel_modes=channel_modes,
            history_page_size=history_page_size,
            reorder_window_ms=reorder_window_ms,
            lazy=False,
        )
        self._encoder = codec.create_encoder(self._channel)
        self._sending = anyio.Lock()
        self._steering = Steering(self._publish_input, lambda: usable_client_id(self._channel))
        self._awaited: dict[str, list[ClientRun[InT, OutT, ProjT, MsgT]]] = {}
        self._running: dict[str, list[ClientRun[InT, OutT, ProjT, MsgT]]] = {}
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
            AITransportError: The session is closed (104004).
        """
        self._connection.check_open("create view")
        view = ClientView(
            self._materialisation,
            self._send,
            on_exception=self._on_listener_exception,
            on_close=self._views.remove,
        )
        self._views.append(view)
        return view

    async def cancel(self, run_id: str) -> None:
        """Ask the agent to stop a run, whoever asked for it.

        Args:
            run_id: The run.

        Raises:
            AITransportError: The session is not connected (40003) or closed (104004), or the channel refused.
        """
        await self._cancel(run_id=run_id)

    async def close(self) -> None:
        """Leave the conversation: views end, and what is waited for fails with 104004. May be repeated."""
        if self._connection.closed:
            return
        with anyio.CancelScope(shield=True):
            await self._tasks.close()
            try:
                await self._encoder.close()
            except AITransportError:
                logger.warning("What was sent last could not be flushed", exc_info=True)
            await self._connection.close()
        for view in tuple(self._views):
            view.close()
        closed = AITransportError("unable to await run; session closed", ErrorCode.SESSION_CLOSED, 400)
        for runs in (*self._awaited.values(), *self._running.values()):
            for run in runs:
                run.started.reject(closed)
                run.ended.reject(closed)
        self._steering.close(closed)
        self._awaited.clear()
        self._running.clear()
        self._close_listeners()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(
        self, inputs: Sequence[InT], options: SendOptions, newest: str | None, /
    ) -> ClientRun[InT, OutT, ProjT, MsgT]:
        self._connection.check_open("send")
        await self._connection.require("send")
        self._connection.check_open("send")
        state = self._channel.state
        if state not in (ChannelState.ATTACHED, ChannelState.ATTACHING):
            raise AITransportError(f"unable to send; channel is {state}", ErrorCode.CHANNEL_NOT_READY, 400)
        routed = _check_inputs(inputs)
        parent = options.parent if options.parent is not None or options.fork_of else newest
        writes: list[tuple[InT, WriteOptions]] = []
        optimistic: str | None = None
        message_id = event_id = ""
        for event, route in zip(inputs, routed, strict=True):
            event_id = str(uuid.uuid4())
            message_id = route.codec_message_id or str(uuid.uuid4())
            headers = build_transport_headers(
                role=options.role,
                codec_message_id=message_id,
                run_id=options.run_id,
                run_client_id=usable_client_id(self._channel),
                parent=route.parent if route.parent is not None else parent,
                fork_of=options.fork_of,
                regenerates=route.target if route.kind == "regenerate" else None,
                supersedes=options.supersedes,
                input_event_id=event_id,
            )
            writes.append((event, WriteOptions(headers, message_id)))
            if not _amends(route):
                optimistic = message_id
                self._materialisation.publish(
                    self._materialisation.tree.apply_decoded(Decoded(inputs=[event]), headers)
                )
        run = ClientRun(
            tree=lambda: self._materialisation.tree,
            session_name=self.name,
            input_codec_message_id=message_id,
            input_event_id=event_id,
            # The run may go on under another input; once its id is known, that says better which is meant.
            cancel=lambda: self._cancel(
                run_id=run.run_id or options.run_id, input_codec_message_id=message_id
            ),
            steer=self._steer,
        )
        self._awaited.setdefault(message_id, []).append(run)
        try:
            async with self._sending:
                for event, write in writes:
                    await self._encoder.publish_input(event, write)
        except BaseException as error:
            self._unsend(run, optimistic)
            if not isinstance(error, Exception):
                raise
            raise publish_error("publish events", error, ErrorCode.SESSION_SEND_FAILED) from error
        return run

    def _unsend(self, run: ClientRun[InT, OutT, ProjT, MsgT], optimistic: str | None) -> None:
        """Take back what a failed send has left; what did reach the channel comes back from there."""
        waiting = [other for other in self._awaited.pop(run.input_codec_message_id, ()) if other is not run]
        if waiting:
            self._awaited[run.input_codec_message_id] = waiting
        if optimistic is not None:
            self._materialisation.publish(self._materialisation.tree.discard_optimistic(optimistic))

    def _steer(self, run: ClientRun[InT, OutT, ProjT, MsgT], event: InT) -> SteerResult:
        self._connection.check_open("steer")
        result = SteerResult()
        self._steering.expect(result)
        self._tasks.start(self._steering.steer(run.started, lambda: run.run_id, event, result))
        return result

    async def _publish_input(self, event: InT, options: WriteOptions) -> None:
        async with self._sending:
            await self._encoder.publish_input(event, options)

    async def _cancel(self, *, run_id: str | None = None, input_codec_message_id: str | None = None) -> None:
        self._connection.check_open("cancel")
        await self._connection.require("cancel")
        headers = build_cancel_headers(
            event_id=str(uuid.uuid4()), run_id=run_id, input_codec_message_id=input_codec_message_id
        )
        try:
            await self._channel.publish([OutboundMessage(names.CANCEL, extras=ai_extras(headers))])
        except AITransportError as error:
            raise publish_error("cancel", error, ErrorCode.SESSION_SEND_FAILED) from error

    def _take_in(self, message: InboundMessage) -> None:
        events = self._materialisation.tree.apply(message)
        self._steering.observe(message)
        for event in events:
            if isinstance(event, RunStart | RunResume | RunEnd):
                self._on_run_started(event.run_id, message)
            if isinstance(event, RunEnd | RunSuspend):
                self._steering.observe_run(event)
            if isinstance(event, RunEnd):
                self._on_run_ended(event)
        self._materialisation.publish(events)

    def _on_run_started(self, run_id: str, message: InboundMessage) -> None:
        trigger = message.transport_headers.get(names.INPUT_CODEC_MESSAGE_ID)
        for run in () if trigger is None else self._awaited.pop(trigger, ()):
            run.bind(run_id)
            self._running.setdefault(run_id, []).append(run)

    def _on_run_ended(self, event: RunEnd) -> None:
        if event.error is not None:
            self._errors.emit(event.error)
        for run in self._running.pop(event.run_id, ()):
            run.ended.resolve(run.status)

    def _on_continuity_lost(self, change: ChannelStateChange) -> None:
        logger.warning("The channel may have missed messages", extra={"state": change.current})
        error = continuity_lost_error(change, "deliver events")
        self._steering.drain(error)
        self._materialisation.expect_gap()
        self._errors.emit(error)


def _amends(route: RoutedInput) -> bool:
    """Tell whether an input changes what is there rather than adding a message."""
    return route.kind != "user-message" and (route.kind == "regenerate" or route.codec_message_id is not None)


def _check_inputs(inputs: Sequence[object]) -> list[RoutedInput]:
    routed: list[RoutedInput] = []
    for event in inputs:
        if not isinstance(event, RoutedInput):
            raise AITransportError(
                f"unable to send; {type(event).__name__} is not an input of the codec"
                " (build one with the codec's create_… methods)",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        routed.append(event)
    if not routed:
        raise AITransportError("unable to send; include at least one input", ErrorCode.INVALID_ARGUMENT, 400)
    if sum(not _amends(route) for route in routed) > 1:
        raise AITransportError(
            "unable to send; a send may introduce at most one new message", ErrorCode.INVALID_ARGUMENT, 400
        )
    return routed
