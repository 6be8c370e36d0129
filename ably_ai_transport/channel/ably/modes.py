"""Channel modes: the operations that a session requests for its channel.

A channel that requests no modes gets the server's default set. One that requests any gets exactly those; to
get more, it has to request the default set as well. The npm package's ``channel-options.ts`` is the source,
the order included: the SDKs compare modes as lists.
"""

from collections.abc import Iterable, Sequence
from typing import Final

BASE_MODES: Final[Sequence[str]] = (
    "PUBLISH",
    "SUBSCRIBE",
    "PRESENCE",
    "PRESENCE_SUBSCRIBE",
    "ANNOTATION_PUBLISH",
)
"""The server's default set."""

OBJECT_MODES: Final[Sequence[str]] = ("OBJECT_SUBSCRIBE", "OBJECT_PUBLISH")
"""The modes of LiveObjects."""

_ORDER: Final[Sequence[str]] = (
    "PUBLISH",
    "SUBSCRIBE",
    "PRESENCE",
    "PRESENCE_SUBSCRIBE",
    "OBJECT_PUBLISH",
    "OBJECT_SUBSCRIBE",
    "ANNOTATION_PUBLISH",
    "ANNOTATION_SUBSCRIBE",
)


def resolve_channel_modes(extra: Iterable[str] = ()) -> list[str]:
    """Add modes to the default set.

    Args:
        extra: Modes beyond the default ones.

    Returns:
        All modes in one fixed order, each once; empty where there is nothing to add, so that the server's
        default set applies.

    Example:
        >>> resolve_channel_modes(["ANNOTATION_SUBSCRIBE"])[-1]
        'ANNOTATION_SUBSCRIBE'
    """
    wanted = set(extra)
    if not wanted:
        return []
    wanted.update(BASE_MODES)
    return [mode for mode in _ORDER if mode in wanted] + sorted(wanted.difference(_ORDER))
