"""The errors of this library.

One class, :class:`AITransportError`, carries Ably's numeric code. The codes and their meanings are
those of the npm package ``@ably/ai-transport`` 0.8.0 (``errors.ts``).
"""

from enum import IntEnum
from typing import Self


class ErrorCode(IntEnum):
    """What went wrong, as a number that JavaScript peers and Ably's dashboards share."""

    BAD_REQUEST = 40000
    """The request was invalid."""
    INVALID_ARGUMENT = 40003
    """An argument was refused, or an operation was called before the session was connected."""
    OPERATION_CANCELLED = 40033
    """The run was cancelled, or the session began to close while the operation was under way."""
    INSUFFICIENT_CAPABILITY = 40160
    """The credentials do not allow the operation on this channel."""
    INTERNAL_ERROR = 50000
    """Something happened that the library can neither explain nor repair."""
    ENCODER_RECOVERY_FAILED = 104000
    """A refused append could not be repaired by an update with the whole text."""
    SESSION_SUBSCRIPTION_ERROR = 104001
    """The subscription or the attach failed, or a session-level callback raised."""
    CANCEL_LISTENER_ERROR = 104002
    """A callback of a run (``on_cancel``, ``on_steer``) raised."""
    RUN_LIFECYCLE_ERROR = 104003
    """A publish within a run failed."""
    SESSION_CLOSED = 104004
    """The session, view or encoder has been closed."""
    SESSION_SEND_FAILED = 104005
    """A send failed."""
    CHANNEL_CONTINUITY_LOST = 104006
    """The channel may have missed messages: it failed, was suspended, or re-attached without resuming."""
    CHANNEL_NOT_READY = 104007
    """The channel is neither attached nor attaching."""
    STREAM_ERROR = 104008
    """The source of a piped stream raised, or a publish failed in the middle of it."""
    INPUT_EVENT_NOT_FOUND = 104010
    """The event that an operation waits for was not seen on the channel in time."""
    HISTORY_FETCH_FAILED = 104011
    """The channel's history could not be read, after retries."""


def status_code_of(code: int) -> int:
    """Return the HTTP status that a code implies.

    Args:
        code: An Ably or AI Transport error code.

    Returns:
        The leading three digits of a five-digit code between 10000 and 59999; 500 otherwise.
    """
    return code // 100 if 10000 <= code < 60000 else 500


class AITransportError(Exception):
    """An operation of this library could not be done.

    Attributes:
        message: What could not be done, and why.
        code: An Ably code, or one of :class:`ErrorCode`.
        status_code: The HTTP status that belongs to it.
        cause: The error underneath, where there is one.

    Example:
        >>> str(AITransportError("unable to append; no active stream 'x'", ErrorCode.INVALID_ARGUMENT))
        "unable to append; no active stream 'x' (code 40003)"
    """

    def __init__(
        self,
        message: str,
        code: int,
        status_code: int | None = None,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message, int(code), status_code, cause)
        self.message = message
        self.code = int(code)
        self.status_code = status_code_of(code) if status_code is None else status_code
        self.cause = cause
        if cause is not None:
            self.__cause__ = cause

    def __str__(self) -> str:
        return f"{self.message} (code {self.code})"

    @classmethod
    def wrap(cls, action: str, error: BaseException, code: int) -> Self:
        """Describe a failure underneath as the failure of an operation.

        Args:
            action: What could not be done, such as ``"send"``.
            error: The failure underneath; becomes the ``cause``.
            code: The code of the new error.

        Returns:
            An error whose message is ``unable to <action>; <reason>``.
        """
        reason = error.message if isinstance(error, AITransportError) else str(error) or type(error).__name__
        return cls(f"unable to {action}; {reason}", code, cause=error)


def error_is(error: BaseException, code: ErrorCode) -> bool:
    """Tell whether an error carries a code.

    Args:
        error: Any exception.
        code: The code to compare with.

    Returns:
        True when it is an :class:`AITransportError` with this code.
    """
    return isinstance(error, AITransportError) and error.code == code
