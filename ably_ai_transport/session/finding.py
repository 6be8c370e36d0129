"""Waits for something to come live, or to turn up in history."""

import logging
from collections.abc import Callable
from typing import Generic

import anyio

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.session.abort import AbortSignal
from ably_ai_transport.session.materialisation import Materialisation
from ably_ai_transport.wire import AITransportError

logger = logging.getLogger("ably_ai_transport.session")


class Finder(Generic[InT, OutT, ProjT, MsgT]):
    """Looks for something on the channel, again whenever there is news.

    Args:
        materialisation: Returns the conversation, which reads history.
    """

    def __init__(self, materialisation: Callable[[], Materialisation[InT, OutT, ProjT, MsgT]]) -> None:
        self._materialisation = materialisation
        self._heard = anyio.Event()

    def hear(self) -> None:
        """Let who waits look again."""
        self._heard.set()
        self._heard = anyio.Event()

    async def find(
        self,
        found: Callable[[], bool],
        timeout: float | None,  # noqa: ASYNC109
        signal: AbortSignal,
    ) -> tuple[bool, AITransportError | None]:
        """Wait until something is there.

        Args:
            found: Tells whether it is.
            timeout: How long to wait, in seconds; None waits for ever.
            signal: Ends the search.

        Returns:
            Whether it was found, and what kept history from being read.
        """
        history_error: AITransportError | None = None
        with anyio.move_on_after(timeout), anyio.CancelScope() as scope:
            off = signal.on_abort(scope.cancel)
            try:
                try:
                    await self._materialisation().fold_until(found)
                except AITransportError as error:
                    logger.warning("History could not be read; what is looked for may still come live")
                    history_error = error
                while not found():
                    await self._heard.wait()
            finally:
                off()
        return found(), history_error
