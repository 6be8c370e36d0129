"""Vocabulary of conversations in HAIP events, for agents that publish HAIP events."""

import base64
import re
from collections.abc import Sequence
from typing import Final, Literal

from ably_ai_transport.codec import Codec
from ably_ai_transport_haip.codec import (
    HaipCodec,
    HaipEntry,
    HaipInput,
    HaipProjection,
    haip_user_message,
)
from ably_ai_transport_haip.gateway.vocabulary import Piece, Sound, TextPiece, ToolPiece, failure_text
from ably_ai_transport_haip.protocol import HaipErrorCode, HaipEventType, HaipMessage, HaipProtocolError

_DURATION: Final = re.compile(r"[0-9]{1,20}")


class HaipEventMessages:
    """Reads and writes HAIP events for a gateway. It carries the audio of agents, not of users."""

    def __init__(self) -> None:
        self._codec = HaipCodec()

    @property
    def codec(self) -> Codec[HaipInput, HaipMessage, HaipProjection, HaipEntry]:
        """The codec of the conversations."""
        return self._codec

    def user_message(self, message_id: str, text: str, sounds: Sequence[Sound]) -> HaipInput:
        """Build a user's message."""
        if sounds:
            raise HaipProtocolError(
                "unable to accept audio; conversations in HAIP events carry only the audio of agents",
                HaipErrorCode.UNSUPPORTED_TYPE,
            )
        return self._codec.create_user_message(haip_user_message(text, message_id=message_id))

    def message_id(self, message: HaipEntry) -> str | None:
        """Return the id that the author of a message gave it."""
        return message.texts[0].message_id if message.texts else None

    def is_from_person(self, message: HaipEntry) -> bool:
        """Tell whether a message is from a user."""
        return message.role == "user"

    def pieces(self, message: HaipEntry) -> Sequence[Piece]:
        """Return the pieces of a message: the texts, then the tool calls."""
        return [
            *(TextPiece(text.text, text.is_done) for text in message.texts),
            *(
                ToolPiece(
                    tool.call_id,
                    tool.tool,
                    tool.params,
                    awaits_result=tool.status is None,
                    status=tool.status,
                    result=tool.partial if tool.status is None else tool.result,
                )
                for tool in message.tools
            ),
        ]

    def passing(self, output: HaipMessage) -> Sound | None:
        """Return the audio of an output; None if there is none."""
        if output.type is not HaipEventType.AUDIO_CHUNK:
            return None
        try:
            data = base64.b64decode(str(output.payload.get("data", "")), validate=True)
        except ValueError:
            return None
        duration = str(output.payload.get("duration_ms", ""))
        milliseconds = int(duration) if _DURATION.fullmatch(duration) else None
        return Sound(str(output.payload.get("mime")), data, milliseconds)

    def answer(
        self,
        codec_message_id: str,
        piece: ToolPiece,
        status: Literal["OK", "CANCELLED", "ERROR"],
        result: object,
    ) -> HaipInput:
        """Build the result of a tool call."""
        if status == "OK":
            payload = {"call_id": piece.call_id, "result": result}
            return self._codec.create_tool_result(codec_message_id, payload)
        message = failure_text(status, result)
        return self._codec.create_tool_result_error(
            codec_message_id, {"call_id": piece.call_id, "message": message}
        )

    def decision(
        self, codec_message_id: str, piece: ToolPiece, approved: bool, reason: str | None
    ) -> HaipInput:
        """Refuse: HAIP events have no requests for approval."""
        raise HaipProtocolError(
            f"unable to decide about call {piece.call_id}; conversations in HAIP events have no approvals",
            HaipErrorCode.UNSUPPORTED_TYPE,
        )
