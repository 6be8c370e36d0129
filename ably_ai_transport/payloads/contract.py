"""The contract of a payload store, and the keys of its objects."""

import hashlib
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

_PREFIX_DIGITS: Final = 32
_KEY: Final = re.compile(r"[0-9a-f]{32}/[0-9a-f]{64}(\.[a-z0-9]{1,4})?")
_BINARY: Final = "application/octet-stream"
_EXTENSIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "application/json": ".json",
        "application/pdf": ".pdf",
        "audio/mpeg": ".mp3",
        "audio/wav": ".wav",
        "image/gif": ".gif",
        "image/jpeg": ".jpg",
        "image/png": ".png",
        "image/webp": ".webp",
        "text/plain": ".txt",
        "video/mp4": ".mp4",
    }
)
"""Media types that objects are stored under.

Participants choose the types of their files. A browser must not run one of them as a page or a script.
"""


@runtime_checkable
class PayloadStore(Protocol):
    """Keeps large values under keys.

    The key contains the hash of the content, so a key never gets another content. Any exception means that an
    operation failed.
    """

    async def put(self, key: str, content: bytes, media_type: str) -> str:
        """Keep a content. Putting the same content twice is fine.

        Args:
            key: The key, in the form ``<session>/<hash>``, with an extension for common media types.
            content: The content.
            media_type: The type to serve it with; ``application/octet-stream`` unless it is harmless in a
                browser.

        Returns:
            The URL under which clients without this store can read the content.
        """
        ...

    async def get(self, key: str) -> bytes:
        """Return a content.

        Args:
            key: The key of an earlier :meth:`put`, of this process or another.

        Raises:
            FileNotFoundError: The store has no such key.
        """
        ...


def payload_prefix(session_name: str) -> str:
    """Return the beginning of the keys of a session's payloads.

    To erase a conversation, delete all objects whose key begins with it.

    Args:
        session_name: The conversation.

    Example:
        >>> payload_prefix("chat:42")
        '55995e1856d884372e5ded3b46f2e11b/'
    """
    return hashlib.sha256(session_name.encode()).hexdigest()[:_PREFIX_DIGITS] + "/"


def safe_media_type(media_type: str) -> str:
    """Return a media type without its parameters; a binary one unless it is harmless in a browser."""
    bare = media_type.partition(";")[0].strip().lower()
    return bare if bare in _EXTENSIONS else _BINARY


def key_of(prefix: str, content: bytes, media_type: str) -> str:
    """Return the key of a content.

    Args:
        prefix: The result of :func:`payload_prefix`.
        content: The content.
        media_type: Its safe media type.
    """
    return prefix + hashlib.sha256(content).hexdigest() + _EXTENSIONS.get(media_type, "")


def is_key(key: str) -> bool:
    """Tell whether a text has the form of a key."""
    return _KEY.fullmatch(key) is not None


def fits_key(key: str, content: bytes) -> bool:
    """Tell whether a content is the one that a key names."""
    return hashlib.sha256(content).hexdigest() == key.partition("/")[2].partition(".")[0]
