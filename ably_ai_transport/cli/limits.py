"""The limits of the local server, as an option of commands."""

from enum import StrEnum


class LimitsChoice(StrEnum):
    """The limits of a local server.

    Attributes:
        NONE: No rates.
        ABLY: What Ably publishes, as in ``Limits.ably``.
    """

    NONE = "none"
    ABLY = "ably"
