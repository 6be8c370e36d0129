"""Piping: from any asynchronous iterable to a writer, until it ends, fails, or is told to stop."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

import anyio

from ably_ai_transport.codec.contract import OutT
from ably_ai_transport.session.logs import LOGGER
from ably_ai_transport.session.signals import AbortSignal
from ably_ai_transport.wire import InvalidArgumentError, RunEndReason

O_contra = TypeVar("O_contra", contravariant=True)


class Write(Protocol[O_contra]):
    """Publishes one more output."""

    async def __call__(self, output: O_contra, /) -> None:
        """Publish the output."""
        ...


OnCancelled: TypeAlias = Callable[[Write[OutT]], Awaitable[None] | None]
"""Called when a pipe is cancelled, to write the end of the reply."""


@dataclass(frozen=True, slots=True)
class StreamResult:
    """The result of a pipe.

    Attributes:
        reason: ``complete``, ``cancelled`` or ``error``.
        error: The exception of the source or the channel if the reason is ``error``.
    """

    reason: RunEndReason
    error: Exception | None = None


@runtime_checkable
class _Closeable(Protocol):
    async def aclose(self) -> object: ...


async def drain(source: AsyncIterable[OutT], write: Write[OutT], signal: AbortSignal) -> bool:
    """Write a stream of outputs until it ends or is stopped. The source is closed in any case.

    A cancel request interrupts the source while it is waited for, and never a write: what has been taken from
    the source is written.

    Args:
        source: The outputs.
        write: Publishes one of them.
        signal: Tells when to stop.

    Returns:
        Whether it was stopped before the source ended.
    """
    iterator = aiter(source)
    reading = False
    last: list[OutT] = []
    try:
        with anyio.CancelScope() as scope:
            off = signal.on_abort(lambda: scope.cancel() if reading else None)
            try:
                while not signal.aborted:
                    reading = True
                    try:
                        output = await anext(iterator)
                    except StopAsyncIteration:
                        return False
                    finally:
                        reading = False
                    if scope.cancel_called:
                        last.append(output)
                        break
                    await write(output)
            finally:
                off()
        for output in last:
            await write(output)
    finally:
        await _close_source(iterator)
    return True


async def _close_source(iterator: AsyncIterator[object]) -> None:
    if isinstance(iterator, _Closeable):
        with anyio.CancelScope(shield=True):
            try:
                await iterator.aclose()
            except Exception:  # noqa: BLE001 - a user's code
                LOGGER.exception("The source of a pipe raised while it was closed")


def check_source(source: object) -> None:
    """Refuse what cannot be piped.

    Raises:
        InvalidArgumentError: It is not an asynchronous iterable (40003).
    """
    if not isinstance(source, AsyncIterable):
        raise InvalidArgumentError(f"unable to pipe; {type(source).__name__} is not an asynchronous iterable")
