"""What every session does with its channel: subscribe, attach, notice what may have been missed."""

import logging
from collections.abc import Callable

import anyio

from ably_ai_transport.channel.contract import Channel, ChannelState, ChannelStateChange, Unsubscribe
from ably_ai_transport.wire import AITransportError, ErrorCode, InboundMessage

logger = logging.getLogger("ably_ai_transport.session")

_LOST_STATES = frozenset({ChannelState.FAILED, ChannelState.SUSPENDED, ChannelState.DETACHED})


class SessionConnection:
    """One session's hold on its channel.

    ``connect`` may be called many times and by many: it attaches once, and again after a failure.

    Args:
        channel: The channel.
        on_message: Called with each message.
        on_continuity_lost: Called when messages may have been missed.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        on_message: Callable[[InboundMessage], None],
        on_continuity_lost: Callable[[ChannelStateChange], None],
    ) -> None:
        self.channel = channel
        self._on_message = on_message
        self._on_continuity_lost = on_continuity_lost
        self._unsubscribe: Unsubscribe | None = None
        self._off_state: Unsubscribe | None = None
        self._lock = anyio.Lock()
        self._connected = False
        self._closed = False
        self._attached_once = channel.state is ChannelState.ATTACHED
        self._last_error: AITransportError | None = None

    @property
    def closed(self) -> bool:
        """Whether the session has let go of the channel."""
        return self._closed

    def check_open(self, action: str) -> None:
        """Refuse an operation on a closed session.

        Raises:
            AITransportError: The session is closed (104004).
        """
        if self._closed:
            raise AITransportError(f"unable to {action}; session is closed", ErrorCode.SESSION_CLOSED, 400)

    async def connect(self) -> None:
        """Subscribe and attach.

        Raises:
            AITransportError: The session is closed (104004), or the attach failed (104001; its ``cause`` says
                why). Call again to retry.
        """
        self.check_open("connect")
        async with self._lock:
            self.check_open("connect")
            if self._connected:
                return
            if self._unsubscribe is None:
                self._unsubscribe = self.channel.subscribe(self._on_message)
                self._off_state = self.channel.on_state(self._on_state)
            try:
                await self.channel.attach()
            except AITransportError as error:
                failure = AITransportError.wrap(
                    "subscribe and attach channel", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR
                )
                self._last_error = failure
                raise failure from error
            self._attached_once = True
            self._connected = True
            self._last_error = None

    async def require(self, action: str) -> None:
        """Refuse an operation on a session that is not connected; wait while it is connecting.

        Raises:
            AITransportError: ``connect`` was not called (40003), or it failed (with the code of the failure).
        """
        if self._connected:
            return
        if self._lock.locked():
            async with self._lock:
                pass
        if self._connected:
            return
        if self._last_error is not None:
            raise AITransportError(
                f"unable to {action}; connect() failed, call it again to retry; {self._last_error.message}",
                self._last_error.code,
                self._last_error.status_code,
                self._last_error,
            )
        raise AITransportError(
            f"unable to {action}; connect() must be called first", ErrorCode.INVALID_ARGUMENT, 400
        )

    async def close(self) -> None:
        """Let go of the channel and detach from it, as far as the connection allows."""
        self._closed = True
        attempted = self._unsubscribe is not None
        for off in (self._unsubscribe, self._off_state):
            if off is not None:
                off()
        if attempted:
            try:
                await self.channel.detach()
            except AITransportError as error:
                logger.debug("The channel could not be detached", extra={"error": str(error)})
        self.channel.release()

    def _on_state(self, change: ChannelStateChange) -> None:
        if self._closed:
            return
        if not self._attached_once:
            self._attached_once = change.current is ChannelState.ATTACHED
            return
        if change.current in _LOST_STATES or (change.current is ChannelState.ATTACHED and not change.resumed):
            self._on_continuity_lost(change)


def continuity_lost_error(change: ChannelStateChange, action: str) -> AITransportError:
    """Describe a gap in what a channel delivered.

    Args:
        change: The change of state that opened the gap.
        action: What cannot be done any more.

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
        action: What could not be done.
        error: The refusal.
        code: The code, where credentials are not the reason.

    Returns:
        An error with code 40160 where the credentials do not allow it, with ``code`` otherwise.
    """
    if isinstance(error, AITransportError) and error.status_code in (401, 403):
        return AITransportError(
            f"unable to {action}; missing publish capability on the channel",
            ErrorCode.INSUFFICIENT_CAPABILITY,
            401,
            error,
        )
    return AITransportError.wrap(action, error, code)
