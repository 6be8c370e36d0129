"""A channel of the SDK, subscribed to once for all sessions on it."""

from __future__ import annotations

import asyncio
import logging
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, Final, TypeAlias, cast

import anyio

from ably_ai_transport.channel.ably.sdk import inbound, to_error, word
from ably_ai_transport.channel.contract import ChannelState, ChannelStateChange
from ably_ai_transport.wire import AITransportError, ErrorCode, error_of
from ably_ai_transport.wire.listeners import Listeners

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping
    from typing import Any

    from ably_ai_transport.channel.ably.sdk import ChannelChange, Message, Realtime, RealtimeChannel
    from ably_ai_transport.channel.payload import Frame
    from ably_ai_transport.wire import InboundMessage

logger = logging.getLogger("ably_ai_transport.channel")

_LISTENING: Final = frozenset({"attached", "attaching"})
_LEFT: Final = frozenset({"initialized", "detached", "failed"})
_CONNECTION_GONE: Final = frozenset({"suspended", "failed", "closing", "closed"})
_PASSING: Final = frozenset({ChannelState.ATTACHING, ChannelState.DETACHING})

_Action: TypeAlias = "Callable[[SharedChannel], Awaitable[object] | None]"


class Life(Enum):
    """The states of a shared channel, beside those of the SDK's channel."""

    NEW = auto()
    """Not subscribed yet."""
    SUBSCRIBED = auto()
    """Subscribed; attached, or attaching, as far as the connection allows."""
    LEAVING = auto()
    """Subscribed; a detach is under way."""
    FORGOTTEN = auto()
    """No session uses it: its listeners are removed."""


class Event(Enum):
    """The events that move a shared channel from one state to another."""

    ATTACH = auto()
    """A session attaches."""
    LEAVE = auto()
    """The last session that had attached leaves."""
    DETACHED = auto()
    """The detach ended."""
    UNUSED = auto()
    """The last session was released."""


class SharedChannel:
    """A channel of the SDK, as several sessions use it.

    Args:
        realtime: The client.
        channel: The SDK's channel.
        registry: The client's channels by name. The channel removes itself when no session uses it.
        ours: Whether the SDK's channel was made for sessions, and may be released with the last one.

    Attributes:
        channel: The SDK's channel.
        name: Its name.
        attach_serial: The position at which live messages start and history ends.
        messages: The listeners for messages.
        states: The listeners for changes of state.
    """

    def __init__(
        self,
        realtime: Realtime,
        channel: RealtimeChannel,
        registry: MutableMapping[str, SharedChannel],
        *,
        ours: bool,
    ) -> None:
        self.channel = channel
        self.name = channel.name
        self.messages: Listeners[InboundMessage] = Listeners(logger=logger)
        self.states: Listeners[ChannelStateChange] = Listeners(logger=logger)
        self._realtime = realtime
        self._registry = registry
        self._ours = ours
        self._life = Life.NEW
        self._sessions: set[object] = set()
        self._holders: set[object] = set()
        self._told: Frame | None = None
        self._reason: AITransportError | None = None
        self._attaching: asyncio.Task[None] | None = None
        self._detaching: asyncio.Task[None] | None = None
        # The SDK keeps both positions to itself; on_attached tells from now on.
        self.attach_serial = _private(channel, "attach_serial")
        channel.on(self._on_state)

    @property
    def state(self) -> ChannelState:
        """The channel's state."""
        # ably 3.1.4 leaves channels as they were when the server had failed the connection before the guard.
        failed = self._realtime.connection.state == "failed"
        return ChannelState.FAILED if failed else ChannelState(self.channel.state)

    @property
    def error_reason(self) -> AITransportError | None:
        """The reason of the latest change."""
        error = self.channel.error_reason
        if error is None and self.state is ChannelState.FAILED:
            error = self._realtime.connection.error_reason
        return self._reason if error is None else to_error(error)

    @property
    def position(self) -> str | None:
        """Serial of the latest frame: later messages reach the listeners."""
        return _private(self.channel, "channel_serial") or self.attach_serial

    # Sessions

    @property
    def sessions(self) -> int:
        """How many sessions use the channel."""
        return len(self._sessions)

    def open(self, session: object) -> None:
        """Add a session."""
        self._sessions.add(session)

    def close(self, session: object) -> None:
        """Remove a session; with the last one, the listeners at the SDK are removed."""
        self._sessions.discard(session)
        self._holders.discard(session)
        if not self._sessions:
            self._move(Event.UNUSED)

    def hold(self, session: object) -> bool:
        """Note that a session wants the channel attached; tell whether it did not before."""
        new = session not in self._holders
        self._holders.add(session)
        return new

    async def let_go(self, session: object) -> None:
        """Note that a session no longer wants the channel attached; detach with the last one.

        Raises:
            AITransportError: The server did not answer.
        """
        if session not in self._holders:
            return
        self._holders.discard(session)
        if self._holders or self.channel.state in _LEFT:
            return
        self._move(Event.LEAVE)
        if self._detaching is None or self._realtime.connection.state != "connected":
            # The SDK waits for a connection, for minutes; it will detach when there is one.
            return
        task = self._detaching
        await asyncio.wait((task,))
        error = task.exception()
        if error is not None and not isinstance(error, TypeError):
            raise to_error(error) from error

    async def attach(self) -> None:
        """Attach.

        Raises:
            AITransportError: The channel or the connection refused (with the code of the refusal), or there
                was no answer in time (104007).
        """
        client = self._realtime
        if client.connection.state in _CONNECTION_GONE:
            raise self._connection_error()
        seconds = client.options.realtime_request_timeout / 1000
        if client.connection.state == "initialized":
            client.connect()
        if client.connection.state != "connected":
            # It has to connect first, and that may take as long.
            seconds *= 2
        if self._attaching is None or self._attaching.done():
            # It ends with the next change of the channel's state; closing the client is one.
            self._attaching = _task(self._attach(), "ably attach")
        with anyio.move_on_after(seconds):
            # Waited for, not awaited: a cancelled attach would leave a broken listener in the SDK.
            await asyncio.wait((self._attaching,))
        if not self._attaching.done():
            raise self._timeout_error(seconds)
        error = self._attaching.exception()
        # The SDK raises None, that is a TypeError, where the channel was given no reason.
        if error is not None and not isinstance(error, TypeError):
            raise to_error(error) from error
        if self.state is not ChannelState.ATTACHED:
            raise self.error_reason or error_of(
                f"unable to attach; channel is {self.state}", ErrorCode.CHANNEL_NOT_READY, 400
            )

    # Frames

    def on_attached(self, serial: str | None, *, resumed: bool, error: Frame | None) -> None:
        """Take note of an ATTACHED before the SDK sees it."""
        self._told = error
        if not resumed or self.attach_serial is None:
            # The SDK moves it on resumed attaches as well: history would then overlap, and start again.
            self.attach_serial = serial

    def on_detached(self, error: Frame | None) -> None:
        """Take note of a DETACHED before the SDK sees it, which keeps the reason to itself."""
        self._told = error

    def interrupt(self, error: AITransportError) -> None:
        """Tell the sessions that messages cannot be received, though the channel stays attached."""
        self._reason = error
        self.states.emit(ChannelStateChange(self.state, ChannelState.SUSPENDED, reason=error))

    # Life

    def _move(self, event: Event) -> Awaitable[object] | None:
        self._life, action = self._TABLE[self._life, event]
        return None if action is None else action(self)

    async def _attach(self) -> None:
        while self._detaching is not None:
            # An attach that overtakes a detach ends as suspended: the server's DETACHED seems to answer it.
            await asyncio.wait((self._detaching,))
        attaching = self._move(Event.ATTACH)
        if attaching is not None:
            await attaching

    def _subscribe(self: SharedChannel) -> Awaitable[object]:
        # Subscribing attaches. A message that is called "error" raises in the SDK's emitter unless the name
        # has a listener.
        return asyncio.gather(
            self.channel.subscribe("error", _ignore), self.channel.subscribe(self._on_message)
        )

    def _attach_again(self: SharedChannel) -> Awaitable[object]:
        return self.channel.attach()

    def _detach(self: SharedChannel) -> None:
        self._detaching = _task(self.channel.detach(), "ably detach")
        self._detaching.add_done_callback(self._on_detached)

    def _on_detached(self, _: asyncio.Task[None]) -> None:
        self._detaching = None
        self._move(Event.DETACHED)
        if not self._sessions:
            self._move(Event.UNUSED)

    def _unsubscribe(self: SharedChannel) -> None:
        self.channel.unsubscribe(self._on_message)
        self.channel.unsubscribe("error", _ignore)
        self._forget()

    def _forget(self: SharedChannel) -> None:
        self.channel.off(self._on_state)
        if self._registry.get(self.name) is self:
            del self._registry[self.name]
            if self._ours and self.channel.state in _LEFT:
                # The SDK keeps its channels for ever.
                self._realtime.channels.release(self.name)

    _TABLE: ClassVar[Mapping[tuple[Life, Event], tuple[Life, _Action | None]]] = {
        (Life.NEW, Event.ATTACH): (Life.SUBSCRIBED, _subscribe),
        (Life.NEW, Event.LEAVE): (Life.NEW, None),
        (Life.NEW, Event.UNUSED): (Life.FORGOTTEN, _forget),
        (Life.SUBSCRIBED, Event.ATTACH): (Life.SUBSCRIBED, _attach_again),
        (Life.SUBSCRIBED, Event.LEAVE): (Life.LEAVING, _detach),
        (Life.SUBSCRIBED, Event.UNUSED): (Life.FORGOTTEN, _unsubscribe),
        (Life.LEAVING, Event.LEAVE): (Life.LEAVING, None),
        (Life.LEAVING, Event.DETACHED): (Life.SUBSCRIBED, None),
        (Life.LEAVING, Event.UNUSED): (Life.LEAVING, None),
        (Life.FORGOTTEN, Event.ATTACH): (Life.FORGOTTEN, None),
        (Life.FORGOTTEN, Event.LEAVE): (Life.FORGOTTEN, None),
        (Life.FORGOTTEN, Event.UNUSED): (Life.FORGOTTEN, None),
    }
    """State and event → next state and action. An attach waits for a detach to end."""

    # Listeners

    def _on_message(self, message: Message) -> None:
        # The SDK delivers also after a detach; only an attached channel has messages.
        if self.messages and self.channel.state in _LISTENING:
            received = inbound(message)
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug(
                    "Received %s on %s",
                    received.action,
                    self.name,
                    extra={"session": self.name, "serial": received.serial, "action": str(received.action)},
                )
            self.messages.emit(received)

    def _on_state(self, change: ChannelChange) -> None:
        told, self._told = self._told, None
        if change.reason is not None:
            reason = to_error(change.reason)
        elif told is not None:
            reason = _error_of(told)
        else:
            reason = None
        previous, current = ChannelState(change.previous), ChannelState(change.current)
        if reason is not None or current is ChannelState.ATTACHED:
            self._reason = reason
        resumed = bool(change.resumed)
        level = logging.DEBUG if current in _PASSING else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(
                level,
                "Channel %s is %s%s%s",
                self.name,
                current,
                ", resumed" if resumed else "",
                "" if reason is None else f": code {reason.code}",
                extra={"session": self.name, "action": str(current)},
            )
        self.states.emit(ChannelStateChange(previous, current, resumed, reason))

    # Errors

    def _connection_error(self) -> AITransportError:
        connection = self._realtime.connection
        if connection.error_reason is not None:
            return to_error(connection.error_reason)
        return error_of(
            f"unable to attach; connection is {word(connection.state)}", ErrorCode.CHANNEL_NOT_READY, 400
        )

    def _timeout_error(self, seconds: float) -> AITransportError:
        connection = self._realtime.connection
        reason = connection.error_reason
        why = "" if reason is None else f": {to_error(reason).message}"
        host = self._realtime.options.get_host().rstrip("/")
        return error_of(
            f"unable to attach; no answer within {seconds:g} s from {host}, "
            f"connection is {word(connection.state)}{why}",
            ErrorCode.CHANNEL_NOT_READY,
            408,
            reason,
        )


def _private(channel: RealtimeChannel, name: str) -> str | None:
    return cast("str | None", getattr(channel, f"_RealtimeChannel__{name}", None))


def _error_of(frame: Frame) -> AITransportError:
    return error_of(
        str(frame.get("message")), frame.get("code") or ErrorCode.INTERNAL_ERROR, frame.get("statusCode")
    )


def _ignore(message: Message) -> None:
    pass


def _task(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
    """Start a task that the channel owns and whose failure is reported elsewhere."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    task.add_done_callback(_look)
    return task


def _look(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
