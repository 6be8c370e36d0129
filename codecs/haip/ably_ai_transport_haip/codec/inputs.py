"""The input table: how each input of a client travels."""

from collections.abc import Iterable
from typing import Final

from ably_ai_transport.codec import (
    BatchRow,
    Data,
    InputRow,
    InputTableRow,
    PartRow,
    Payload,
    SignalRow,
    StrField,
    UserMessage,
    Values,
)
from ably_ai_transport_haip.codec.fields import CALL_ID, MESSAGE_ID, all_but
from ably_ai_transport_haip.codec.projection import HaipEntry, HaipText


def _explode(event: UserMessage[HaipEntry]) -> Iterable[Values]:
    for text in event.message.texts:
        values = {"type": "text", "message_id": text.message_id, "text": text.text}
        yield values if text.author is None else {**values, "author": text.author}


def _assemble(part: dict[str, object], _: Payload) -> UserMessage[HaipEntry]:
    author = part.get("author")
    text = HaipText(
        str(part.get("message_id") or ""),
        str(part["text"]),
        None if author is None else str(author),
        is_done=True,
    )
    return UserMessage(HaipEntry("user", (text,)))


INPUTS: Final[tuple[InputTableRow, ...]] = (
    SignalRow("regenerate"),
    InputRow("tool-result", fields=(CALL_ID,), data=all_but("call_id")),
    InputRow("tool-result-error", fields=(CALL_ID,), data=all_but("call_id")),
    BatchRow(
        "user-message",
        explode=_explode,
        assemble=_assemble,
        parts=(
            PartRow(
                "text",
                fields=(MESSAGE_ID, StrField("author")),
                data=Data(
                    lambda part: part["text"], lambda data: {"text": data if isinstance(data, str) else ""}
                ),
            ),
        ),
    ),
)
