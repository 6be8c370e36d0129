"""Text halves: joins the characters of texts that a peer cut between the halves of a character."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from ably_ai_transport_haip.protocol.halves import has_halves, whole
from ably_ai_transport_haip.protocol.messages import HaipMessage
from ably_ai_transport_haip.protocol.names import HaipEventType

MAX_KEPT: Final = 1000
"""The largest number of texts that wait for the second half of a character."""
_FIRST_HALF_AT_END: Final = re.compile("[\ud800-\udbff]\\Z")
_FRAGMENTS: Final = frozenset({HaipEventType.MESSAGE_START, HaipEventType.MESSAGE_PART})


class TextHalves:
    """The first halves of characters whose second halves are still to come, by text."""

    def __init__(self) -> None:
        self._kept: dict[str, str] = {}

    def join(self, message: HaipMessage) -> tuple[HaipMessage, HaipMessage | None]:
        """Join the characters of a text. A first half at the end of a message is kept for the next one.

        Args:
            message: A received message of any type.

        Returns:
            The message with whole characters, and a part to deliver before it: the end of a text whose last
            message ended in a first half. None if there is nothing to deliver.
        """
        payload = message.payload
        if message.type is HaipEventType.MESSAGE_END:
            return message, self._rest(message, payload) if self._kept else None
        if message.type not in _FRAGMENTS:
            return message, None
        message_id, text = payload.get("message_id"), payload.get("text")
        if not isinstance(message_id, str) or not isinstance(text, str):
            return message, None
        kept = self._kept.pop(message_id, "")
        if not kept and not has_halves(text):
            return message, None
        text = kept + text
        end = _FIRST_HALF_AT_END.search(text)
        if end is not None:
            while len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[message_id] = end.group()
            text = text[: end.start()]
        return replace(message, payload={**payload, "text": whole(text)}), None

    def _rest(self, message: HaipMessage, payload: Mapping[str, object]) -> HaipMessage | None:
        message_id = payload.get("message_id")
        kept = self._kept.pop(message_id, "") if isinstance(message_id, str) else ""
        if not kept:
            return None
        part = {"message_id": message_id, "text": whole(kept)}
        return replace(message, type=HaipEventType.MESSAGE_PART, payload=part, size=0)

    def clear(self) -> None:
        """Forget all texts."""
        self._kept.clear()
