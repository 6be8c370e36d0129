"""What people and agents say, as a conversation of HAIP events shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

from ably_ai_transport.codec import (
    CodecMessage,
    FoldMeta,
    InputEvent,
    OutputEvent,
    Regenerate,
    ToolResult,
    ToolResultError,
    UserMessage,
)
from ably_ai_transport_haip.protocol import FinishStatus, HaipEventType, HaipMessage


@dataclass(frozen=True, slots=True)
class HaipText:
    """A text.

    Attributes:
        message_id: Its id, a UUID.
        text: What has been said so far.
        author: Who says it.
        is_done: Whether all of it is there.
    """

    message_id: str
    text: str = ""
    author: str | None = None
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class HaipToolState:
    """A call of a tool, and what became of it.

    Attributes:
        call_id: The call, a UUID.
        tool: The tool's name.
        params: What it is called with.
        progress: How much of it is done: 0 to 100.
        partial: What there is so far.
        status: How it ended; None while it has not.
        result: What it brought.
    """

    call_id: str
    tool: str = ""
    params: Mapping[str, object] | None = None
    progress: float | None = None
    partial: object = None
    status: FinishStatus | None = None
    result: object = None


@dataclass(frozen=True, slots=True)
class HaipEntry:
    """One turn: what a person said, or what an agent did about it.

    Attributes:
        role: Who it is from.
        texts: The texts, in order.
        tools: The calls, in order.
    """

    role: Literal["user", "agent"] = "agent"
    texts: tuple[HaipText, ...] = ()
    tools: tuple[HaipToolState, ...] = ()

    @property
    def text(self) -> str:
        """All texts together."""
        return "".join(text.text for text in self.texts)


HaipInput: TypeAlias = (
    UserMessage[HaipEntry]
    | Regenerate
    | ToolResult[Mapping[str, object]]
    | ToolResultError[Mapping[str, object]]
)
"""Anything that a client says."""
HaipProjection: TypeAlias = dict[str, HaipEntry]
"""What was said under each message id of the conversation."""


def fold(
    projection: HaipProjection, event: InputEvent[HaipInput] | OutputEvent[HaipMessage], meta: FoldMeta
) -> HaipProjection:
    """Fold one event into what was said."""
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
    """Return what was said, in order."""
    return [CodecMessage(key, entry) for key, entry in projection.items()]


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
    payload = cast("Mapping[str, Any]", message.payload)
    match message.type:
        case HaipEventType.MESSAGE_START:
            return _with_text(entry, payload["message_id"], author=payload.get("author"))
        case HaipEventType.MESSAGE_PART:
            return _with_text(entry, payload["message_id"], more=payload.get("text", ""))
        case HaipEventType.MESSAGE_END:
            return _with_text(entry, payload["message_id"], is_done=True)
        case HaipEventType.TOOL_CALL:
            call = {"tool": payload.get("tool", ""), "params": payload.get("params")}
            return _with_tool(entry, payload["call_id"], call)
        case HaipEventType.TOOL_UPDATE:
            update = {"progress": payload.get("progress"), "partial": payload.get("partial")}
            return _with_tool(entry, payload["call_id"], update, only_known=True)
        case HaipEventType.TOOL_DONE:
            done = {"status": payload.get("status") or "OK", "result": payload.get("result")}
            return _with_tool(entry, payload["call_id"], done)
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
        # The first answer counts.
        return entry
    changed = replace(known, **changes)
    return replace(entry, tools=tuple(changed if tool is known else tool for tool in entry.tools))
