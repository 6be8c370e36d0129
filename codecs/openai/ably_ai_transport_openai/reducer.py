"""Folds events into messages.

Any section of a conversation folds: events of an unseen item are dropped, and parts after a missing part wait
for it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

from ably_ai_transport.codec import (
    CodecMessage,
    FoldMeta,
    InputEvent,
    OutputEvent,
    Reducer,
    Regenerate,
    ToolApprovalResponse,
    ToolResult,
    ToolResultError,
    UserMessage,
    as_mapping,
    as_text,
)
from ably_ai_transport_openai.events import OpenAIInput, OpenAIMessage, OpenAIOutput
from ably_ai_transport_openai.outputs import MODELLED, ResponseEvents
from ably_ai_transport_openai.projection import TEXT_OF, Growing, Item, OpenAIProjection, copied

Event: TypeAlias = Mapping[str, Any]
FoldEvent: TypeAlias = Callable[[OpenAIProjection, Event, str], None]

DENIED: Final = "Tool execution was not approved."
"""The output of a call that was denied without a reason."""

_EVENTS = ResponseEvents()


def _add_item(projection: OpenAIProjection, event: Event, message_id: str) -> None:
    item = as_mapping(event.get("item"))
    if as_text(item.get("type")) not in MODELLED:
        return
    entry = projection.ensure(message_id, "assistant")
    item_id = item.get("id")
    if isinstance(item_id, str) and item_id in entry.live:
        return
    added = Growing(item, "arguments") if item["type"] == "function_call" else Item(item)
    entry.items.append(added)
    if isinstance(item_id, str):
        entry.live[item_id] = added


def _finish_item(projection: OpenAIProjection, event: Event, message_id: str) -> None:
    done = as_mapping(event.get("item"))
    item = projection.live(message_id, done.get("id"))
    if item is None or item.kind != done.get("type"):
        return
    if "status" in done:
        item.set("status", done["status"])
    else:
        item.drop("status")
    if isinstance(item, Growing):
        return
    content = done.get("content")
    if item.kind == "message" and isinstance(content, list):
        for index, finished in enumerate(cast("list[object]", content)):
            values = as_mapping(finished)
            part = item.part("content", index, "output_text")
            if part is not None and values.get("type") == "output_text" and "logprobs" in values:
                part.set("logprobs", values["logprobs"])
    if item.kind == "reasoning" and isinstance(done.get("encrypted_content"), str):
        item.set("encrypted_content", done["encrypted_content"])


def _open_content(projection: OpenAIProjection, event: Event, message_id: str) -> None:
    item = projection.live(message_id, event.get("item_id"))
    part = as_mapping(event.get("part"))
    kinds = {"message": ("output_text", "refusal"), "reasoning": ("reasoning_text",)}
    if isinstance(item, Item) and part.get("type") in kinds.get(str(item.kind), ()):
        item.open_part("content", event.get("content_index"), part)


def _open_summary(projection: OpenAIProjection, event: Event, message_id: str) -> None:
    item = projection.live(message_id, event.get("item_id"))
    if isinstance(item, Item) and item.kind == "reasoning":
        text = as_mapping(event.get("part")).get("text")
        item.open_part("summary", event.get("summary_index"), {"type": "summary_text", "text": text})


def _part_folds(kind: str, owner: str, list_key: str, index_key: str) -> dict[str, FoldEvent]:
    """Return the folds of the texts of a kind of part."""
    name = "reasoning_summary_text" if kind == "summary_text" else kind
    whole = TEXT_OF[kind]

    def find(projection: OpenAIProjection, event: Event, message_id: str) -> Growing | None:
        item = projection.live(message_id, event.get("item_id"))
        if not isinstance(item, Item) or item.kind != owner:
            return None
        return item.part(list_key, event.get(index_key), kind)

    def grow(projection: OpenAIProjection, event: Event, message_id: str) -> None:
        part = find(projection, event, message_id)
        if part is not None:
            part.append(as_text(event.get("delta")))

    def end(projection: OpenAIProjection, event: Event, message_id: str) -> None:
        part = find(projection, event, message_id)
        if part is not None:
            part.replace(as_text(event.get(whole)))

    return {f"response.{name}.delta": grow, f"response.{name}.done": end}


def _call(projection: OpenAIProjection, event: Event, message_id: str) -> Growing | None:
    item = projection.live(message_id, event.get("item_id"))
    return item if isinstance(item, Growing) else None


def _grow_arguments(projection: OpenAIProjection, event: Event, message_id: str) -> None:
    call = _call(projection, event, message_id)
    if call is not None:
        call.append(as_text(event.get("delta")))


def _end_arguments(projection: OpenAIProjection, event: Event, message_id: str) -> None:
    call = _call(projection, event, message_id)
    if call is not None:
        call.replace(as_text(event.get("arguments")))


def _add_output(projection: OpenAIProjection, event: Event, message_id: str) -> None:
    item = as_mapping(event.get("item"))
    if as_text(item.get("type")):
        projection.ensure(message_id, "assistant").items.append(copied(item))


def _ask_for_approval(projection: OpenAIProjection, event: Event, message_id: str) -> None:
    entry = projection.ensure(message_id, "assistant")
    asked = {key: as_text(event.get(key)) for key in ("name", "arguments")}
    entry.note_call(as_text(event.get("call_id")), approval="pending", **asked)


_FOLDS: Final[dict[str, FoldEvent]] = {
    "response.output_item.added": _add_item,
    "response.output_item.done": _finish_item,
    "response.content_part.added": _open_content,
    "response.reasoning_summary_part.added": _open_summary,
    **_part_folds("output_text", "message", "content", "content_index"),
    **_part_folds("refusal", "message", "content", "content_index"),
    **_part_folds("reasoning_text", "reasoning", "content", "content_index"),
    **_part_folds("summary_text", "reasoning", "summary", "summary_index"),
    "response.function_call_arguments.delta": _grow_arguments,
    "response.function_call_arguments.done": _end_arguments,
    "function_call_output": _add_output,
    "tool-approval-request": _ask_for_approval,
}
"""The fold of each event. Other events change no message."""


def fold(
    projection: OpenAIProjection,
    event: InputEvent[OpenAIInput] | OutputEvent[OpenAIOutput],
    meta: FoldMeta,
) -> OpenAIProjection:
    """Fold one event into a projection, in place. An event without a message is dropped."""
    if meta.message_id is None:
        return projection
    if isinstance(event, OutputEvent):
        values = _EVENTS.values_of(event.event)
        fold_event = _FOLDS.get(as_text(values.get("type")))
        if fold_event is not None:
            fold_event(projection, values, meta.message_id)
    else:
        _fold_input(projection, event.event, meta.message_id)
    return projection


def _fold_input(projection: OpenAIProjection, event: OpenAIInput, message_id: str) -> None:
    match event:
        case UserMessage():
            _fold_user_message(projection, event.message, message_id)
        case ToolResult():
            call_id = event.payload["call_id"]
            entry = projection.ensure(message_id, "assistant")
            entry.answer_call(call_id, event.payload.get("output"))
            entry.note_call(call_id, result="ok")
        case ToolResultError():
            call_id = event.payload["call_id"]
            entry = projection.ensure(message_id, "assistant")
            entry.answer_call(call_id, event.payload["message"])
            entry.note_call(call_id, result="failed")
        case ToolApprovalResponse():
            call_id = event.payload["call_id"]
            reason = event.payload.get("reason")
            reasons = {} if reason is None else {"reason": reason}
            entry = projection.ensure(message_id, "assistant")
            if event.payload["approved"]:
                entry.note_call(call_id, approval="approved", **reasons)
            else:
                entry.answer_call(call_id, DENIED if reason is None else reason)
                entry.note_call(call_id, approval="denied", **reasons)
        case Regenerate():
            pass  # it asks for a run and shows nothing


def _fold_user_message(projection: OpenAIProjection, message: OpenAIMessage, message_id: str) -> None:
    """Add to the message. Its parts come one by one and belong to one item."""
    entry = projection.ensure(message_id, message["role"])
    entry.role = message["role"]
    for incoming in message["items"]:
        content = as_mapping(incoming).get("content")
        if incoming["type"] != "message" or not isinstance(content, list):
            continue
        parts = [copied(as_mapping(part)) for part in cast("list[object]", content)]
        for place, item in enumerate(entry.items):
            if isinstance(item, dict) and item["type"] == "message" and isinstance(item.get("content"), list):
                entry.items[place] = {**item, "content": [*item["content"], *parts]}
                break
        else:
            entry.items.append({**incoming, "content": parts})


def get_messages(projection: OpenAIProjection) -> Sequence[CodecMessage[OpenAIMessage]]:
    """Return the messages of a projection, in the order in which they began."""
    return [entry.show() for entry in projection.entries]


REDUCER: Final = Reducer(OpenAIProjection, fold, get_messages)
