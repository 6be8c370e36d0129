"""Halves of characters, as peers send them that count text in UTF-16 units.

JavaScript may cut a text between the two halves of a character, and JSON can escape a half. UTF-8 cannot hold
one.
"""

import re
from typing import Final

MAX_KEPT: Final = 1000
"""The largest number of texts that wait for the second half of a character."""
_HALF: Final = re.compile("[\ud800-\udfff]")
_FIRST_HALF_AT_END: Final = re.compile("[\ud800-\udbff]\\Z")


def has_halves(text: str) -> bool:
    """Tell whether a text has halves of characters."""
    return not text.isascii() and _HALF.search(text) is not None


def whole(text: str) -> str:
    """Return a text without halves of characters: pairs are joined, and a single half becomes U+FFFD.

    Args:
        text: The text.

    Returns:
        A text that can be encoded as UTF-8.
    """
    if not has_halves(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class TextHalves:
    """The first halves of characters whose second halves are still to come, by text."""

    def __init__(self) -> None:
        self._kept: dict[object, str] = {}

    def join(self, message_id: object, text: str) -> str:
        """Return a part of a text as whole characters.

        Args:
            message_id: The text.
            text: The part. A first half at its end is kept for the next part.
        """
        kept = self._kept.pop(message_id, "")
        if not kept and not has_halves(text):
            return text
        text = kept + text
        end = _FIRST_HALF_AT_END.search(text)
        if end is not None:
            while len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[message_id] = end.group()
            text = text[: end.start()]
        return whole(text)

    def end(self, message_id: object) -> str:
        """Return the rest of a text that ends: U+FFFD if its last part ended in a first half, else nothing.

        Args:
            message_id: The text.
        """
        return whole(self._kept.pop(message_id, ""))

    def clear(self) -> None:
        """Forget all texts."""
        self._kept.clear()
