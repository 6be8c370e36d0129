"""Refusals with Ably's codes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ably_ai_transport.local.protocol.frames import ErrorInfo


class RefusedError(Exception):
    """A refused operation: it becomes a NACK, an ERROR or an HTTP error.

    Attributes:
        code: Ably's error code.
        status: The HTTP status that goes with it.
        message: The reason, for people.
    """

    def __init__(self, code: int, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message

    def to_wire(self) -> ErrorInfo:
        """Return the `error` field of a frame or of an HTTP body."""
        return {
            "code": self.code,
            "statusCode": self.status,
            "message": self.message,
            "href": f"https://help.ably.io/error/{self.code}",
        }


def bad_request(message: str, code: int = 40000) -> RefusedError:
    """The request is invalid."""
    return RefusedError(code, 400, message)


def bad_token(message: str) -> RefusedError:
    """The token is malformed, or one of its claims is."""
    return RefusedError(40144, 401, f"Invalid token: {message}")


def bad_client_id(message: str) -> RefusedError:
    """The clientId is invalid."""
    return RefusedError(40012, 400, f"Invalid clientId: {message}")


def bad_parameter(message: str) -> RefusedError:
    """A parameter of the request is invalid."""
    return RefusedError(40003, 400, f"Invalid parameter: {message}")


def internal_error() -> RefusedError:
    """The server has failed; the log says why."""
    return RefusedError(50000, 500, "Internal error of the local server; its log has the details")


def denied(channel: str, operation: str) -> RefusedError:
    """The capability does not cover the operation."""
    return RefusedError(
        40160, 401, f"Channel denied access based on given capability; channelId = {channel} ({operation})"
    )


def no_mode(operation: str, mode: str) -> RefusedError:
    """The modes of the attachment do not cover the operation."""
    return RefusedError(
        40165, 401, f"Unable to {operation} as client did not request the {mode} mode when attaching"
    )


def too_large(size: int, limit: int) -> RefusedError:
    """A publish, a frame or a body is too large."""
    return RefusedError(
        40009, 413, f"Maximum message length exceeded (size was {size} bytes, limit is {limit} bytes)"
    )


def too_large_to_deliver(size: int, limit: int) -> RefusedError:
    """An append would make its message too large for the frame that carries it as a whole."""
    text = f"the message would take {size} bytes as a whole, limit is {limit} bytes"
    return RefusedError(40009, 413, f"Maximum message length exceeded by appends; {text}")


def full(what: str, limit: int) -> RefusedError:
    """The app holds as much as it may."""
    return RefusedError(40112, 401, f"Message limit of the local server exceeded: {what} (limit {limit})")


def too_many_channels(limit: int) -> RefusedError:
    """There are too many channels."""
    return RefusedError(40114, 403, f"Channel limit of the local server exceeded (limit {limit})")


def too_many_attachments(limit: int) -> RefusedError:
    """The connection has attached as many channels as it may."""
    return RefusedError(90010, 400, f"Maximum number of channels per connection ({limit}) exceeded")


def too_fast(code: int, metric: str, permitted: int) -> RefusedError:
    """A connection or a channel takes no more messages now; the publish may be retried."""
    text = f"Rate limit exceeded; request rejected (nonfatal); metric = {metric}; permitted = {permitted}/s"
    return RefusedError(code, 429, text)


def bad_id(reason: str) -> RefusedError:
    """The client gave messages ids that cannot make the publish idempotent."""
    return RefusedError(40031, 400, f"Invalid client-specified message id; {reason}")


def too_many_connections(limit: int) -> RefusedError:
    """There are too many connections; the client may try again."""
    return RefusedError(80021, 429, f"Connection limit of the local server exceeded (limit {limit})")


def unknown_serial(serial: str) -> RefusedError:
    """No message has this serial (Ably does not document its code; this one is our choice)."""
    return RefusedError(40400, 404, f"Message not found: {serial}")


def not_mutable() -> RefusedError:
    """The namespace does not have mutable messages."""
    return RefusedError(
        93002, 400, "Can only update/delete/append messages on channels with mutableMessages enabled"
    )


def invalid_connection_key() -> RefusedError:
    """The connectionKey is malformed: the client continues with a new connectionId."""
    return RefusedError(80018, 400, "Unable to recover connection: invalid connectionKey")


def connection_expired() -> RefusedError:
    """The connection has expired: the client continues with a new connectionId."""
    return RefusedError(80008, 400, "Unable to recover connection: connection expired")


def continuity_lost() -> RefusedError:
    """The channel's backlog no longer reaches back to the given channelSerial."""
    return RefusedError(90003, 404, "Unable to recover channel: messages expired")


def not_supported(what: str) -> RefusedError:
    """The local server does not support this part of Ably."""
    return RefusedError(40000, 400, f"{what} are not supported by the local server")
