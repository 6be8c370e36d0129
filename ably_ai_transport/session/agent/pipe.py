"""Piping: from any asynchronous iterable into an encoder, until it ends, fails, or is told to stop."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import anyio

from ably_ai_transport.codec.contract import Encoder, InT, OutT
from ably_ai_transport.session.logs import LOGGER
from ably_ai_transport.session.signals import AbortSignal
from ably_ai_transport.wire import AITransportError, InvalidArgumentError, RunEndReason

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


class Pipe(Generic[InT, OutT]):
    """One stream on its way to the channel.

    A cancel request interrupts the source while the pipe waits for it, but never a write: each output that
    was taken from the source is published.

    Args:
        open_encoder: Called when the first output is there.
        written: Gets each output that is handed to the encoder.
    """

    def __init__(
        self, open_encoder: Callable[[], Awaitable[Encoder[InT, OutT]]], written: list[OutT]
    ) -> None:
        self._open_encoder = open_encoder
        self._written = written
        self._encoder: Encoder[InT, OutT] | None = None
        self._reading = False

    async def run(
        self,
        source: AsyncIterable[OutT],
        signal: AbortSignal,
        on_cancelled: Callable[[Write[OutT]], Awaitable[None]],
    ) -> StreamResult:
        """Write a stream of outputs. The source is closed in any case.

        Args:
            source: The outputs.
            signal: Tells when to stop.
            on_cancelled: May write last outputs when the signal has stopped the pipe.

        Returns:
            The result, with the exception of the source or the channel; it is not raised.
        """
        try:
            stopped = await self._drain(source, signal)
            if stopped:
                await on_cancelled(self.write)
            if self._encoder is not None:
                await self._encoder.cancel_streams()
                await self._encoder.close()
        except Exception as error:  # noqa: BLE001 - whatever the source raises is the result
            await self._close_quietly()
            return StreamResult("error", error)
        return StreamResult("cancelled" if stopped else "complete")

    async def write(self, output: OutT, /) -> None:
        """Publish one output."""
        if self._encoder is None:
            self._encoder = await self._open_encoder()
        self._written.append(output)
        await self._encoder.publish_output(output)

    async def abandon(self) -> None:
        """Close the streams after a cancellation, so that followers do not wait for the rest."""
        if self._encoder is not None:
            try:
                await self._encoder.cancel_streams()
            except AITransportError:
                LOGGER.warning("An interrupted stream could not be closed", exc_info=True)
            await self._close_quietly()

    async def _drain(self, source: AsyncIterable[OutT], signal: AbortSignal) -> bool:
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

    async def _close_quietly(self) -> None:
        if self._encoder is not None:
            try:
                await self._encoder.close()
            except AITransportError:
                LOGGER.warning("The last outputs could not be flushed", exc_info=True)


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
