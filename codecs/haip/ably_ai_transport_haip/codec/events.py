"""Events of the HAIP codec: HAIP messages as outputs, and the inputs of clients."""

from collections.abc import Mapping
from typing import TypeAlias

from ably_ai_transport.codec import EventShape, Regenerate, ToolResult, ToolResultError, UserMessage, Values
from ably_ai_transport_haip.codec.projection import HaipEntry, HaipText
from ably_ai_transport_haip.protocol import HaipEventType, HaipMessage, new_id

HaipInput: TypeAlias = (
    UserMessage[HaipEntry]
    | Regenerate
    | ToolResult[Mapping[str, object]]
    | ToolResultError[Mapping[str, object]]
)
"""An input of a client."""


class HaipEvents(EventShape[HaipMessage]):
    """Outputs are HAIP messages without their envelopes: the session has headers of its own."""

    discriminator = "type"

    def kind_of(self, event: HaipMessage) -> str | None:
        """Return the type of a message; None for anything else."""
        return event.type.value if isinstance(event, HaipMessage) else None  # pyright: ignore[reportUnnecessaryIsInstance]

    def values_of(self, event: HaipMessage) -> Values:
        """Return the payload of a message."""
        return event.payload

    def build(self, kind: str, values: dict[str, object]) -> HaipMessage:
        """Return a message without an envelope."""
        return HaipMessage(HaipEventType(kind), values)


def haip_user_message(text: str, *, message_id: str | None = None, author: str | None = None) -> HaipEntry:
    """Build a user's message of one text.

    Args:
        text: The text.
        message_id: The text's id, a UUID; a random one by default.
        author: The name of the author.

    Returns:
        The entry, for :meth:`HaipCodec.create_user_message`.
    """
    return HaipEntry("user", (HaipText(message_id or new_id(), text, author, is_done=True),))
