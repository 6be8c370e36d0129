"""One channel of one Ably client, as several sessions may use it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import anyio

from ably_ai_transport.channel.contract import ChannelState, ChannelStateChange
from ably_ai_transport.channel.convert import inbound, to_error, word
from ably_ai_transport.channel.listeners import Listeners
from ably_ai_transport.wire import AITransportError, ErrorCode

if TYPE_CHECKING:
    from ably_ai_transport.channel.sdk import ChannelChange, Frame, Message, Realtime, RealtimeChannel
    from ably_ai_transport.wire import InboundMessage

_LISTENING = frozenset({"attached", "attaching"})
_LEFT = frozenset({"initialized", "detached", "failed"})
_CONNECTION_GONE = frozenset({"suspended", "failed", "closing", "closed"})


class SharedOwner(Protocol):
    """The client that a shared channel belongs to."""

    @property
    def realtime(self) -> Realtime:
        """The SDK's client."""
        ...

    def forget(self, shared: SharedChannel, *, sdk_too: bool) -> None:
        """Let go of a channel that no session uses."""
        ...


class SharedChannel:
    """The SDK's channel, subscribed to once for all sessions on it.

    Args:
        owner: The client.
        channel: The SDK's channel.
        ours: Whether it was made for sessions, and may go with the last one.

    Attributes:
        channel: The SDK's channel.
        name: Its name.
        attach_serial: Where the live messages start, and history has to.
        messages: Who gets messages.
        states: Who gets changes of state.
    """

    def __init__(self, owner: SharedOwner, channel: RealtimeChannel, *, ours: bool) -> None:
        self.channel = channel
        self.name = channel.name
        self.messages: Listeners[InboundMessage] = Listeners()
        self.states: Listeners[ChannelStateChange] = Listeners()
        self._owner = owner
        self._ours = ours
        self._open = 0
        self._holds = 0
        self._subscribed = False
        self._told: Frame | None = None
        self._reason: AITransportError | None = None
        self._attaching: asyncio.Task[None] | None = None
        self._detaching: asyncio.Task[None] | None = None
        # The SDK keeps both to itself; on_attached tells from now on.
        self.attach_serial = _private(channel, "attach_serial")
        channel.on(self._on_state)

    @property
    def state(self) -> ChannelState:
        """Where the channel stands."""
        # ably 3.1.4 leaves channels as they were when the server had failed the connection before the guard.
        failed = self._owner.realtime.connection.state == "failed"
        return ChannelState.FAILED if failed else ChannelState(self.channel.state)

    @property
    def error_reason(self) -> AITransportError | None:
        """Why it stands there."""
        error = self.channel.error_reason
        if error is None and self.state is ChannelState.FAILED:
            error = self._owner.realtime.connection.error_reason
        return self._reason if error is None else to_error(error)

    @property
    def position(self) -> str | None:
        """Serial of the latest frame: what comes later comes by subscription."""
        return _private(self.channel, "channel_serial") or self.attach_serial

    def open(self) -> None:
        """Note one more session."""
        self._open += 1

    def close(self, *, holding: bool) -> None:
        """Note one session less."""
        self._open -= 1
        self._holds -= holding
        self._forget_if_unused()

    def hold(self) -> None:
        """Note that a session wants it attached."""
        self._holds += 1

    async def attach(self) -> None:
        """Attach, or learn why not.

        Raises:
            AITransportError: The channel or the connection refused (with the code of the refusal), or there
                was no answer in time (104007).
        """
        client = self._owner.realtime
        if client.connection.state in _CONNECTION_GONE:
            raise self._connection_error("attach")
        seconds = client.options.realtime_request_timeout / 1000
        if client.connection.state == "initialized":
            client.connect()
        if client.connection.state != "connected":
            # It has to connect first, and that may take as long.
            seconds *= 2
        task = self._begin_attach()
        with anyio.move_on_after(seconds):
            # Waited for, not awaited: a cancelled attach would leave a broken listener in the SDK.
            await asyncio.wait((task,))
        if not task.done():
            raise self._timeout_error(seconds)
        error = task.exception()
        # The SDK raises None, that is a TypeError, where the channel was given no reason.
        if error is not None and not isinstance(error, TypeError):
            raise to_error(error) from error
        if self.state is not ChannelState.ATTACHED:
            raise self._attach_error()

    async def let_go(self) -> None:
        """Note that a session no longer wants it attached; detach with the last one.

        Raises:
            AITransportError: The server did not answer.
        """
        self._holds -= 1
        if self._holds > 0 or self.channel.state in _LEFT:
            return
        if self._detaching is None:
            self._detaching = asyncio.get_running_loop().create_task(self._detach(), name="ably detach")
            self._detaching.add_done_callback(self._on_detached)
        if self._owner.realtime.connection.state != "connected":
            # The SDK waits for a connection, for minutes; it will detach when there is one.
            return
        task = self._detaching
        await asyncio.wait((task,))
        error = task.exception()
        if error is not None and not isinstance(error, TypeError):
            raise to_error(error) from error

    def on_attached(self, serial: str | None, *, resumed: bool, error: Frame | None) -> None:
        """Hear of an ATTACHED before the SDK does."""
        self._told = error
        if not resumed or self.attach_serial is None:
            # The SDK moves it on resumed attaches as well: history would then overlap, and start anew.
            self.attach_serial = serial

    def on_detached(self, error: Frame | None) -> None:
        """Hear of a DETACHED before the SDK does, which keeps the reason to itself."""
        self._told = error

    def _begin_attach(self) -> asyncio.Task[None]:
        if self._attaching is None or self._attaching.done():
            # Owned by this channel. It ends with the next change of the channel's state; closing the client
            # is one, so nothing outlives it.
            self._attaching = asyncio.get_running_loop().create_task(self._attach(), name="ably attach")
            self._attaching.add_done_callback(_look)
        return self._attaching

    async def _attach(self) -> None:
        if self._detaching is not None:
            # An attach that overtakes a detach ends as suspended: the server's DETACHED seems to answer it.
            await asyncio.wait((self._detaching,))
        if self._subscribed:
            await self.channel.attach()
            return
        self._subscribed = True
        # A message that is called "error" raises in the SDK's emitter unless somebody listens to that name.
        await asyncio.gather(
            self.channel.subscribe("error", _ignore), self.channel.subscribe(self._on_message)
        )

    async def _detach(self) -> None:
        await self.channel.detach()

    def _on_detached(self, task: asyncio.Task[None]) -> None:
        _look(task)
        self._detaching = None
        self._forget_if_unused()

    def _forget_if_unused(self) -> None:
        if self._open > 0 or self._detaching is not None:
            return
        if self._subscribed:
            self._subscribed = False
            self.channel.unsubscribe(self._on_message)
            self.channel.unsubscribe("error", _ignore)
        self.channel.off(self._on_state)
        self._owner.forget(self, sdk_too=self._ours and self.channel.state in _LEFT)

    def _on_message(self, message: Message) -> None:
        # The SDK delivers also after a detach; only an attached channel has messages.
        if self.messages and self.channel.state in _LISTENING:
            self.messages.emit(inbound(message))

    def _on_state(self, change: ChannelChange) -> None:
        told, self._told = self._told, None
        if change.reason is not None:
            reason = to_error(change.reason)
        elif told is not None:
            reason = _error_of(told)
        else:
            reason = None
        current = ChannelState(change.current)
        if reason is not None or current is ChannelState.ATTACHED:
            self._reason = reason
        self.states.emit(
            ChannelStateChange(ChannelState(change.previous), current, bool(change.resumed), reason)
        )

    def _attach_error(self) -> AITransportError:
        reason = self.error_reason
        if reason is not None:
            return reason
        return AITransportError(
            f"unable to attach; channel is {self.state}", ErrorCode.CHANNEL_NOT_READY, 400
        )

    def _connection_error(self, action: str) -> AITransportError:
        connection = self._owner.realtime.connection
        if connection.error_reason is not None:
            return to_error(connection.error_reason)
        return AITransportError(
            f"unable to {action}; connection is {word(connection.state)}", ErrorCode.CHANNEL_NOT_READY, 400
        )

    def _timeout_error(self, seconds: float) -> AITransportError:
        connection = self._owner.realtime.connection
        reason = connection.error_reason
        why = "" if reason is None else f": {to_error(reason).message}"
        return AITransportError(
            f"unable to attach; no answer within {seconds:g} s, connection is {word(connection.state)}{why}",
            ErrorCode.CHANNEL_NOT_READY,
            408,
            reason,
        )


def _private(channel: RealtimeChannel, name: str) -> str | None:
    return cast("str | None", getattr(channel, f"_RealtimeChannel__{name}", None))


def _error_of(frame: Frame) -> AITransportError:
    return AITransportError(
        str(frame.get("message")), frame.get("code") or ErrorCode.INTERNAL_ERROR, frame.get("statusCode")
    )


def _ignore(message: Message) -> None:
    pass


def _look(task: asyncio.Task[None]) -> None:
    """Take note of a task's failure, which is reported elsewhere."""
    if not task.cancelled():
        task.exception()
