"""The events of a response on the wire.

The table is complete. An event that it neither sends nor drops belongs to a hosted tool, and is refused: its
content would be lost.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from ably_ai_transport.codec import (
    Data,
    DictEvents,
    DropRow,
    EventRow,
    Field,
    LeadIn,
    OutputRow,
    Rebuilt,
    StreamRow,
    StreamState,
    Values,
    as_mapping,
    as_text,
    pick,
)
from ably_ai_transport.wire import Headers, InvalidArgumentError
from ably_ai_transport_openai.events import OpenAIOutput
from ably_ai_transport_openai.fields import (
    CALL_ID,
    CONTENT_INDEX,
    ITEM,
    ITEM_ID,
    NAME,
    OUTPUT_INDEX,
    PART,
    SUMMARY_INDEX,
)

if TYPE_CHECKING:
    from openai.types.responses import ResponseStreamEvent

MODELLED: Final = frozenset({"message", "reasoning", "function_call"})
"""The types of items that are sent."""
_LARGEST_INDEX: Final = 2**53


class ResponseEvents(DictEvents[OpenAIOutput]):
    """Events are dicts, or objects of the ``openai`` package."""

    def kind_of(self, event: OpenAIOutput) -> str | None:
        """Return the event's type."""
        kind = self.values_of(event).get("type") if _is_json(event) else getattr(event, "type", None)
        return kind if isinstance(kind, str) else None

    def values_of(self, event: OpenAIOutput) -> Values:
        """Return the event as plain JSON, with the fields that the model sent."""
        if _is_json(event):
            return cast("Values", event)
        try:
            # A gateway's values may not fit the package's types. They are published all the same.
            return cast("ResponseStreamEvent", event).model_dump(
                mode="json", exclude_unset=True, warnings=False
            )
        except Exception as error:  # whatever the package raises
            raise InvalidArgumentError(
                f"unable to publish output; {type(event).__name__} has no JSON form", cause=error
            ) from error


def _is_json(event: object) -> bool:
    # Most events are dicts, and isinstance on an abstract class is slow.
    return type(event) is dict or isinstance(event, Mapping)


def _refuse(item: Values) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"unable to publish; unsupported output item type '{as_text(item.get('type'))[:100]}'"
        " (leave out the events of hosted tools)"
    )


def _whole_item(event: Values) -> object:
    item = as_mapping(event.get("item"))
    if as_text(item.get("type")) not in MODELLED:
        raise _refuse(item)
    return {"item": item}


def _finished_item(event: Values) -> object:
    """Reduce a finished item to the fields that its streams did not carry."""
    item = as_mapping(event.get("item"))
    kind = as_text(item.get("type"))
    if kind not in MODELLED:
        raise _refuse(item)
    reduced: dict[str, object] = {"type": kind, **pick(item, "id", "status")}
    if kind == "message":
        content = _log_probabilities(item.get("content"))
        if content is not None:
            reduced["content"] = content
    elif kind == "reasoning" and isinstance(item.get("encrypted_content"), str):
        reduced["encrypted_content"] = item["encrypted_content"]
    return {"item": reduced}


def _log_probabilities(content: object) -> list[dict[str, object]] | None:
    """Return the log probabilities of all parts, by position; None if no part has any."""
    if not isinstance(content, list):
        return None
    parts = [as_mapping(part) for part in cast("list[object]", content)]
    if not any(map(_has_log_probabilities, parts)):
        return None
    return [
        pick(part, "type", "logprobs") if _has_log_probabilities(part) else pick(part, "type")
        for part in parts
    ]


def _has_log_probabilities(part: Values) -> bool:
    return part.get("type") == "output_text" and bool(part.get("logprobs"))


def _item_of(data: object) -> Values:
    return pick(as_mapping(data), "item")


_ITEM_DATA: Final = Data(encode=lambda event: pick(event, "item"), decode=_item_of)


def _index(event: Values, key: str) -> int | float | None:
    index = event.get(key)
    if index is None or (isinstance(index, int | float) and abs(index) < _LARGEST_INDEX):
        return index
    raise InvalidArgumentError(f"unable to publish; '{key}' of the event is no position")


def _content_slot(event: Values) -> str:
    return f"{as_text(event.get('item_id'))}:{_index(event, 'content_index')}"


def _summary_slot(event: Values) -> str:
    return f"{as_text(event.get('item_id'))}:summary:{_index(event, 'summary_index')}"


def _call_stream(event: Values) -> str:
    if event.get("type") != "response.output_item.added":
        return as_text(event.get("item_id"))
    item_id = as_mapping(event.get("item")).get("id")
    if not isinstance(item_id, str):
        raise InvalidArgumentError("unable to stream function-call arguments; item has no id")
    return item_id


def _opens(part_type: str) -> Callable[[Values], bool]:
    return lambda event: as_mapping(event.get("part")).get("type") == part_type


def _is_call(event: Values) -> bool:
    return as_mapping(event.get("item")).get("type") == "function_call"


def _number(field: Field, headers: Headers) -> object:
    value = field.read(headers)
    return 0 if value is None else value


def _slot_stream(kind: str, text: str, index: Field, whole: str, slot: Callable[[Values], str]) -> StreamRow:
    """Describe the stream of one part of an item."""
    opened_by_part = index is CONTENT_INDEX

    def end(stream: StreamState, closing: Headers) -> Iterable[Rebuilt]:
        values: dict[str, object] = {
            "item_id": ITEM_ID.read(closing) or "",
            "output_index": _number(OUTPUT_INDEX, closing),
            index.key: _number(index, closing),
            whole: stream.text,
        }
        return ((f"response.{kind}.done", values),)

    return StreamRow(
        kind,
        start="response.content_part.added" if opened_by_part else "response.reasoning_summary_part.added",
        delta=f"response.{kind}.delta",
        end=f"response.{kind}.done",
        text=text,
        stream_id=slot,
        fields=(ITEM_ID, OUTPUT_INDEX, index, PART),
        delta_keys=("item_id", index.key),
        starts=_opens(kind) if opened_by_part else None,
        decode_end=end,
    )


def _call_delta(stream: StreamState, delta: str) -> Iterable[Rebuilt]:
    headers = stream.codec_headers
    values: dict[str, object] = {
        "item_id": as_text(as_mapping(ITEM.read(headers)).get("id")),
        "output_index": _number(OUTPUT_INDEX, headers),
        "delta": delta,
    }
    return (("response.function_call_arguments.delta", values),)


def _call_end(stream: StreamState, closing: Headers) -> Iterable[Rebuilt]:
    item = as_mapping(ITEM.read(closing))
    values: dict[str, object] = {
        "item_id": as_text(item.get("id")),
        "output_index": _number(OUTPUT_INDEX, closing),
        "arguments": stream.text,
        "name": as_text(item.get("name")) if item.get("type") == "function_call" else "",
    }
    return (("response.function_call_arguments.done", values),)


OUTPUTS: Final[tuple[OutputRow, ...]] = (
    _slot_stream("output_text", "delta", CONTENT_INDEX, "text", _content_slot),
    _slot_stream("refusal", "delta", CONTENT_INDEX, "refusal", _content_slot),
    _slot_stream("reasoning_text", "delta", CONTENT_INDEX, "text", _content_slot),
    _slot_stream("reasoning_summary_text", "delta", SUMMARY_INDEX, "text", _summary_slot),
    StreamRow(
        "function_call_arguments",
        start="response.output_item.added",
        delta="response.function_call_arguments.delta",
        end="response.function_call_arguments.done",
        text="delta",
        stream_id=_call_stream,
        fields=(ITEM, OUTPUT_INDEX),
        starts=_is_call,
        decode_delta=_call_delta,
        decode_end=_call_end,
    ),
    EventRow("response.output_item.added", data=Data(encode=_whole_item, decode=_item_of)),
    EventRow("response.output_item.done", data=Data(encode=_finished_item, decode=_item_of)),
    EventRow("function_call_output", data=replace(_ITEM_DATA, storable=("item.output",))),
    EventRow(
        "tool-approval-request",
        fields=(CALL_ID, NAME),
        data=Data(
            encode=lambda event: event.get("arguments"), decode=lambda data: {"arguments": as_text(data)}
        ),
    ),
    # The run carries the state of a response; the end of a stream is the end of its part.
    *map(
        DropRow,
        (
            "response.completed",
            "response.incomplete",
            "response.failed",
            "response.created",
            "response.in_progress",
            "response.queued",
            "error",
            "response.content_part.done",
            "response.reasoning_summary_part.done",
        ),
    ),
)


def _missing_item(headers: Headers) -> list[OpenAIOutput]:
    """Make up the item of a part for late joiners. Adding it twice is harmless."""
    item_id = ITEM_ID.read(headers)
    if item_id is None:
        return []
    item: dict[str, object]
    match as_mapping(PART.read(headers)).get("type"):
        case "output_text" | "refusal":
            item = {
                "id": item_id,
                "type": "message",
                "role": "assistant",
                "status": "in_progress",
                "content": [],
            }
        case "reasoning_text" | "summary_text":
            item = {"id": item_id, "type": "reasoning", "summary": []}
        case _:
            return []
    index = _number(OUTPUT_INDEX, headers)
    return [{"type": "response.output_item.added", "item": item, "output_index": index}]


LEAD_IN: Final[LeadIn[OpenAIOutput]] = LeadIn(before_stream=_missing_item)
