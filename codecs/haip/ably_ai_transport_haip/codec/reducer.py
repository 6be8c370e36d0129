"""Reducer: folds inputs and outputs into messages."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast, get_args

from ably_ai_transport.codec import (
    CodecMessage,
    FoldMeta,
    InputEvent,
    OutputEvent,
    Reducer,
    ToolResult,
    ToolResultError,
    UserMessage,
)
from ably_ai_transport_haip.codec.events import HaipInput
from ably_ai_transport_haip.codec.projection import HaipEntry, HaipProjection, HaipText, HaipToolState
from ably_ai_transport_haip.protocol import FinishStatus, HaipEventType, HaipMessage

_STATUSES: Final = get_args(FinishStatus)


def fold(
    projection: HaipProjection, event: InputEvent[HaipInput] | OutputEvent[HaipMessage], meta: FoldMeta
) -> HaipProjection:
    """Fold one event into the projection.

    Args:
        projection: The messages so far; changed in place.
        event: The event.
        meta: The message that the event belongs to.

    Returns:
        The projection.
    """
    said = event.event
    match said:
        case UserMessage(message):
            key = meta.message_id or ""
            known = projection.get(key, HaipEntry("user"))
            projection[key] = replace(known, texts=(*known.texts, *message.texts))
        case ToolResult(codec_message_id, payload):
            _answer(projection, codec_message_id, payload, "OK", payload.get("result"))
        case ToolResultError(codec_message_id, payload):
            _answer(projection, codec_message_id, payload, "ERROR", payload.get("message"))
        case HaipMessage():
            key = meta.message_id or ""
            folded = _fold_output(projection.get(key, HaipEntry()), said)
            if folded is not None:
                projection[key] = folded
        case _:
            pass
    return projection


def messages_of(projection: HaipProjection) -> list[CodecMessage[HaipEntry]]:
    """Return the messages, in order."""
    return [CodecMessage(key, entry) for key, entry in projection.items()]


REDUCER: Final = Reducer[HaipInput, HaipMessage, HaipProjection, HaipEntry](dict, fold, messages_of)


def _answer(
    projection: HaipProjection,
    codec_message_id: str,
    payload: Mapping[str, object],
    status: FinishStatus,
    result: object,
) -> None:
    entry = projection.get(codec_message_id)
    if entry is not None:
        done = {"status": status, "result": result}
        projection[codec_message_id] = _with_tool(entry, str(payload.get("call_id")), done, only_known=True)


def _fold_output(entry: HaipEntry, message: HaipMessage) -> HaipEntry | None:
    """Return the entry with an output; None for an output that changes no message."""
    payload = cast("Mapping[str, Any]", message.payload)
    message_id, call_id = str(payload.get("message_id")), str(payload.get("call_id"))
    match message.type:
        case HaipEventType.MESSAGE_START:
            return _with_text(entry, message_id, author=payload.get("author"))
        case HaipEventType.MESSAGE_PART:
            return _with_text(entry, message_id, more=str(payload.get("text") or ""))
        case HaipEventType.MESSAGE_END:
            return _with_text(entry, message_id, is_done=True)
        case HaipEventType.TOOL_CALL:
            call = {"tool": payload.get("tool", ""), "params": payload.get("params")}
            return _with_tool(entry, call_id, call)
        case HaipEventType.TOOL_UPDATE:
            update = {"progress": payload.get("progress"), "partial": payload.get("partial")}
            return _with_tool(entry, call_id, update, only_known=True)
        case HaipEventType.TOOL_DONE:
            status = payload.get("status") or "OK"
            known_status = status if status in _STATUSES else "ERROR"
            return _with_tool(entry, call_id, {"status": known_status, "result": payload.get("result")})
        case _:
            return None


def _with_text(
    entry: HaipEntry, message_id: str, *, more: str = "", author: str | None = None, is_done: bool = False
) -> HaipEntry:
    known = next((text for text in entry.texts if text.message_id == message_id), HaipText(message_id))
    changed = replace(
        known, text=known.text + more, author=author or known.author, is_done=is_done or known.is_done
    )
    if any(text is known for text in entry.texts):
        return replace(entry, texts=tuple(changed if text is known else text for text in entry.texts))
    return replace(entry, texts=(*entry.texts, changed))


def _with_tool(
    entry: HaipEntry, call_id: str, changes: Mapping[str, Any], *, only_known: bool = False
) -> HaipEntry:
    known = next((tool for tool in entry.tools if tool.call_id == call_id), None)
    if known is None:
        return (
            entry if only_known else replace(entry, tools=(*entry.tools, HaipToolState(call_id, **changes)))
        )
    if known.status is not None:
        # The first result counts.
        return entry
    changed = replace(known, **changes)
    return replace(entry, tools=tuple(changed if tool is known else tool for tool in entry.tools))
