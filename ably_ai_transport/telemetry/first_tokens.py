"""The time from a client's send to the first text of the reply."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final

from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.session.conversation import Change, LiveConversation
from ably_ai_transport.telemetry.metrics import Metrics
from ably_ai_transport.telemetry.operations import guarded
from ably_ai_transport.wire import InboundMessage, RunEnd, names

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST: Final = 100
"""Sends that are waited for at most; beyond that the oldest is given up."""


class FirstTokens:
    """Waits for the first text of the replies to a client's sends.

    It looks at messages only while it waits: a token that is not the first one costs nothing.

    Args:
        conversation: The conversation.
        metrics: The instruments.
    """

    def __init__(self, conversation: LiveConversation[InT, OutT, ProjT, MsgT], metrics: Metrics) -> None:
        self._subscribe = partial(conversation.subscribe, self._on_change, InboundMessage, RunEnd)
        self._metrics = metrics
        self._sent: dict[str, float] = {}
        self._off: Callable[[], None] | None = None

    def expect(self, codec_message_id: str) -> None:
        """Wait for the reply to an input that is sent now."""
        if len(self._sent) == _MOST:
            del self._sent[next(iter(self._sent))]
        self._sent[codec_message_id] = asyncio.get_running_loop().time()
        if self._off is None:
            self._off = self._subscribe()

    def give_up(self, codec_message_id: str) -> None:
        """Wait no longer: the input could not be published, or the reply has no text."""
        self._sent.pop(codec_message_id, None)
        if not self._sent and self._off is not None:
            self._off()
            self._off = None

    @guarded
    def _on_change(self, change: Change[InT, OutT]) -> None:
        message = change.message
        if message is None or not change.live:
            return
        headers = message.transport_headers
        began = self._sent.get(headers.get(names.INPUT_CODEC_MESSAGE_ID, ""))
        if began is None:
            return
        if isinstance(change.event, RunEnd):
            self.give_up(headers[names.INPUT_CODEC_MESSAGE_ID])
        elif headers.get(names.STREAM) == "true" and message.data:
            self.give_up(headers[names.INPUT_CODEC_MESSAGE_ID])
            self._metrics.note_first_token(asyncio.get_running_loop().time() - began, "client")
