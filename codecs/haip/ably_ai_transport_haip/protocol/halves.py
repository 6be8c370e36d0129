"""Halves of characters, as peers send them that count text in UTF-16 units.

JavaScript may cut a text between the two halves of a character, and JSON can escape a half. UTF-8 cannot hold
one.
"""

import re
from typing import Final

_HALF: Final = re.compile("[\ud800-\udfff]")


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
