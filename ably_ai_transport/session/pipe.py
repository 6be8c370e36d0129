"""Piping: from any asynchronous iterable into an encoder, until it ends, fails, or is told to stop."""

import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import anyio

from ably_ai_transport.codec.contract import Encoder, InT, OutT
from ably_ai_transport.session.abort import AbortSignal
from ably_ai_transport.wire import AITransportError, ErrorCode, RunEndReason

logger = logging.getLogger("ably_ai_transport.session")

O_contra = TypeVar("O_contra", contravariant=True)


class Write(Protocol[O_contra]):
    """Publishes one more output."""

    async def __call__(self, output: O_contra, /) -> None:
        """Publish the output."""
        ...


OnCancelled: TypeAlias = Callable[[Write[OutT]], Awaitable[None]]
"""Called when a pipe is cancelled, to write what is to stand at the end of the reply."""


@dataclass(frozen=True, slots=True)
class StreamResult:
    """How a pipe ended.

    Attributes:
        reason: ``complete``, ``cancelled`` or ``error``.
        error: What the source or the channel raised, where the reason is ``error``.
    """

    reason: RunEndReason
    error: Exception | None = None


@runtime_checkable
class _Closeable(Protocol):
    async def aclose(self) -> object: ...


async def pipe_stream(
    source: AsyncIterable[OutT],
    open_encoder: Callable[[], Awaitable[Encoder[InT, OutT]]],
    signal: AbortSignal,
    *,
    written: list[OutT],
    on_cancelled: OnCancelled[OutT] | None = None,
) -> StreamResult:
    """Write a stream of outputs.

    The source is closed in any case. A cancel interrupts the source while it is waited for, and never a
    write: what has been taken from the source is on the channel.

    Args:
        source: The outputs.
        open_encoder: Called when the first output is there.
        signal: Tells when to stop.
        written: Gets each output that is handed to the encoder.
        on_cancelled: May write last outputs when the pipe is cancelled.

    Returns:
        How it ended. What the source or the channel raises is in the result, not raised.
    """
    pipe = _Pipe(open_encoder, written)
    try:
        stopped = await pipe.drain(source, signal)
        if stopped and on_cancelled is not None:
            await on_cancelled(pipe.write)
        await pipe.finish()
    except Exception as error:  # noqa: BLE001 - whatever the source raises is the result
        await pipe.close_quietly()
        return StreamResult("error", error)
    except BaseException:
        # The task itself is being cancelled: followers should not wait for the rest of an unfinished text.
        with anyio.CancelScope(shield=True):
            await pipe.finish_quietly()
        raise
    return StreamResult("cancelled" if stopped else "complete")


class _Pipe(Generic[InT, OutT]):
    def __init__(
        self, open_encoder: Callable[[], Awaitable[Encoder[InT, OutT]]], written: list[OutT]
    ) -> None:
        self._open_encoder = open_encoder
        self._written = written
        self._encoder: Encoder[InT, OutT] | None = None
        self._reading = False

    async def drain(self, source: AsyncIterable[OutT], signal: AbortSignal) -> bool:
        """Write until the source ends; return whether it was stopped before that."""
        iterator = aiter(source)
        last: list[OutT] = []
        try:
            with anyio.CancelScope() as scope:
                off = signal.on_abort(lambda: scope.cancel() if self._reading else None)
                try:
                    while not signal.aborted:
                        self._reading = True
                        try:
                            output = await anext(iterator)
                        except StopAsyncIteration:
                            return False
                        finally:
                            self._reading = False
                        if scope.cancel_called:
                            last.append(output)
                            break
                        await self.write(output)
                finally:
                    off()
            for output in last:
                await self.write(output)
        finally:
            await _close_source(iterator)
        return True

    async def write(self, output: OutT, /) -> None:
        if self._encoder is None:
            self._encoder = await self._open_encoder()
        self._written.append(output)
        await self._encoder.publish_output(output)

    async def finish(self) -> None:
        if self._encoder is not None:
            await self._encoder.cancel_streams()
            await self._encoder.close()

    async def finish_quietly(self) -> None:
        if self._encoder is not None:
            try:
                await self._encoder.cancel_streams()
            except AITransportError:
                logger.warning("An interrupted stream could not be closed", exc_info=True)
            await self.close_quietly()

    async def close_quietly(self) -> None:
        if self._encoder is not None:
            try:
                await self._encoder.close()
            except AITransportError:
                logger.warning("What was written last could not be flushed", exc_info=True)


async def _close_source(iterator: AsyncIterator[object]) -> None:
    if isinstance(iterator, _Closeable):
        with anyio.CancelScope(shield=True):
            try:
                await iterator.aclose()
            except Exception:
                logger.exception("The source of a pipe raised while it was closed")


def check_source(source: object) -> None:
    """Refuse what cannot be piped.

    Raises:
        AITransportError: It is not an asynchronous iterable (40003).
    """
    if not isinstance(source, AsyncIterable):
        raise AITransportError(
            f"unable to pipe; {type(source).__name__} is not an asynchronous iterable",
            ErrorCode.INVALID_ARGUMENT,
            400,
        )
