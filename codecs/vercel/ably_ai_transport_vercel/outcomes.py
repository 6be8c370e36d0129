"""Run outcomes: whether a run ends or waits after its reply was piped."""

import inspect
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal

from ably_ai_transport import AITransportError, ErrorCode, StreamResult
from ably_ai_transport_vercel.events import FinishReason


@dataclass(frozen=True, slots=True)
class VercelRunOutcome:
    """The outcome of a run.

    Attributes:
        reason: ``suspend``, or the reason to end it with.
        error: The failure; set if and only if the reason is ``error``.
    """

    reason: Literal["suspend", "complete", "cancelled", "error"]
    error: AITransportError | None = None


async def vercel_run_outcome(
    result: StreamResult, finish_reason: FinishReason | Awaitable[FinishReason | None] | None
) -> VercelRunOutcome:
    """Decide whether a run ends or waits for tools.

    Args:
        result: The result of ``run.pipe``.
        finish_reason: The model's finish reason, or an awaitable of it. Awaited only if the pipe is complete.

    Returns:
        ``suspend`` if the model stopped for tool calls that a client answers. Otherwise the reason to end the
        run with.

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
    # Clients may read the message, so it names only the type of a foreign exception.
    reason = "no error was given" if error is None else type(error).__name__
    return AITransportError(f"unable to complete run; {reason}", ErrorCode.STREAM_ERROR, 500, error)
