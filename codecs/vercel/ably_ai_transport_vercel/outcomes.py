"""What becomes of a run once its reply has been piped."""

import inspect
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal

from ably_ai_transport import AITransportError, ErrorCode, StreamResult
from ably_ai_transport_vercel.chunks import FinishReason


@dataclass(frozen=True, slots=True)
class VercelRunOutcome:
    """What to do with a run.

    Attributes:
        reason: ``suspend``, or the reason to end it with.
        error: Why it failed; set exactly when the reason is ``error``.
    """

    reason: Literal["suspend", "complete", "cancelled", "error"]
    error: AITransportError | None = None


async def vercel_run_outcome(
    result: StreamResult, finish_reason: FinishReason | Awaitable[FinishReason | None] | None
) -> VercelRunOutcome:
    """Tell whether a run ends or waits for tools, from how its pipe ended and why the model stopped.

    Args:
        result: What ``run.pipe`` returned.
        finish_reason: Why the model stopped, or what brings it; awaited only where the pipe is complete.

    Returns:
        ``suspend`` where the model has stopped for tool calls that somebody else carries out, otherwise the
        reason to end the run with.

    Example:
        >>> outcome = await vercel_run_outcome(await run.pipe(chunks), finish_reason)  # doctest: +SKIP
        >>> if outcome.reason == "suspend":  # doctest: +SKIP
        ...     await run.suspend()
        ... else:
        ...     await run.end(outcome.reason, error=outcome.error)
    """
    if result.reason != "complete":
        if inspect.iscoroutine(finish_reason):
            finish_reason.close()
        return VercelRunOutcome(result.reason, _error(result.error) if result.reason == "error" else None)
    try:
        reason = await finish_reason if isinstance(finish_reason, Awaitable) else finish_reason
    except Exception as error:  # noqa: BLE001 - whatever the model's client raises
        return VercelRunOutcome("error", _error(error))
    return VercelRunOutcome("suspend" if reason == "tool-calls" else "complete")


def _error(error: BaseException | None) -> AITransportError:
    if isinstance(error, AITransportError):
        return error
    failure = AITransportError(f"unable to complete run; {error}", ErrorCode.STREAM_ERROR, 500)
    failure.__cause__ = error
    return failure
