"""Run output stream: the chunks of one run, live, to forward them."""

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

from ably_ai_transport import AITransportError, ErrorCode, OutputFolded
from ably_ai_transport.wire import RunEnd, RunLifecycleEvent
from ably_ai_transport_vercel.events import UIMessageChunk, VercelInput
from ably_ai_transport_vercel.sessions import UIClientRun, UIClientSession

_LAST: Final = frozenset({"finish", "error", "abort"})
KEPT: Final = 10_000
"""Maximum number of chunks that wait for a slow reader; beyond it the stream fails."""


class RunOutputStream(AsyncIterator[UIMessageChunk]):
    """The live chunks of the run that an input of this client started.

    It ends with the first ``finish``, ``error`` or ``abort``, even if the run is only suspended, or with the
    run. An error that the session reports meanwhile, or that :meth:`error` is given, is raised.

    Attributes:
        closed: Whether no more chunks will arrive. Chunks that wait are still read.
    """

    def __init__(self, session: UIClientSession, run: UIClientRun) -> None:
        self.closed = False
        self._run = run
        self._chunks: asyncio.Queue[UIMessageChunk | Exception | None] = asyncio.Queue()
        self._offs = [
            session.tree.on_output(self._take),
            session.tree.on_run(self._take_run),
            session.on_error(self.error),
        ]

    def close(self) -> None:
        """End the stream after the chunks so far. May be repeated."""
        if not self.closed:
            self.closed = True
            self._chunks.put_nowait(None)
            for off in self._offs:
                off()

    def error(self, error: Exception) -> None:
        """Fail the stream: its reader gets the chunks so far, and then the error.

        Call it if the request to the agent failed, since the run then gets no reply. A closed stream does not
        change.

        Args:
            error: The error to raise.

        Example:
            >>> try:  # doctest: +SKIP
            ...     (await http.post("/api/chat", json=run.to_invocation().to_json())).raise_for_status()
            ... except httpx.HTTPError as error:
            ...     chunks.error(error)
        """
        if not self.closed:
            self._chunks.put_nowait(error)
            self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> UIMessageChunk:
        chunk = None if self.closed and self._chunks.empty() else await self._chunks.get()
        if chunk is None:
            raise StopAsyncIteration
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, event: OutputFolded[VercelInput, UIMessageChunk]) -> None:
        if event.input_codec_message_id != self._run.input_codec_message_id:
            return
        for chunk in event.events:
            if self.closed:
                return
            if self._chunks.qsize() >= KEPT:
                self.error(
                    AITransportError(
                        f"unable to continue stream; {KEPT} chunks wait for its reader",
                        ErrorCode.STREAM_ERROR,
                    )
                )
                return
            self._chunks.put_nowait(chunk)
            if chunk["type"] in _LAST:
                self.close()

    def _take_run(self, event: RunLifecycleEvent) -> None:
        if isinstance(event, RunEnd) and event.run_id == self._run.run_id:
            self.close()


def create_run_output_stream(session: UIClientSession, run: UIClientRun) -> RunOutputStream:
    """Follow the chunks of a run that this client started.

    Call it right after the send: earlier chunks are not repeated. It behaves as the npm package's chat
    transport.

    Args:
        session: The client's session.
        run: The result of the send.

    Returns:
        The stream, to iterate over. Leaving its ``async with`` ends it, and so does ``close``.

    Example:
        >>> run = await session.view.send(codec.create_user_message(message))  # doctest: +SKIP
        >>> async with create_run_output_stream(session, run) as chunks:  # doctest: +SKIP
        ...     async for chunk in chunks:
        ...         await response.send(chunk)
    """
    return RunOutputStream(session, run)
