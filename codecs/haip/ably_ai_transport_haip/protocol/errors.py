"""HAIP errors: the exception classes and the codes that travel in ``ERROR`` messages."""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar


class HaipErrorCode(StrEnum):
    """Error codes of specification 1.1.2 and of its reference server."""

    PROTOCOL_VIOLATION = "PROTOCOL_VIOLATION"
    SEQ_VIOLATION = "SEQ_VIOLATION"
    FLOW_CONTROL_VIOLATION = "FLOW_CONTROL_VIOLATION"
    VERSION_INCOMPATIBLE = "VERSION_INCOMPATIBLE"
    RUN_LIMIT_EXCEEDED = "RUN_LIMIT_EXCEEDED"
    REPLAY_TOO_OLD = "REPLAY_TOO_OLD"
    UNSUPPORTED_TYPE = "UNSUPPORTED_TYPE"
    RESUME_FAILED = "RESUME_FAILED"
    AUTHENTICATION_FAILED = "AUTHENTICATION_FAILED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105
    TOOL_EXECUTION_ERROR = "TOOL_EXECUTION_ERROR"
    BINARY_FRAME_ERROR = "BINARY_FRAME_ERROR"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    TOOL_NOT_FOUND = "TOOL_NOT_FOUND"
    MISSING_RUN_ID = "MISSING_RUN_ID"
    RUN_NOT_FOUND = "RUN_NOT_FOUND"
    CHANNEL_PAUSED = "CHANNEL_PAUSED"
    CONNECTION_FAILED = "CONNECTION_FAILED"
    FLOW_CONTROL = "FLOW_CONTROL"
    PROTOCOL_ERROR = "PROTOCOL_ERROR"
    TIMEOUT = "TIMEOUT"
    SERVER_ERROR = "SERVER_ERROR"


class HaipError(Exception):
    """Base of all HAIP errors. ``str()`` returns the code and the message.

    Message and details may be sent to the other side, so they must not hold secrets.

    Args:
        message: The operation that failed, the reason, and the remedy.
        code: A :class:`HaipErrorCode`, or the code of a peer.
        details: Further data for programs; any JSON object.

    Attributes:
        message: The message.
        code: The code.
        details: Further data; empty by default.
    """

    def __init__(
        self,
        message: str,
        code: str = HaipErrorCode.PROTOCOL_ERROR,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = str(code)
        self.details: Mapping[str, object] = {} if details is None else details

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class HaipProtocolError(HaipError):
    """A message, argument or peer violates the protocol."""


class _CodedError(HaipError):
    """Base of the errors that have a code of their own.

    Args:
        message: The operation that failed, the reason, and the remedy.
        details: Further data for programs; any JSON object.
        code: Another code than that of the class.
    """

    _code: ClassVar[HaipErrorCode]

    def __init__(
        self, message: str, details: Mapping[str, object] | None = None, *, code: str | None = None
    ) -> None:
        super().__init__(message, code or self._code, details)


class HaipConnectionError(_CodedError):
    """There is no connection, or it was lost for good."""

    _code = HaipErrorCode.CONNECTION_FAILED


class HaipAuthenticationError(_CodedError):
    """The token was refused."""

    _code = HaipErrorCode.AUTHENTICATION_FAILED


class HaipFlowControlError(_CodedError):
    """The credits do not suffice for a message, or its channel is paused."""

    _code = HaipErrorCode.FLOW_CONTROL
