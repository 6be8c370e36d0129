"""What can go wrong, and how a peer is told."""

from collections.abc import Mapping
from enum import StrEnum


class HaipErrorCode(StrEnum):
    """Codes that peers and applications share, of specification 1.1.2 and of its reference server."""

    PROTOCOL_VIOLATION = "PROTOCOL_VIOLATION"
    SEQ_VIOLATION = "SEQ_VIOLATION"
    FLOW_CONTROL_VIOLATION = "FLOW_CONTROL_VIOLATION"
    VERSION_INCOMPATIBLE = "VERSION_INCOMPATIBLE"
    RUN_LIMIT_EXCEEDED = "RUN_LIMIT_EXCEEDED"
    REPLAY_TOO_OLD = "REPLAY_TOO_OLD"
    UNSUPPORTED_TYPE = "UNSUPPORTED_TYPE"
    RESUME_FAILED = "RESUME_FAILED"
    AUTHENTICATION_FAILED = "AUTHENTICATION_FAILED"
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
    """Something that could not be done. Its text begins with its code.

    Args:
        message: What could not be done, why, and what to do about it.
        code: A :class:`HaipErrorCode`, or what a peer calls it.
        details: More about it, for programs.

    Attributes:
        message: What could not be done.
        code: The code.
        details: More about it.
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
    """A peer said what the protocol has no meaning for."""


class HaipConnectionError(HaipError):
    """There is no connection, or it was lost for good."""

    def __init__(
        self,
        message: str,
        code: str = HaipErrorCode.CONNECTION_FAILED,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, code, details)


class HaipAuthenticationError(HaipError):
    """The token was refused."""

    def __init__(
        self,
        message: str,
        code: str = HaipErrorCode.AUTHENTICATION_FAILED,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, code, details)


class HaipFlowControlError(HaipError):
    """There are no credits for a message, or its channel is paused."""

    def __init__(
        self,
        message: str,
        code: str = HaipErrorCode.FLOW_CONTROL,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, code, details)
