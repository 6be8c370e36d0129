"""The errors of this library.

Every error is an :class:`AITransportError` and carries Ably's numeric code. The codes and their meanings are
those of the npm package ``@ably/ai-transport`` 0.8.0 (``errors.ts``), but for those from 104050 on, which are
this library's own; so are the subclasses.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class ErrorCode(IntEnum):
    """The kind of an error, as a number that JavaScript peers and Ably's dashboards share."""

    BAD_REQUEST = 40000
    """The request was invalid."""
    INVALID_ARGUMENT = 40003
    """An argument was refused, or an operation was called before the session was connected."""
    OPERATION_CANCELLED = 40033
    """The run was cancelled, or the session began to close while the operation was under way."""
    FORBIDDEN = 40300
    """The trusted agents or the policy of a session forbid it. The npm package does not use this code."""
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
    AGENT_LOST = 104050
    """The agent that worked on a run is gone, and somebody else ended the run. This library's own code."""
    RUN_LOST = 104051
    """The run was ended, or claimed by another invocation, while this agent worked on it. This library's own
    code."""


MESSAGE_TOO_LARGE: Final = 40009
"""Ably's code for a publish above the channel's size limit."""


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

    The subclasses are the failures that callers treat differently. Catch this class for all of them.

    Attributes:
        message: The operation that failed, and the reason. It is safe to show to other participants:
            it never holds the text of a foreign exception, which may hold secrets.
        code: An Ably code, or one of :class:`ErrorCode`.
        status_code: The HTTP status that belongs to the code.
        cause: The error underneath, if there is one.

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
        # Not super(): where TimeoutError is a base, OSError would read the arguments as an errno.
        Exception.__init__(self, message, int(code), status_code, cause)
        self.message = message
        self.code = int(code)
        self.status_code = status_code_of(code) if status_code is None else status_code
        self.cause = cause
        if cause is not None:
            self.__cause__ = cause

    def __str__(self) -> str:
        text = f"{self.message} (code {self.code})"
        cause = self.cause
        told = cause.message if isinstance(cause, AITransportError) else str(cause or "")
        return text if not told or told in self.message or self.message in told else f"{text}: {told}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, code={self.code})"

    @staticmethod
    def wrap(action: str, error: BaseException, code: int) -> "AITransportError":
        """Describe a failure underneath as the failure of an operation.

        Args:
            action: The operation that failed, such as ``"send"``.
            error: The failure underneath; becomes the ``cause``.
            code: The code of the new error.

        Returns:
            An error whose message is ``unable to <action>; <reason>``. The reason is the message of an
            :class:`AITransportError`, and only the type of any other exception. The class is that of the
            cause if its rate or capability was refused; otherwise the code decides.
        """
        reason = error.message if isinstance(error, AITransportError) else type(error).__name__
        message = f"unable to {action}; {reason}"
        if isinstance(error, CapabilityError | RateLimitedError):
            return type(error)(message, code, status_code_of(code), error)
        return error_of(message, code, cause=error)


class InvalidArgumentError(AITransportError, ValueError):
    """An argument was refused, or an operation was called in the wrong state. Nothing was published."""

    def __init__(
        self,
        message: str,
        code: int = ErrorCode.INVALID_ARGUMENT,
        status_code: int | None = 400,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message, code, status_code, cause)


class SessionClosedError(AITransportError):
    """The session, view or encoder has been closed."""

    def __init__(
        self,
        message: str,
        code: int = ErrorCode.SESSION_CLOSED,
        status_code: int | None = 400,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message, code, status_code, cause)


class NotFoundInTimeError(AITransportError, TimeoutError):
    """An operation timed out before the message it needs was seen on the channel."""

    def __init__(
        self,
        message: str,
        code: int = ErrorCode.INPUT_EVENT_NOT_FOUND,
        status_code: int | None = 504,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message, code, status_code, cause)


class RunLostError(AITransportError):
    """The run is not this agent's any more: it was ended, or claimed by another invocation."""

    def __init__(
        self,
        message: str,
        code: int = ErrorCode.RUN_LOST,
        status_code: int | None = 409,
        cause: BaseException | None = None,
    ) -> None:
        super().__init__(message, code, status_code, cause)


class ChannelRefusedError(AITransportError):
    """The channel refused to attach, to publish or to read its history."""


class CapabilityError(ChannelRefusedError):
    """The credentials are refused, or do not allow the operation on this channel."""


class NotAllowedError(AITransportError):
    """A client did what the trusted agents or the policy of this session do not allow. It had no effect.

    Attributes:
        client_id: The client, as Ably verified it; None for an anonymous one.
    """

    def __init__(
        self,
        message: str,
        code: int = ErrorCode.FORBIDDEN,
        status_code: int | None = 403,
        cause: BaseException | None = None,
        *,
        client_id: str | None = None,
    ) -> None:
        super().__init__(message, code, status_code, cause)
        self.client_id = client_id


class RateLimitedError(ChannelRefusedError):
    """The channel, the connection or the account is over its rate. Try again later."""


_CLASS_OF_CODE: Final[Mapping[int, type[AITransportError]]] = MappingProxyType(
    {
        ErrorCode.INVALID_ARGUMENT: InvalidArgumentError,
        ErrorCode.SESSION_CLOSED: SessionClosedError,
        ErrorCode.INPUT_EVENT_NOT_FOUND: NotFoundInTimeError,
        ErrorCode.RUN_LOST: RunLostError,
        ErrorCode.ENCODER_RECOVERY_FAILED: ChannelRefusedError,
        ErrorCode.SESSION_SUBSCRIPTION_ERROR: ChannelRefusedError,
        ErrorCode.RUN_LIFECYCLE_ERROR: ChannelRefusedError,
        ErrorCode.SESSION_SEND_FAILED: ChannelRefusedError,
        ErrorCode.CHANNEL_NOT_READY: ChannelRefusedError,
        ErrorCode.HISTORY_FETCH_FAILED: ChannelRefusedError,
    }
)
_CLASS_OF_STATUS: Final[Mapping[int, type[AITransportError]]] = MappingProxyType(
    {401: CapabilityError, 403: CapabilityError, 429: RateLimitedError}
)


def error_of(
    message: str, code: int, status_code: int | None = None, cause: BaseException | None = None
) -> AITransportError:
    """Build an error of the class that belongs to its code.

    Args:
        message: The operation that failed, and the reason.
        code: An Ably code, or one of :class:`ErrorCode`.
        status_code: The HTTP status; None derives it from the code.
        cause: The error underneath, if there is one.

    Returns:
        An error of the class for the code; an :class:`AITransportError` where there is none.
    """
    status = status_code_of(code) if status_code is None else status_code
    kind = _CLASS_OF_CODE.get(code) or _CLASS_OF_STATUS.get(status, AITransportError)
    return kind(message, code, status_code, cause)


def error_is(error: BaseException, code: ErrorCode) -> bool:
    """Tell whether an error carries a code.

    Args:
        error: Any exception.
        code: The code to compare with.

    Returns:
        True when it is an :class:`AITransportError` with this code.
    """
    return isinstance(error, AITransportError) and error.code == code
