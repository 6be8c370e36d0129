"""Where the errors of a run go: to its own hook, to the session, and to the clients of the conversation."""

import logging
from collections.abc import Callable

from ably_ai_transport.wire import AITransportError, ErrorCode

logger = logging.getLogger("ably_ai_transport.session")


def report_to(
    hook: Callable[[AITransportError], object] | None,
    error: AITransportError,
    otherwise: Callable[[AITransportError], None],
) -> None:
    """Hand an error to a run's own hook, or to the session's listeners where there is none or it raises."""
    if hook is None:
        otherwise(error)
        return
    try:
        hook(error)
    except Exception:
        logger.exception("on_error raised")
        otherwise(error)


def public_error(error: Exception | None) -> AITransportError | None:
    """Describe a failure for the clients of a conversation, without what may be secret.

    Args:
        error: The failure.

    Returns:
        The error itself where it is one of ours; otherwise one that names its type, with code 104008.
    """
    if error is None or isinstance(error, AITransportError):
        return error
    return AITransportError(f"agent failed with {type(error).__name__}", ErrorCode.STREAM_ERROR)
