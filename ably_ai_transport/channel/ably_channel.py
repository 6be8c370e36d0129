"""A channel of the Ably SDK, behind the protocol that sessions know."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio

from ably_ai_transport.channel.contract import ChannelState, ChannelStateChange
from ably_ai_transport.channel.convert import APPEND, CREATE, UPDATE, check_size, inbound, outbound, to_error
from ably_ai_transport.wire import AITransportError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from ably_ai_transport.channel.ably_client import AblyClient
    from ably_ai_transport.channel.contract import HistoryPage, MessageListener, StateListener, Unsubscribe
    from ably_ai_transport.channel.sdk import ChannelChange, Frame, Message, RealtimeChannel, StateChange
    from ably_ai_transport.wire import OutboundMessage

T = TypeVar("T")

logger = logging.getLogger("ably_ai_transport.channel")

_MESSAGE = 15
_DETACH_SECONDS = 5.0


class SharedChannel:
    """One channel of one client, as several sessions may use it.

    Args:
        client: What is shared on the client.
        channel: The SDK's channel.
    """

    def __init__(self, client: AblyClient, channel: RealtimeChannel) -> None:
        self.client = client
        self.channel = channel
        self.name = channel.name
        self.attach_serial: str | None = None
        self._listeners: dict[object, MessageListener] = {}
        self._state_listeners: dict[object, StateListener] = {}
        self._users = 0
        self._subscribed = False
        self._reported = ChannelState(channel.state)
        channel.on(self._on_state)
        client.manager.on("connectionstate", self._on_connection)
        if channel.state == "attached":
            self._note_attach_serial()

    @property
    def state(self) -> ChannelState:
        """Where the channel stands."""
        # ably 3.1.4 leaves channels as they were when the server ends the connection with an error.
        failed = self.client.manager.state == "failed"
        return ChannelState.FAILED if failed else ChannelState(self.channel.state)

    @property
    def error_reason(self) -> AITransportError | None:
        """Why it stands there."""
        error = self.channel.error_reason or self.client.realtime.connection.error_reason
        return None if error is None else to_error(error)

    def acquire(self) -> None:
        """Note one more session."""
        self._users += 1

    async def attach(self) -> None:
        """Attach, or learn why not.

        Raises:
            AITransportError: The channel or the connection refused.
        """
        if self.client.manager.state == "initialized":
            self.client.realtime.connect()
        await self._unless_connection_fails(self._attach())
        if self.state is not ChannelState.ATTACHED:
            raise self._attach_error()

    async def release(self) -> None:
        """Note one session less; the last one detaches."""
        self._users -= 1
        if self._users > 0:
            return
        connected = self.client.manager.state == "connected"
        if connected and self.channel.state in ("attached", "attaching"):
            # Without a connection the SDK would wait for one, for minutes.
            with anyio.move_on_after(_DETACH_SECONDS, shield=True):
                try:
                    await self._unless_connection_fails(self.channel.detach())
                except AITransportError as error:
                    logger.debug("The channel could not be detached: %s", error)
        if self._users > 0:
            return
        if self._subscribed:
            self.channel.unsubscribe(self._on_message)
        self.channel.off(self._on_state)
        self.client.manager.off("connectionstate", self._on_connection)
        self.client.forget(self)
        await self.client.close_history()

    def subscribe(self, listener: MessageListener) -> Unsubscribe:
        """Add a message listener."""
        return _add(self._listeners, listener)

    def on_state(self, listener: StateListener) -> Unsubscribe:
        """Add a state listener."""
        return _add(self._state_listeners, listener)

    async def _attach(self) -> None:
        try:
            if self._subscribed:
                await self.channel.attach()
            else:
                self._subscribed = True
                await self.channel.subscribe(self._on_message)
        except Exception as error:
            # The SDK raises None, that is a TypeError, where the channel gave no reason.
            raise (self._attach_error() if isinstance(error, TypeError) else to_error(error)) from error

    async def _unless_connection_fails(self, work: Coroutine[object, object, None]) -> None:
        """Await what hangs, in ably 3.1.4, when the connection fails meanwhile."""
        manager = self.client.manager
        task = asyncio.ensure_future(work)
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_state(change: StateChange) -> None:
            if change.current == "failed" and not failed.done():
                failed.set_result(None)

        manager.on("connectionstate", on_state)
        try:
            if manager.state != "failed":
                await asyncio.wait((task, failed), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise self._connection_error()
            await task
        finally:
            manager.off("connectionstate", on_state)
            failed.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))

    def _attach_error(self) -> AITransportError:
        reason = self.error_reason
        if reason is not None:
            return reason
        return AITransportError(
            f"unable to attach; channel is {self.state}", ErrorCode.CHANNEL_NOT_READY, 400
        )

    def _connection_error(self) -> AITransportError:
        reason = self.client.realtime.connection.error_reason
        if reason is not None:
            return to_error(reason)
        return AITransportError("unable to attach; connection failed", ErrorCode.CHANNEL_NOT_READY, 400)

    def _on_message(self, message: Message) -> None:
        if not self._listeners:
            return
        received = inbound(message)
        for listener in tuple(self._listeners.values()):
            _call(listener, received)

    def _on_state(self, change: ChannelChange) -> None:
        current = ChannelState(change.current)
        if current is ChannelState.ATTACHED and not change.resumed:
            self._note_attach_serial()
        reason = None if change.reason is None else to_error(change.reason)
        self._report(ChannelStateChange(ChannelState(change.previous), current, bool(change.resumed), reason))

    def _on_connection(self, change: StateChange) -> None:
        if change.current == "failed" and self._reported is not ChannelState.FAILED:
            reason = None if change.reason is None else to_error(change.reason)
            self._report(ChannelStateChange(self._reported, ChannelState.FAILED, reason=reason))

    def _report(self, change: ChannelStateChange) -> None:
        self._reported = change.current
        for listener in tuple(self._state_listeners.values()):
            _call(listener, change)

    def _note_attach_serial(self) -> None:
        # The SDK keeps it to itself; it is where history has to start for the live messages to follow on it.
        self.attach_serial = cast(
            "str | None", getattr(self.channel, "_RealtimeChannel__attach_serial", None)
        )


class AblyChannel:
    """One session's use of an Ably channel. See :class:`~ably_ai_transport.channel.contract.Channel`.

    Args:
        shared: The channel.
    """

    def __init__(self, shared: SharedChannel) -> None:
        self._shared = shared
        self._sdk = shared.channel
        self._client = shared.client
        self._binary = shared.client.realtime.options.use_binary_protocol
        self._tasks: set[asyncio.Task[list[str | None]]] = set()
        self._checked_extras: object = None
        self._off: list[Unsubscribe] = []
        self._released = False
        shared.acquire()

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._shared.name

    @property
    def client_id(self) -> str | None:
        """The verified client id; None when anonymous or not connected."""
        return self._client.realtime.auth.client_id

    @property
    def state(self) -> ChannelState:
        """Where the channel stands."""
        return self._shared.state

    @property
    def error_reason(self) -> AITransportError | None:
        """Why the channel stands there."""
        return self._shared.error_reason

    @property
    def presence(self) -> object:
        """The SDK's presence."""
        return self._sdk.presence

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        """Publish new messages, atomically; resolves to their serials."""
        try:
            written = [self._write(message, CREATE) for message in messages]
            check_size(written, self._client.max_message_size)
        except AITransportError as error:
            return _failed(error)
        return self._send(written, _all)

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Append text; resolves to the new version's serial."""
        return self._mutate(message, APPEND)

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Replace a message; resolves to the new version's serial."""
        return self._mutate(message, UPDATE)

    async def attach(self) -> None:
        """Attach; returns once messages are received.

        Raises:
            AITransportError: The channel, or its connection, refused.
        """
        if self._shared.state is not ChannelState.ATTACHED:
            await self._shared.attach()

    async def detach(self) -> None:
        """Let go of the channel; the last session on it detaches, as far as the connection allows."""
        if self._released:
            return
        self._released = True
        await self.flush()
        await self._shared.release()

    def subscribe(self, listener: MessageListener) -> Unsubscribe:
        """Call a plain function with each message, in channel order."""
        off = self._shared.subscribe(listener)
        self._off.append(off)
        return off

    def on_state(self, listener: StateListener) -> Unsubscribe:
        """Call a plain function with each change of state."""
        off = self._shared.on_state(listener)
        self._off.append(off)
        return off

    async def history(self, *, limit: int = 100) -> HistoryPage:
        """Fetch what was published up to the attach, newest first.

        Raises:
            AITransportError: The channel is not attached (104007), the limit is out of bounds (40003), or the
                history could not be fetched.
        """
        if not 1 <= limit <= 1000:
            raise AITransportError(
                f"unable to read history; limit must be 1 to 1000, got {limit}",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        serial = self._shared.attach_serial
        if serial is None:
            raise AITransportError(
                f"unable to read history; channel is {self.state}", ErrorCode.CHANNEL_NOT_READY, 400
            )
        return await self._client.history.fetch(self.name, limit=limit, from_serial=serial)

    async def flush(self) -> None:
        """Wait until nothing published is unanswered, or the connection is not there to answer."""
        while self._tasks and self._client.manager.state == "connected":
            await asyncio.wait(tuple(self._tasks), timeout=_FLUSH_LOOK_SECONDS)

    def release(self) -> None:
        """Let go of listeners, and of what is still unanswered."""
        for off in self._off:
            off()
        self._off.clear()
        for task in self._tasks:
            task.cancel()

    def _mutate(self, message: OutboundMessage, action: int) -> asyncio.Future[str | None]:
        try:
            if message.serial is None:
                raise AITransportError(
                    "unable to change a message; its serial is missing", ErrorCode.INVALID_ARGUMENT, 400
                )
            written = [self._write(message, action)]
            if action != APPEND or message.extras is not self._checked_extras:
                check_size(written, self._client.max_message_size)
                # The appends of a stream share their headers, and are bounded by whoever splits them.
                self._checked_extras = message.extras
        except AITransportError as error:
            return _failed(error)
        return self._send(written, _first)

    def _write(self, message: OutboundMessage, action: int) -> Frame:
        if self._sdk.cipher is None:
            return outbound(message, action, binary=self._binary)
        return _encrypted(message, action, self._sdk.cipher, binary=self._binary)

    def _send(self, messages: list[Frame], read: Callable[[list[str | None]], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._released:
            return _failed(
                AITransportError("unable to publish; session is closed", ErrorCode.SESSION_CLOSED, 400)
            )
        if self._shared.state in (ChannelState.SUSPENDED, ChannelState.FAILED):
            return _failed(
                AITransportError(
                    f"unable to publish; channel is {self._shared.state}",
                    ErrorCode.CHANNEL_NOT_READY,
                    400,
                    self.error_reason,
                )
            )
        frame: Frame = {"action": _MESSAGE, "channel": self.name, "messages": messages}
        # Tasks run in the order in which they are made, and the SDK numbers messages before it first waits.
        task = loop.create_task(self._client.send(frame))
        self._tasks.add(task)
        task.add_done_callback(partial(self._answered, future, read))
        return future

    def _answered(
        self,
        future: asyncio.Future[T],
        read: Callable[[list[str | None]], T],
        task: asyncio.Task[list[str | None]],
    ) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            future.cancel()
            return
        error = task.exception()
        if future.done():
            return
        if error is None:
            future.set_result(read(task.result()))
        else:
            _fail(future, to_error(error))


_FLUSH_LOOK_SECONDS = 0.5
"""How often a flush looks whether the connection is still there."""


def _all(serials: list[str | None]) -> list[str | None]:
    return serials


def _first(serials: list[str | None]) -> str | None:
    return serials[0] if serials else None


def _fail(future: asyncio.Future[T], error: AITransportError) -> None:
    future.set_exception(error)
    future.exception()  # seen: a failure that nobody awaits makes no noise


def _failed(error: AITransportError) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    _fail(future, error)
    return future


def _add(listeners: dict[object, T], listener: T) -> Unsubscribe:
    token = object()
    listeners[token] = listener

    def remove() -> None:
        listeners.pop(token, None)

    return remove


def _call(listener: Callable[[T], None], value: T) -> None:
    try:
        listener(value)
    except Exception:
        logger.exception("A channel listener raised")


def _encrypted(message: OutboundMessage, action: int, cipher: object, *, binary: bool) -> Frame:
    from ably.types.message import Message as SdkMessage
    from ably.types.message import MessageAction

    encoded: Any = SdkMessage(
        name=message.name,
        data=message.data,
        extras=message.extras or None,
        serial=message.serial,
        action=None if action == CREATE else MessageAction(action),
    )
    encoded.encrypt(cipher)
    return cast("Frame", encoded.as_dict(binary=binary))
