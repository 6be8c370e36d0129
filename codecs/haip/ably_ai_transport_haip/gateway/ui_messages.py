"""Vocabulary of conversations in UI messages."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, cast

from ably_ai_transport_vercel import (
    FilePart,
    ToolApprovalResponsePayload,
    UIMessage,
    UIMessageChunk,
    UIMessageCodec,
    UIMessagePart,
    VercelInput,
    VercelProjection,
    is_tool_part,
    text_message,
)

from ably_ai_transport.codec import Codec
from ably_ai_transport_haip.gateway.vocabulary import (
    Approval,
    Piece,
    Sound,
    TextPiece,
    ToolPiece,
    failure_text,
)

AUDIO_DATA: Final = "data-haip-audio"
"""The transient chunk with an agent's audio: ``mime``, ``data`` as base64, and ``durationMs``."""
_DATA_URL: Final = re.compile(r"data:(?P<mime>[^;,]+)[^,]*;base64,(?P<data>.*)", re.DOTALL)
_STATUS: Final[Mapping[str, Literal["OK", "CANCELLED", "ERROR"]]] = {
    "output-available": "OK",
    "output-error": "ERROR",
    "output-denied": "CANCELLED",
}


class UIMessages:
    """Reads and writes UI messages for a gateway.

    The audio of users travels as file parts. Agents send audio as file parts, or as transient
    ``data-haip-audio`` chunks that are not stored.
    """

    def __init__(self) -> None:
        self._codec = UIMessageCodec()

    @property
    def codec(self) -> Codec[VercelInput, UIMessageChunk, VercelProjection, UIMessage]:
        """The codec of the conversations."""
        return self._codec

    def user_message(self, message_id: str, text: str, sounds: Sequence[Sound]) -> VercelInput:
        """Build a user's message."""
        files: list[FilePart] = [
            {
                "type": "file",
                "mediaType": sound.mime,
                "url": f"data:{sound.mime};base64,{base64.b64encode(sound.data).decode()}",
            }
            for sound in sounds
        ]
        message = text_message(text, message_id=message_id, parts=files)
        if not text and files:
            message["parts"] = [part for part in message["parts"] if part["type"] != "text"]
        return self._codec.create_user_message(message)

    def message_id(self, message: UIMessage) -> str | None:
        """Return the id that the author of a message gave it."""
        return message["id"]

    def is_from_person(self, message: UIMessage) -> bool:
        """Tell whether a message is from a user."""
        return message["role"] == "user"

    def pieces(self, message: UIMessage) -> Sequence[Piece]:
        """Return the pieces of a message, in order."""
        return [piece for part in message["parts"] if (piece := _piece(part)) is not None]

    def passing(self, output: UIMessageChunk) -> Sound | None:
        """Return the transient audio of an output; None if there is none."""
        chunk = cast("Mapping[str, Any]", output)
        if chunk.get("type") != AUDIO_DATA or not chunk.get("transient"):
            return None
        return _sound_of(chunk.get("data"))

    def answer(
        self,
        codec_message_id: str,
        piece: ToolPiece,
        status: Literal["OK", "CANCELLED", "ERROR"],
        result: object,
    ) -> VercelInput:
        """Build the result of a tool call."""
        if status == "OK":
            return self._codec.create_tool_result(
                codec_message_id, {"toolCallId": piece.call_id, "output": result}
            )
        message = failure_text(status, result)
        return self._codec.create_tool_result_error(
            codec_message_id, {"toolCallId": piece.call_id, "message": message}
        )

    def decision(
        self, codec_message_id: str, piece: ToolPiece, approved: bool, reason: str | None
    ) -> VercelInput:
        """Build the answer to a request for approval."""
        payload: ToolApprovalResponsePayload = {"toolCallId": piece.call_id, "approved": approved}
        if reason is not None:
            payload["reason"] = reason
        return self._codec.create_tool_approval_response(codec_message_id, payload)


def _piece(part: UIMessagePart) -> Piece | None:
    values = cast("Mapping[str, Any]", part)
    if values["type"] == "text":
        return TextPiece(values["text"], values.get("state") == "done")
    if is_tool_part(part):
        return _tool(values)
    if values["type"] == "file" and str(values["mediaType"]).startswith("audio/"):
        match = _DATA_URL.match(str(values["url"]))
        return None if match is None else _decoded(match["mime"], match["data"], None)
    return None


def _tool(values: Mapping[str, Any]) -> ToolPiece:
    name = values.get("toolName") or str(values["type"]).removeprefix("tool-")
    state = values["state"]
    is_over = state in _STATUS and not values.get("preliminary")
    return ToolPiece(
        values["toolCallId"],
        str(name),
        values.get("input"),
        is_complete=state != "input-streaming",
        # A provider runs its own tools.
        awaits_result=state == "input-available" and not values.get("providerExecuted"),
        approval=_approval(values.get("approval")),
        status=_STATUS[state] if is_over else None,
        result=values.get("errorText") if state == "output-error" else values.get("output"),
    )


def _approval(values: object) -> Approval | None:
    if not isinstance(values, dict):
        return None
    said = cast("dict[str, Any]", values)
    return Approval(str(said.get("id") or ""), said.get("approved"))


def _sound_of(data: object) -> Sound | None:
    if not isinstance(data, dict):
        return None
    values = cast("dict[str, Any]", data)
    duration = values.get("durationMs")
    return _decoded(
        str(values.get("mime", "audio/unknown")),
        str(values.get("data", "")),
        duration if isinstance(duration, int) else None,
    )


def _decoded(mime: str, data: str, duration_ms: int | None) -> Sound | None:
    try:
        return Sound(mime, base64.b64decode(data, validate=True), duration_ms)
    except ValueError:
        return None
