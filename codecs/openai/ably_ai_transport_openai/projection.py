"""Messages under construction: items whose texts grow.

Growing texts are kept in pieces and joined for a snapshot. Snapshots do not change.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from ably_ai_transport.codec import CodecMessage, as_text
from ably_ai_transport_openai.events import OpenAIMessage, OpenAIToolCallState, Role

Json: TypeAlias = dict[str, Any]

TEXT_OF: Final[Mapping[str, str]] = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "summary_text": "text",
}
"""The field of each kind of part that grows."""


def copied(value: Mapping[str, Any]) -> Json:
    """Copy an object of a peer. One that is nested deeper than Python recurses keeps its inner values."""
    try:
        return deepcopy(dict(value))
    except RecursionError:
        return dict(value)


def _text_key(part: Mapping[str, Any]) -> str:
    return TEXT_OF.get(as_text(part.get("type")), "text")


class Growing:
    """A JSON object with one text that grows."""

    __slots__ = ("_base", "_chunks", "_key")

    def __init__(self, base: Mapping[str, Any], key: str) -> None:
        self._base: Json = copied(base)
        self._key = key
        text = self._base.get(key)
        self._chunks: list[str] = [text] if isinstance(text, str) else [""]

    @property
    def kind(self) -> object:
        """Its type."""
        return self._base.get("type")

    def append(self, text: str) -> None:
        """Append to the text."""
        self._chunks.append(text)

    def replace(self, text: str) -> None:
        """Replace the text."""
        self._chunks[:] = [text]

    def set(self, key: str, value: object) -> None:
        """Set another field."""
        self._base[key] = value

    def drop(self, key: str) -> None:
        """Remove another field."""
        self._base.pop(key, None)

    def snapshot(self) -> Json:
        """Return the object as it is now."""
        if len(self._chunks) > 1:
            self._chunks[:] = ["".join(self._chunks)]
        return {**self._base, self._key: self._chunks[0]}


class Item:
    """An item of a response. Its parts have the model's indexes."""

    __slots__ = ("_base", "_parts", "_shown")

    def __init__(self, item: Mapping[str, Any]) -> None:
        self._base: Json = copied(item)
        self._parts: dict[str, dict[int, Growing]] = {}
        self._shown: Json | None = None
        for key in ("content", "summary"):
            listed = self._base.get(key)
            if isinstance(listed, list):
                parts = cast("list[object]", listed)
                self._parts[key] = {
                    index: Growing(cast("Json", part), _text_key(cast("Json", part)))
                    for index, part in enumerate(parts)
                    if isinstance(part, dict)
                }

    @property
    def kind(self) -> object:
        """Its type: ``message`` or ``reasoning``."""
        return self._base.get("type")

    def open_part(self, key: str, index: object, part: Mapping[str, Any]) -> None:
        """Put a part at its index."""
        if isinstance(index, int) and not isinstance(index, bool) and index >= 0:
            self._parts.setdefault(key, {})[index] = Growing(part, _text_key(part))
            self._shown = None

    def part(self, key: str, index: object, kind: str) -> Growing | None:
        """Return the part at an index, to be changed; None if there is none of this kind."""
        part = self._parts.get(key, {}).get(index) if isinstance(index, int) else None
        if part is None or part.kind != kind:
            return None
        self._shown = None
        return part

    def set(self, key: str, value: object) -> None:
        """Set a field."""
        self._base[key] = value
        self._shown = None

    def drop(self, key: str) -> None:
        """Remove a field."""
        self._base.pop(key, None)
        self._shown = None

    def snapshot(self) -> Json:
        """Return the item as it is now, with the parts before the first missing one."""
        if self._shown is None:
            parts = {key: _without_holes(placed) for key, placed in self._parts.items()}
            self._shown = {**self._base, **parts}
        return self._shown


Live: TypeAlias = Item | Growing
"""An item of a response that may still change. A function call is a growing object."""


@dataclass(slots=True)
class Entry:
    """A message under construction.

    Attributes:
        codec_message_id: Its identity on the channel.
        role: The speaker.
        items: Its items; those of a response may still change.
        live: The items of a response, by their ids.
        tool_states: The states of calls that items cannot hold.
        snapshot: The last snapshot; None after a change.
    """

    codec_message_id: str
    role: Role
    items: list[Live | Json] = field(default_factory=list[Live | Json])
    live: dict[str, Live] = field(default_factory=dict[str, Live])
    tool_states: dict[str, OpenAIToolCallState] = field(default_factory=dict[str, OpenAIToolCallState])
    snapshot: CodecMessage[OpenAIMessage] | None = None

    def show(self) -> CodecMessage[OpenAIMessage]:
        """Return a snapshot; the same object until something changes."""
        if self.snapshot is None:
            items = [item if isinstance(item, dict) else item.snapshot() for item in self.items]
            message = cast("OpenAIMessage", {"role": self.role, "items": items})
            if self.tool_states:
                message["toolCallStates"] = dict(self.tool_states)
            self.snapshot = CodecMessage(self.codec_message_id, message)
        return self.snapshot

    def note_call(self, call_id: str, **state: str) -> None:
        """Set state of a call that items cannot hold."""
        merged = {**self.tool_states.get(call_id, {}), **state}
        self.tool_states[call_id] = cast("OpenAIToolCallState", merged)

    def answer_call(self, call_id: str, output: object) -> None:
        """Add the answer to a call, or replace it."""
        answer: Json = {"type": "function_call_output", "call_id": call_id, "output": output}
        for place, item in enumerate(self.items):
            if isinstance(item, dict) and item["type"] == answer["type"] and item.get("call_id") == call_id:
                self.items[place] = answer
                return
        self.items.append(answer)


class OpenAIProjection:
    """The messages of one node. Its content is for the codec only."""

    __slots__ = ("entries", "index")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.index: dict[str, Entry] = {}

    def ensure(self, codec_message_id: str, role: Role) -> Entry:
        """Return the message with an id, to be changed; add an empty one if there is none."""
        entry = self.index.get(codec_message_id)
        if entry is None:
            entry = self.index[codec_message_id] = Entry(codec_message_id, role)
            self.entries.append(entry)
        entry.snapshot = None
        return entry

    def live(self, codec_message_id: str, item_id: object) -> Live | None:
        """Return an item of a response, to be changed; None if it was not seen."""
        entry = self.index.get(codec_message_id)
        item = None if entry is None or not isinstance(item_id, str) else entry.live.get(item_id)
        if entry is not None and item is not None:
            entry.snapshot = None
        return item


def _without_holes(placed: Mapping[int, Growing]) -> list[Json]:
    shown: list[Json] = []
    while (part := placed.get(len(shown))) is not None:
        shown.append(part.snapshot())
    return shown
