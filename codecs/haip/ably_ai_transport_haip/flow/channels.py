"""Paused channels: sends wait until the other side resumes them."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import anyio

from ably_ai_transport_haip.client import HaipClient
from ably_ai_transport_haip.endpoint.hooks import call
from ably_ai_transport_haip.protocol import HaipEventType, HaipMessage


class ChannelManager:
    """Tracks paused channels, and delays sends on them.

    Args:
        client: The client.

    Example:
        >>> with ChannelManager(client) as channels:  # doctest: +SKIP
        ...     await channels.send_with_channel_check(
        ...         "USER", lambda: client.send_text_message("USER", "Hello"))
    """

    def __init__(self, client: HaipClient) -> None:
        self._client = client
        self._resumed: dict[str, anyio.Event] = {}
        self._off: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        off_message = self._client.on("message", self._take)
        off_closed = self._client.on("closed", self._resume_all)

        def off() -> None:
            off_message()
            off_closed()

        self._off = off
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._off()
        self._resume_all()

    def is_channel_paused(self, channel: str) -> bool:
        """Tell whether the other side has paused a channel."""
        return channel in self._resumed

    async def send_with_channel_check(self, channel: str, send: Callable[[], object]) -> None:
        """Wait until the channel is not paused, then send.

        Args:
            channel: The channel.
            send: A plain or coroutine function that sends.
        """
        while (resumed := self._resumed.get(channel)) is not None:
            await resumed.wait()
            if self._resumed.get(channel) is resumed:
                break
        await call(send)

    def _resume_all(self) -> None:
        """Let the delayed sends go on. If the client is closed, they fail."""
        for resumed in self._resumed.values():
            resumed.set()

    def _take(self, message: HaipMessage) -> None:
        channel = str(message.payload.get("channel"))
        if message.type is HaipEventType.PAUSE_CHANNEL:
            self._resumed.setdefault(channel, anyio.Event())
        elif message.type is HaipEventType.RESUME_CHANNEL:
            resumed = self._resumed.pop(channel, None)
            if resumed is not None:
                resumed.set()
