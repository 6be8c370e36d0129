"""One session's use of an Ably channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from ably_ai_transport.channel.ably.publication import Lane, Publication
from ably_ai_transport.channel.ably.sdk import to_error, word
from ably_ai_transport.channel.acks import Acks, refused
from ably_ai_transport.channel.contract import ChannelState, ChannelStateChange
from ably_ai_transport.channel.payload import APPEND, CREATE, UPDATE, written_change, written_new
from ably_ai_transport.wire import AITransportError, ErrorCode, InvalidArgumentError, error_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from ably_ai_transport.channel.ably.history import RestHistory
    from ably_ai_transport.channel.ably.sdk import Realtime
    from ably_ai_transport.channel.ably.shared import SharedChannel
    from ably_ai_transport.channel.ably.writer import Writer
    from ably_ai_transport.channel.contract import (
        HistoryPage,
        MessageListener,
        Presence,
        PublishStats,
        StateListener,
        Unsubscribe,
    )
    from ably_ai_transport.channel.payload import Frame
    from ably_ai_transport.wire import OutboundMessage

T = TypeVar("T")

_MESSAGE: Final = 15
_MAX_PAGE: Final = 1000
_ROLLUP_SECONDS: Final = 0.04
"""Ably's roll-up window, unless the client's ``transport_params`` name another."""
_CHANNEL_UNPUBLISHABLE: Final = frozenset({"suspended", "failed"})
_CONNECTION_UNPUBLISHABLE: Final = frozenset({"suspended", "failed", "closing", "closed"})


class AblyChannel:
    """One session's use of an Ably channel. See :class:`~ably_ai_transport.channel.contract.Channel`.

    Args:
        realtime: The client.
        shared: The channel.
        writer: Sends the client's publishes.
        history: Reads histories.
        merges: Whether text that waits is merged.
    """

    def __init__(
        self,
        realtime: Realtime,
        shared: SharedChannel,
        writer: Writer,
        history: RestHistory,
        *,
        merges: bool,
    ) -> None:
        self._realtime = realtime
        self._shared = shared
        self._sdk = shared.channel
        self._connection = realtime.connection
        self._writer = writer
        self._history = history
        self._binary = realtime.options.use_binary_protocol
        self._acks = Acks()
        self._lane = Lane(merges=merges)
        self._off: list[Unsubscribe] = [shared.states.add(self._on_state)]
        self._joined_at: str | None = None
        shared.open(self)

    @property
    def name(self) -> str:
        """The channel's name."""
        return self._shared.name

    @property
    def client_id(self) -> str | None:
        """The verified client id; None when anonymous or not connected."""
        client_id = self._realtime.auth.client_id
        return None if client_id == "*" else client_id

    @property
    def state(self) -> ChannelState:
        """The channel's state."""
        return self._shared.state

    @property
    def error_reason(self) -> AITransportError | None:
        """The reason of the latest change."""
        return self._shared.error_reason

    @property
    def presence(self) -> Presence:
        """The SDK's presence."""
        return self._sdk.presence

    # Publishing

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        """Publish new messages, atomically; resolves to their serials."""
        try:
            written, size = written_new(messages, self._writer.max_message_size, binary=self._binary)
            if self._sdk.cipher is not None:
                written = [
                    {**self._encrypted(message, CREATE), "id": frame["id"]}
                    for message, frame in zip(messages, written, strict=True)
                ]
        except AITransportError as error:
            return refused(error)
        return self._send(written, size, _all)

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Append text; resolves to the new version's serial."""
        return self._change(message, APPEND)

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Replace a message; resolves to the new version's serial."""
        return self._change(message, UPDATE)

    async def flush(self) -> None:
        """Wait until every publish has its ack; those that wait for a reconnection count, too."""
        await self._acks.drained()

    @property
    def append_interval(self) -> float:
        """Seconds in which the server joins the appends to one message (``appendRollupWindow``)."""
        window = self._realtime.options.transport_params.get("appendRollupWindow", "")
        return int(window) / 1000 if str(window).isdigit() else _ROLLUP_SECONDS

    @property
    def publish_stats(self) -> PublishStats:
        """The counters so far."""
        return self._lane.stats

    # Attaching

    async def attach(self) -> None:
        """Attach; returns once messages are received.

        Raises:
            AITransportError: The channel, or its connection, refused; or neither answered in time (104007).
        """
        if self._shared.hold(self) and self._shared.state is ChannelState.ATTACHED:
            # Another session attached it: history has to reach up to where this one joined.
            self._joined_at = self._shared.position
        await self._shared.attach()

    async def detach(self) -> None:
        """Leave the channel; the last session on it detaches, as far as the connection allows.

        Raises:
            AITransportError: The server did not answer.
        """
        await self._shared.let_go(self)

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
        """Fetch the messages up to the attach, newest first.

        Raises:
            InvalidArgumentError: The limit is out of bounds.
            AITransportError: The channel is not attached (104007), or the history could not be fetched.
        """
        if not 1 <= limit <= _MAX_PAGE:
            raise InvalidArgumentError(f"unable to read history; limit must be 1 to {_MAX_PAGE}, got {limit}")
        serial = self._joined_at or self._shared.attach_serial
        if serial is None or self._shared.state not in (ChannelState.ATTACHED, ChannelState.ATTACHING):
            raise error_of(
                f"unable to read history; channel is {self.state}", ErrorCode.CHANNEL_NOT_READY, 400
            )
        return await self._history.fetch(self.name, limit=limit, from_serial=serial, cipher=self._sdk.cipher)

    def release(self) -> None:
        """Remove the listeners. Publishes that are under way still leave, and get their acks."""
        for off in self._off:
            off()
        self._off.clear()
        self._shared.close(self)

    # Inside

    def _change(self, message: OutboundMessage, action: int) -> asyncio.Future[str | None]:
        try:
            written, size = written_change(
                message, action, self._writer.max_message_size, binary=self._binary
            )
            if self._sdk.cipher is not None:
                written = [self._encrypted(message, action)]
        except AITransportError as error:
            return refused(error)
        return self._send(written, size, _first)

    def _send(
        self, messages: list[Frame], size: int, read: Callable[[list[str | None]], T]
    ) -> asyncio.Future[T]:
        if self._sdk.state in _CHANNEL_UNPUBLISHABLE or self._connection.state in _CONNECTION_UNPUBLISHABLE:
            return refused(self._unpublishable())
        ack: asyncio.Future[T] = self._acks.expect()
        frame: Frame = {"action": _MESSAGE, "channel": self._shared.name, "messages": messages}
        self._writer.put(Publication(frame, self._acks, ack, read, size, self._lane))
        return ack

    def _unpublishable(self) -> AITransportError:
        """Say why nothing can be published; with the code of the reason, where there is one."""
        connection = self._connection
        if connection.state in _CONNECTION_UNPUBLISHABLE:
            state, reason = f"connection is {word(connection.state)}", connection.error_reason
        else:
            state, reason = f"channel is {word(self._sdk.state)}", self._sdk.error_reason
        if reason is None:
            return error_of(f"unable to publish; {state}", ErrorCode.CHANNEL_NOT_READY, 400)
        cause = to_error(reason)
        return error_of(f"unable to publish; {state}: {cause.message}", cause.code, cause.status_code, cause)

    def _encrypted(self, message: OutboundMessage, action: int) -> Frame:
        from ably_ai_transport.channel.ably.encryption import encrypted

        return encrypted(message, action, self._sdk.cipher, binary=self._binary)

    def _on_state(self, change: ChannelStateChange) -> None:
        if change.current is ChannelState.ATTACHED and not change.resumed:
            self._joined_at = None


def _all(serials: list[str | None]) -> list[str | None]:
    return serials


def _first(serials: list[str | None]) -> str | None:
    return serials[0] if serials else None
