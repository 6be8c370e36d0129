"""What a side of a session learns, and what it sends."""

from dataclasses import dataclass

from ably_ai_transport_haip.protocol.errors import HaipError
from ably_ai_transport_haip.protocol.messages import HaipMessage
from ably_ai_transport_haip.protocol.payloads import Hai


@dataclass(frozen=True, slots=True)
class Frame:
    """What goes out: a text frame, and a binary one that belongs to it.

    Attributes:
        text: The text frame; None for a naked binary frame.
        binary: The binary frame after it.
    """

    text: str | None
    binary: bytes | None = None


@dataclass(frozen=True, slots=True)
class Handshaken:
    """The other side has said what it speaks.

    Attributes:
        payload: What it said.
        resumed: Whether the session goes on from before.
    """

    payload: Hai
    resumed: bool


@dataclass(frozen=True, slots=True)
class Received:
    """A message came, in its turn."""

    message: HaipMessage


@dataclass(frozen=True, slots=True)
class BinaryReceived:
    """A binary frame came that belongs to no message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Violated:
    """The other side did something that it must not, and has been told.

    Attributes:
        error: What it did.
        fatal: Whether the connection cannot go on.
    """

    error: HaipError
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages are lost for good.

    Attributes:
        first: The number of the first.
        last: The number of the last.
    """

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class CreditsChanged:
    """More may be sent on a channel than before, or less.

    Attributes:
        channel: The channel.
    """

    channel: str


PeerEvent = Handshaken | Received | BinaryReceived | Violated | Lost | CreditsChanged
