"""Events and frames: the output of a peer."""

from dataclasses import dataclass

from ably_ai_transport_haip.protocol.errors import HaipError
from ably_ai_transport_haip.protocol.messages import HaipMessage
from ably_ai_transport_haip.protocol.payloads import Hai


@dataclass(slots=True)
class Frame:
    """A message to send, as one text frame and at most one binary frame.

    Attributes:
        text: The text frame; None for a binary frame without a message.
        binary: The binary frame that follows it.
        size: The bytes of both.
    """

    text: str | None
    binary: bytes | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Handshaken:
    """The handshake of the other side arrived.

    Attributes:
        payload: The payload of the handshake.
        resumed: Whether the session continues from an earlier connection.
    """

    payload: Hai
    resumed: bool


@dataclass(slots=True)
class Received:
    """A message arrived and is next in order."""

    message: HaipMessage


@dataclass(frozen=True, slots=True)
class BinaryReceived:
    """A binary frame without a message arrived."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Violated:
    """The other side violated the protocol. An ``ERROR`` for it is queued.

    Attributes:
        error: The violation.
        fatal: Whether the connection must be closed.
    """

    error: HaipError
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Messages of the other side are lost for good.

    Attributes:
        first: The sequence number of the first.
        last: The sequence number of the last.
    """

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class CreditsChanged:
    """The credits of a channel changed, or it was paused or resumed.

    Attributes:
        channel: The channel.
    """

    channel: str


PeerEvent = Handshaken | Received | BinaryReceived | Violated | Lost | CreditsChanged
