"""Vocabulary: the interface between a gateway and the messages of one codec."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeAlias

from ably_ai_transport.codec import Codec
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A text, complete or growing.

    Attributes:
        text: The text received so far.
        is_done: Whether the text is known to be complete.
    """

    text: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class Approval:
    """The request to approve a tool call, and the decision.

    Attributes:
        id: The id of the request.
        approved: The decision; None while the request waits for one.
    """

    id: str
    approved: bool | None = None


@dataclass(frozen=True, slots=True)
class ToolPiece:
    """A tool call and its outcome.

    Attributes:
        call_id: The id of the call in the conversation.
        tool: The name of the tool.
        params: The parameters; any JSON value, None for a call without parameters.
        is_complete: Whether the parameters are complete.
        awaits_result: Whether a participant may send the result.
        approval: The request to approve the call; None without one.
        status: The final status; None while the call runs.
        result: The result, or a partial result while the call runs.
    """

    call_id: str
    tool: str
    params: object = None
    is_complete: bool = True
    awaits_result: bool = False
    approval: Approval | None = None
    status: Literal["OK", "CANCELLED", "ERROR"] | None = None
    result: object = None


@dataclass(frozen=True, slots=True)
class Sound:
    """A chunk of audio.

    Attributes:
        mime: The media type of the data.
        data: The audio data.
        duration_ms: The duration in milliseconds.
    """

    mime: str
    data: bytes
    duration_ms: int | None = None


Piece: TypeAlias = TextPiece | ToolPiece | Sound


def failure_text(status: Literal["CANCELLED", "ERROR"], result: object) -> str:
    """Return the error text of a call that failed or was cancelled.

    Args:
        status: The final status.
        result: The result; any JSON value.

    Returns:
        The text.

    Example:
        >>> failure_text("CANCELLED", None)
        'cancelled'
    """
    if isinstance(result, str):
        return result
    return "cancelled" if status == "CANCELLED" and result is None else json.dumps(result)


class Vocabulary(Protocol, Generic[InT, OutT, ProjT, MsgT]):
    """Reads and writes the messages of one codec."""

    @property
    def codec(self) -> Codec[InT, OutT, ProjT, MsgT]:
        """The codec of the conversations."""
        ...

    def user_message(self, message_id: str, text: str, sounds: Sequence[Sound]) -> InT:
        """Build a user's message.

        Args:
            message_id: The id of the message; :meth:`message_id` returns it.
            text: The text; may be empty.
            sounds: The audio of the message.
        """
        ...

    def message_id(self, message: MsgT) -> str | None:
        """Return the id that the author of a message gave it; None if there is none."""
        ...

    def is_from_person(self, message: MsgT) -> bool:
        """Tell whether a message is from a user."""
        ...

    def pieces(self, message: MsgT) -> Sequence[Piece]:
        """Return the pieces of a message, in order. A piece never changes its place."""
        ...

    def passing(self, output: OutT) -> Sound | None:
        """Return the audio of an output that is part of no message; None if there is none."""
        ...

    def answer(
        self,
        codec_message_id: str,
        piece: ToolPiece,
        status: Literal["OK", "CANCELLED", "ERROR"],
        result: object,
    ) -> InT:
        """Build the result of a tool call.

        Args:
            codec_message_id: The message with the call.
            piece: The call; it waits for a result.
            status: The final status.
            result: The result; any JSON value.
        """
        ...

    def decision(self, codec_message_id: str, piece: ToolPiece, approved: bool, reason: str | None) -> InT:
        """Build the answer to a request for approval.

        Args:
            codec_message_id: The message with the call.
            piece: The call; it waits for an approval.
            approved: Whether the call may run.
            reason: The reason; None without one.
        """
        ...
