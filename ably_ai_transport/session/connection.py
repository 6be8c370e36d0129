"""A session's connection to its channel: attach, subscribe, notice lost continuity, release."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

import anyio

from ably_ai_transport.channel.contract import Channel, ChannelState, ChannelStateChange, Unsubscribe
from ably_ai_transport.session.logs import SessionLog
from ably_ai_transport.session.telemetry import SessionTelemetry
from ably_ai_transport.wire import (
    AITransportError,
    CapabilityError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    SessionClosedError,
)

ConnectionState: TypeAlias = Literal["idle", "connecting", "connected", "failed", "closed"]
ConnectionEvent: TypeAlias = Literal["connect", "attached", "refused", "interrupted", "close"]

TRANSITIONS: Final[Mapping[tuple[ConnectionState, ConnectionEvent], ConnectionState]] = MappingProxyType(
    {
        ("idle", "connect"): "connecting",
        ("failed", "connect"): "connecting",
        ("connecting", "attached"): "connected",
        ("connecting", "refused"): "failed",
        ("connecting", "interrupted"): "idle",
        ("idle", "close"): "closed",
        ("connecting", "close"): "closed",
        ("connected", "close"): "closed",
        ("failed", "close"): "closed",
    }
)
"""The life of a session's connection. A pair that is not listed changes nothing."""

_LOST_STATES = frozenset({ChannelState.FAILED, ChannelState.SUSPENDED, ChannelState.DETACHED})


class SessionConnection:
    """One session's hold on its channel.

    ``connect`` may be called many times and from many tasks: it attaches once, and again after a failure.

    Args:
        channel: The channel.
        log: Gets lifecycle records.
        telemetry: Is told of each state.
        on_message: Called with each message.
        on_continuity_lost: Called when messages may have been missed.
    """

    def __init__(
        self,
        channel: Channel,
        log: SessionLog,
        telemetry: SessionTelemetry,
        *,
        on_message: Callable[[InboundMessage], None],
        on_continuity_lost: Callable[[ChannelStateChange], None],
    ) -> None:
        self._channel = channel
        self._log = log
        self._telemetry = telemetry
        self._on_message = on_message
        self._on_continuity_lost = on_continuity_lost
        self._state: ConnectionState = "idle"
        self._subscriptions: list[Unsubscribe] = []
        self._connecting = anyio.Lock()
        self._failure: AITransportError | None = None
        self._was_attached = channel.state is ChannelState.ATTACHED

    @property
    def state(self) -> ConnectionState:
        """The state of the session's connection."""
        return self._state

    @property
    def closed(self) -> bool:
        """Whether the session has released the channel."""
        return self._state == "closed"

    def check_open(self, action: str) -> None:
        """Refuse an operation on a closed session.

        Raises:
            SessionClosedError: The session is closed (104004).
        """
        if self.closed:
            raise SessionClosedError(f"unable to {action}; session is closed")

    async def connect(self) -> None:
        """Subscribe and attach.

        Raises:
            SessionClosedError: The session is closed (104004).
            ChannelRefusedError: The attach failed (104001; its ``cause`` says why). Call again to retry.
        """
        self.check_open("connect")
        async with self._connecting:
            self.check_open("connect")
            if self._state == "connected":
                return
            self._move("connect")
            if not self._subscriptions:
                self._subscriptions = [
                    self._channel.subscribe(self._on_message),
                    self._channel.on_state(self._on_state),
                ]
            try:
                await self._channel.attach()
            except AITransportError as error:
                self._failure = AITransportError.wrap(
                    "subscribe and attach channel", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR
                )
                self._move("refused")
                raise self._failure from error
            except BaseException:  # a cancelled attach can be tried again
                self._move("interrupted")
                raise
            self._was_attached = True
            self._move("attached")
            self.check_open("connect")

    async def require(self, action: str) -> None:
        """Refuse an operation on a session that is not connected; wait while it is connecting.

        Raises:
            SessionClosedError: The session is closed (104004).
            AITransportError: ``connect`` was not called (40003), or it failed (with the code of the failure).
        """
        if self._connecting.locked():
            async with self._connecting:
                pass
        self.check_open(action)
        if self._state == "connected":
            return
        if self._state == "failed" and self._failure is not None:
            raise AITransportError.wrap(
                f"{action}; connect() failed, call it again to retry", self._failure, self._failure.code
            )
        raise InvalidArgumentError(f"unable to {action}; connect() must be called first")

    def on_close(self, function: Unsubscribe) -> None:
        """Call a plain function when the session lets go of the channel."""
        self._subscriptions.append(function)

    async def close(self) -> None:
        """Detach from the channel if the connection allows, and release it."""
        if self.closed:
            return
        self._move("close")
        for unsubscribe in self._subscriptions:
            unsubscribe()
        if self._subscriptions:
            try:
                await self._channel.detach()
            except AITransportError as error:
                self._log.debug("The channel could not be detached: %s", error)
        self._channel.release()

    def _move(self, event: ConnectionEvent) -> None:
        after = TRANSITIONS.get((self._state, event))
        if after is not None:
            self._state = after
            self._log.info("session %s", after)
            self._telemetry.moved(after)

    def _on_state(self, change: ChannelStateChange) -> None:
        if self.closed:
            return
        if not self._was_attached:
            self._was_attached = change.current is ChannelState.ATTACHED
            return
        if change.current in _LOST_STATES or (change.current is ChannelState.ATTACHED and not change.resumed):
            self._log.warning("Messages may have been missed", extra={"state": str(change.current)})
            self._on_continuity_lost(change)


def continuity_lost_error(change: ChannelStateChange, action: str) -> AITransportError:
    """Describe a gap in a channel's deliveries.

    Args:
        change: The change of state that opened the gap.
        action: The operation that has become impossible.

    Returns:
        An error with code 104006.
    """
    how = ", resumed: false" if change.current is ChannelState.ATTACHED else ""
    return AITransportError(
        f"unable to {action}; channel continuity lost ({change.current}{how})",
        ErrorCode.CHANNEL_CONTINUITY_LOST,
        500,
        change.reason,
    )


def publish_error(action: str, error: BaseException, code: ErrorCode) -> AITransportError:
    """Describe a publish that the channel refused.

    Args:
        action: The operation that failed.
        error: The refusal.
        code: The code, unless the credentials are the reason.

    Returns:
        An error with code 40160 where the credentials do not allow the publish, and with ``code`` otherwise.
    """
    if isinstance(error, AITransportError) and error.status_code in (401, 403):
        return CapabilityError(
            f"unable to {action}; missing publish capability on the channel",
            ErrorCode.INSUFFICIENT_CAPABILITY,
            401,
            error,
        )
    return AITransportError.wrap(action, error, code)
