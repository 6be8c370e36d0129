"""One session's use of an Ably channel, behind the protocol that sessions know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from ably_ai_transport.channel.answers import refuse, refused, resolve
from ably_ai_transport.channel.contract import ChannelState, ChannelStateChange
from ably_ai_transport.channel.convert import to_error, word
from ably_ai_transport.channel.inflight import Publication
from ably_ai_transport.channel.payload import APPEND, CREATE, UPDATE, written_change, written_new
from ably_ai_transport.wire import AITransportError, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ably_ai_transport.channel.contract import HistoryPage, MessageListener, StateListener, Unsubscribe
    from ably_ai_transport.channel.rest_history import RestHistory
    from ably_ai_transport.channel.sdk import Frame, Realtime
    from ably_ai_transport.channel.shared_channel import SharedChannel
    from ably_ai_transport.channel.writer import Writer
    from ably_ai_transport.wire import OutboundMessage

T = TypeVar("T")

_MESSAGE = 15
_MAX_PAGE = 1000
_CHANNEL_UNPUBLISHABLE = frozenset({"suspended", "failed"})
_CONNECTION_UNPUBLISHABLE = frozenset({"suspended", "failed", "closing", "closed"})


class ChannelOwner(Protocol):
    """What a channel needs of its client."""

    @property
    def realtime(self) -> Realtime:
        """The SDK's client."""
        ...

    @property
    def writer(self) -> Writer:
        """Sends publishes."""
        ...

    @property
    def history(self) -> RestHistory:
        """Reads histories."""
        ...

    @property
    def max_message_size(self) -> int:
        """Bytes that a publish may have."""
        ...


class AblyChannel:
    """One session's use of an Ably channel. See :class:`~ably_ai_transport.channel.contract.Channel`.

    Args:
        owner: The client.
        shared: The channel.
    """

    def __init__(self, owner: ChannelOwner, shared: SharedChannel) -> None:
        self._owner = owner
        self._shared = shared
        self._sdk = shared.channel
        self._connection = owner.realtime.connection
        self._writer = owner.writer
        self._binary = owner.realtime.options.use_binary_protocol
        self._unanswered = 0
        self._all_answered: list[asyncio.Future[None]] = []
        self._off: list[Unsubscribe] = []
        self._joined_at: str | None = None
        self._holding = False
        self._released = False
        shared.open()
        self._off.append(shared.states.add(self._on_state))

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._shared.name

    @property
    def client_id(self) -> str | None:
        """The verified client id; None when anonymous or not connected."""
        client_id = self._owner.realtime.auth.client_id
        return None if client_id == "*" else client_id

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

    # Publishing

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        """Publish new messages, atomically; resolves to their serials."""
        try:
            written = written_new(messages, self._owner.max_message_size, binary=self._binary)
            if self._sdk.cipher is not None:
                written = [self._encrypted(message, CREATE) for message in messages]
        except AITransportError as error:
            return refused(error)
        return self._send(written, _all)

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Append text; resolves to the new version's serial."""
        return self._change(message, APPEND)

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Replace a message; resolves to the new version's serial."""
        return self._change(message, UPDATE)

    async def flush(self) -> None:
        """Wait until nothing published is unanswered; messages on the way across a reconnection count."""
        if self._unanswered:
            answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._all_answered.append(answered)
            await answered

    # Attaching

    async def attach(self) -> None:
        """Attach; returns once messages are received.

        Raises:
            AITransportError: The channel, or its connection, refused; or neither answered in time (104007).
        """
        if not self._holding:
            self._holding = True
            self._shared.hold()
            if self._shared.state is ChannelState.ATTACHED:
                # Another session attached it: history has to reach up to where this one joined.
                self._joined_at = self._shared.position
        await self._shared.attach()

    async def detach(self) -> None:
        """Let go of the channel; the last session on it detaches, as far as the connection allows.

        Raises:
            AITransportError: The server did not answer.
        """
        if self._holding:
            self._holding = False
            await self._shared.let_go()

    def subscribe(self, listener: MessageListener) -> Unsubscribe:
        """Call a plain function with each message, in channel order."""
        off = self._shared.messages.add(listener)
        self._off.append(off)
        return off

    def on_state(self, listener: StateListener) -> Unsubscribe:
        """Call a plain function with each change of state."""
        off = self._shared.states.add(listener)
        self._off.append(off)
        return off

    async def history(self, *, limit: int = 100) -> HistoryPage:
        """Fetch what was published up to the attach, newest first.

        Raises:
            AITransportError: The channel is not attached (104007), the limit is out of bounds (40003), or the
                history could not be fetched.
        """
        if not 1 <= limit <= _MAX_PAGE:
            raise AITransportError(
                f"unable to read history; limit must be 1 to {_MAX_PAGE}, got {limit}",
                ErrorCode.INVALID_ARGUMENT,
                400,
            )
        serial = self._joined_at or self._shared.attach_serial
        if serial is None or self._shared.state not in (ChannelState.ATTACHED, ChannelState.ATTACHING):
            raise AITransportError(
                f"unable to read history; channel is {self.state}", ErrorCode.CHANNEL_NOT_READY, 400
            )
        return await self._owner.history.fetch(
            self.name, limit=limit, from_serial=serial, cipher=self._sdk.cipher
        )

    def release(self) -> None:
        """Let go of listeners. What is unanswered still goes its way, and its callers get their answers."""
        if self._released:
            return
        self._released = True
        for off in self._off:
            off()
        self._off.clear()
        self._shared.close(holding=self._holding)
        self._holding = False

    # Inside

    def _change(self, message: OutboundMessage, action: int) -> asyncio.Future[str | None]:
        try:
            written = written_change(message, action, self._owner.max_message_size, binary=self._binary)
            if self._sdk.cipher is not None:
                written = [self._encrypted(message, action)]
        except AITransportError as error:
            return refused(error)
        return self._send(written, _first)

    def _send(self, messages: list[Frame], read: Callable[[list[str | None]], T]) -> asyncio.Future[T]:
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._sdk.state in _CHANNEL_UNPUBLISHABLE or self._connection.state in _CONNECTION_UNPUBLISHABLE:
            refuse(future, self._unpublishable())
            return future
        frame: Frame = {"action": _MESSAGE, "channel": self._shared.name, "messages": messages}
        self._unanswered += 1
        self._writer.put(Publication(frame, future, read, self._answered))
        return future

    def _answered(self) -> None:
        self._unanswered -= 1
        if not self._unanswered and self._all_answered:
            waiting, self._all_answered = self._all_answered, []
            for one in waiting:
                resolve(one, None)

    def _unpublishable(self) -> AITransportError:
        """Describe why nothing can be published; with the code of the reason, where there is one."""
        connection = self._connection
        if connection.state in _CONNECTION_UNPUBLISHABLE:
            where, reason = f"connection is {word(connection.state)}", connection.error_reason
        else:
            where, reason = f"channel is {word(self._sdk.state)}", self._sdk.error_reason
        if reason is None:
            return AITransportError(f"unable to publish; {where}", ErrorCode.CHANNEL_NOT_READY, 400)
        cause = to_error(reason)
        return AITransportError(
            f"unable to publish; {where}: {cause.message}", cause.code, cause.status_code, cause
        )

    def _encrypted(self, message: OutboundMessage, action: int) -> Frame:
        from ably_ai_transport.channel.encryption import encrypted

        return encrypted(message, action, self._sdk.cipher, binary=self._binary)

    def _on_state(self, change: ChannelStateChange) -> None:
        if change.current is ChannelState.ATTACHED and not change.resumed:
            self._joined_at = None


def _all(serials: list[str | None]) -> list[str | None]:
    return serials


def _first(serials: list[str | None]) -> str | None:
    return serials[0] if serials else None
