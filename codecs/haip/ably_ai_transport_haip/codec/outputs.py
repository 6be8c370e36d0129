"""The output table: how each HAIP event of an agent travels."""

from typing import Final

from ably_ai_transport.codec import DropRow, EventRow, JsonField, OutputRow, StreamRow, StrField, Values
from ably_ai_transport_haip.codec.fields import CALL_ID, MESSAGE_ID, all_but


def _always(_: Values) -> bool:
    return True


OUTPUTS: Final[tuple[OutputRow, ...]] = (
    StreamRow(
        "text",
        start="MESSAGE_START",
        delta="MESSAGE_PART",
        end="MESSAGE_END",
        text="text",
        stream_id="message_id",
        fields=(MESSAGE_ID, StrField("author"), StrField("tokens")),
        delta_keys=("message_id",),
    ),
    EventRow("TOOL_CALL", fields=(CALL_ID, StrField("tool")), data=all_but("call_id", "tool")),
    EventRow("TOOL_UPDATE", fields=(CALL_ID,), data=all_but("call_id"), ephemeral=_always),
    EventRow("TOOL_DONE", fields=(CALL_ID,), data=all_but("call_id")),
    EventRow("TOOL_CANCEL", fields=(CALL_ID, StrField("reason"))),
    EventRow("TOOL_LIST", fields=(JsonField("tools"),)),
    EventRow("TOOL_SCHEMA", fields=(StrField("tool"),), data=all_but("tool")),
    EventRow(
        "AUDIO_CHUNK",
        fields=(MESSAGE_ID, StrField("mime")),
        data=all_but("message_id", "mime"),
        ephemeral=_always,
    ),
    EventRow("ERROR", fields=(StrField("code"), StrField("message")), data=all_but("code", "message")),
    # The session publishes the lifecycle of runs itself.
    DropRow("RUN_STARTED"),
    DropRow("RUN_FINISHED"),
    DropRow("RUN_ERROR"),
)
