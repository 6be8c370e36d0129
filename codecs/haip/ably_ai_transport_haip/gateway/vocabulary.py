"""What a gateway needs to know of the messages of a conversation, whatever codec they are in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeAlias

from ably_ai_transport.codec import Codec
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A text, as far as it is there.

    Attributes:
        text: The text.
        is_done: Whether all of it is known to be there; the last text of a run that goes on may grow.
    """

    text: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class ToolPiece:
    """A call of a tool, and what became of it.

    Attributes:
        call_id: The call, as the conversation names it.
        tool: The tool's name.
        params: What it is called with; None while that is not complete.
        status: How it ended; None while it has not.
        result: What it brought, or what has come of it so far.
        asks: Whether somebody has to approve of it.
    """

    call_id: str
    tool: str
    params: object = None
    status: Literal["OK", "CANCELLED", "ERROR"] | None = None
    result: object = None
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Sound:
    """A piece of sound.

    Attributes:
        mime: What the bytes are.
        data: The bytes.
        duration_ms: How long it is.
    """

    mime: str
    data: bytes
    duration_ms: int | None = None


Piece: TypeAlias = TextPiece | ToolPiece | Sound


class Vocabulary(Protocol, Generic[InT, OutT, ProjT, MsgT]):
    """Reads and writes the messages of one codec."""

    @property
    def codec(self) -> Codec[InT, OutT, ProjT, MsgT]:
        """The codec of the conversations."""
        ...

    def user_message(self, message_id: str, text: str, sounds: Sequence[Sound]) -> InT:
        """Build what a person says.

        Args:
            message_id: The message; :meth:`message_id` returns it again.
            text: The text; may be empty.
            sounds: What belongs to it.
        """
        ...

    def message_id(self, message: MsgT) -> str | None:
        """Return the id that the one who wrote a message gave it."""
        ...

    def is_from_person(self, message: MsgT) -> bool:
        """Tell whether a person said it, rather than an agent."""
        ...

    def pieces(self, message: MsgT) -> Sequence[Piece]:
        """Return what a message is made of, in order. A piece keeps its place once it is there."""
        ...

    def passing(self, output: OutT) -> Sound | None:
        """Return the sound in an output that is in no message, or None where there is none."""
        ...

    def answer(
        self,
        codec_message_id: str,
        piece: ToolPiece,
        status: Literal["OK", "CANCELLED", "ERROR"],
        result: object,
    ) -> InT:
        """Build what answers a call.

        Args:
            codec_message_id: The message with the call.
            piece: The call.
            status: How it ended.
            result: What it brought.
        """
        ...
