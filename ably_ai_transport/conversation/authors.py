"""Authors: who published a message, and which inputs of a node count.

Headers hold what their publisher wrote; Ably verifies the client id of a message. The first publisher of a
conversation message is its author.
"""

from dataclasses import dataclass

from ably_ai_transport.wire import InboundMessage, names

USER_MESSAGE = "user-message"


@dataclass(frozen=True, slots=True)
class Author:
    """The first publisher of a conversation message.

    Attributes:
        serial: Serial of the earliest channel message with its id.
        client_id: The publisher, as Ably verified it; None for an anonymous one.
    """

    serial: str
    client_id: str | None


@dataclass(frozen=True, slots=True)
class InputClaim:
    """The part of an input that decides whether it counts.

    Attributes:
        serial: Serial of the channel message.
        client_id: Its publisher, as Ably verified it.
        message_id: The conversation message that it belongs to.
        event: The event, and the place of the channel message in its batch; None where it has no event id.
        speaks: Whether it adds words to the conversation message.
    """

    serial: str
    client_id: str | None
    message_id: str | None
    event: tuple[str, str] | None
    speaks: bool


class InputLedger:
    """The inputs of one node, and which of them count.

    An input that is published twice, because its ack was lost, counts once: its first copy on the channel.
    Words count if they come from the author of their message. They stop counting once the message is closed:
    when it is an agent's, or belongs to another node.
    """

    __slots__ = ("_claims", "_closed", "_first_copies", "_first_words")

    def __init__(self) -> None:
        self._claims: dict[str, InputClaim] = {}
        self._first_copies: dict[tuple[str, str], str] = {}
        self._first_words: dict[str, Author] = {}
        self._closed: set[str] = set()

    def add(self, claim: InputClaim) -> None:
        """Take in an input."""
        serial, message_id = claim.serial, claim.message_id
        self._claims[serial] = claim
        if claim.event is not None:
            self._first_copies[claim.event] = min(serial, self._first_copies.get(claim.event, serial))
        if claim.speaks and message_id is not None:
            first = self._first_words.get(message_id)
            if first is None or serial < first.serial:
                self._first_words[message_id] = Author(serial, claim.client_id)

    def close(self, message_id: str) -> bool:
        """Let no words of an input count for a message any more.

        Returns:
            Whether any counted until now.
        """
        if message_id in self._closed:
            return False
        self._closed.add(message_id)
        return message_id in self._first_words

    def is_left_out(self, serial: str) -> bool:
        """Tell whether an input does not count."""
        claim = self._claims.get(serial)
        if claim is None:
            return False
        if claim.event is not None and self._first_copies[claim.event] != serial:
            return True
        if not claim.speaks or claim.message_id is None:
            return False
        if claim.message_id in self._closed:
            return True
        return self._first_words[claim.message_id].client_id != claim.client_id

    def absorb(self, other: "InputLedger") -> None:
        """Take in the inputs of another ledger."""
        for claim in other._claims.values():  # noqa: SLF001 - another of its kind
            self.add(claim)
        self._closed |= other._closed  # noqa: SLF001


def event_of(message: InboundMessage) -> tuple[str, str] | None:
    """Identify the event of an input across repeated publishes.

    The parts of a batch share their event id, and their ids end in their places in the batch.

    Args:
        message: The input.

    Returns:
        The event id, and the place in the batch; None where the message lacks either id.
    """
    event_id = message.transport_headers.get(names.EVENT_ID)
    if not event_id or not message.id:
        return None
    before, _, place = message.id.rpartition(":")
    return event_id, place if before else ""
