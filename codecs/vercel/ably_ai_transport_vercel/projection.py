"""Messages under construction: the state that chunks and inputs fold into.

A change replaces the parts that a snapshot shows and never edits them, so snapshots do not change. Text and
the JSON of a tool's input are kept in pieces and joined for a snapshot.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias, cast

from ably_ai_transport.codec import CodecMessage, parse_json
from ably_ai_transport_vercel.messages import UIMessage
from ably_ai_transport_vercel.narrowing import is_tool_part

Part: TypeAlias = dict[str, object]


class TextBuffer:
    """A text or reasoning part that may still grow."""

    __slots__ = ("chunks", "kind")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.chunks: list[str] = []

    def snapshot(self) -> Part:
        """Return the part as it is now."""
        if len(self.chunks) > 1:
            self.chunks[:] = ["".join(self.chunks)]
        return {"type": self.kind, "text": self.chunks[0] if self.chunks else ""}


class ToolBuffer:
    """A tool part whose input still arrives. The input shows while its text so far is valid JSON."""

    __slots__ = ("chunks", "identity")

    def __init__(self, identity: Part, chunks: list[str]) -> None:
        self.identity = identity
        self.chunks = chunks

    def snapshot(self) -> Part:
        """Return the part as it is now."""
        part: Part = {**self.identity, "state": "input-streaming"}
        if self.chunks:
            self.chunks[:] = ["".join(self.chunks)]
            with suppress(ValueError):
                part["input"] = parse_json(self.chunks[0])
        return part


@dataclass(slots=True)
class ToolCall:
    """The index of a tool call among its message's parts, and the JSON of its input so far."""

    index: int
    chunks: list[str] = field(default_factory=list[str])


def _no_streams() -> dict[str, dict[object, TextBuffer]]:
    return {"text": {}, "reasoning": {}}


@dataclass(slots=True)
class Entry:
    """A message under construction.

    Attributes:
        codec_message_id: Its identity on the channel.
        envelope: The message without its parts.
        parts: Its parts; those that still grow are buffers.
        open: The open streams, by ``text`` or ``reasoning`` and by id.
        tools: The tool calls, by id.
        in_step: Whether a step has begun and not ended.
        snapshot: The last snapshot; None after a change.
    """

    codec_message_id: str
    envelope: dict[str, object]
    parts: list[Part | TextBuffer | ToolBuffer] = field(default_factory=list[Part | TextBuffer | ToolBuffer])
    open: dict[str, dict[object, TextBuffer]] = field(default_factory=_no_streams)
    tools: dict[str, ToolCall] = field(default_factory=dict[str, ToolCall])
    in_step: bool = False
    snapshot: CodecMessage[UIMessage] | None = None

    def show(self) -> CodecMessage[UIMessage]:
        """Return a snapshot; the same object until something changes."""
        if self.snapshot is None:
            parts = [dict(part) if isinstance(part, dict) else part.snapshot() for part in self.parts]
            message = cast("UIMessage", {**self.envelope, "parts": parts})
            self.snapshot = CodecMessage(self.codec_message_id, message)
        return self.snapshot

    def tool_part(self, tool_call_id: str) -> Part | None:
        """Return a tool call's part as it is now; None if there is no such call."""
        call = self.tools.get(tool_call_id)
        if call is None:
            return None
        part = self.parts[call.index]
        return part if isinstance(part, dict) else part.snapshot()

    def set_tool_part(self, tool_call_id: str, part: Part | ToolBuffer) -> None:
        """Replace a tool call's part, or append the part of a new call."""
        call = self.tools.get(tool_call_id)
        if call is None:
            self.tools[tool_call_id] = ToolCall(len(self.parts))
            self.parts.append(part)
        else:
            self.parts[call.index] = part
        self.snapshot = None


Resolve: TypeAlias = Callable[[Part], Part]
"""Returns a tool part after a client's answer."""


@dataclass(frozen=True, slots=True)
class PendingAnswer:
    """A client's answer whose tool call has not arrived yet."""

    codec_message_id: str
    tool_call_id: str
    resolve: Resolve


class VercelProjection:
    """The messages of one node. Its content is for the codec only."""

    __slots__ = ("entries", "index", "pending")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.index: dict[str, Entry] = {}
        self.pending: list[PendingAnswer] = []

    def add(self, codec_message_id: str, message: Mapping[str, object]) -> Entry:
        """Add a whole message."""
        envelope = dict(message)
        parts = envelope.pop("parts", ())
        entry = Entry(codec_message_id, envelope, list(cast("list[Part]", parts)))
        self.entries.append(entry)
        self.index.setdefault(codec_message_id, entry)
        return entry

    def ensure(self, codec_message_id: str) -> Entry:
        """Return the message with an id; add an empty reply if there is none."""
        entry = self.index.get(codec_message_id)
        if entry is None:
            # A reply without an id of its own has its id on the channel.
            entry = self.add(codec_message_id, {"id": codec_message_id, "role": "assistant"})
        return entry

    def owner_of(self, tool_call_id: str) -> Entry | None:
        """Return the first message with a tool call."""
        return next((entry for entry in self.entries if tool_call_id in entry.tools), None)

    def adopt_tools(self, entry: Entry) -> None:
        """Index the tool calls of a whole message."""
        for index, part in enumerate(entry.parts):
            if isinstance(part, dict) and is_tool_part(part):
                entry.tools[str(part["toolCallId"])] = ToolCall(index)
