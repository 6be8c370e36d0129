"""The events of Anthropic's Messages API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from ably_ai_transport.codec import parse_json
from ably_ai_transport_vercel.adapters.anthropic_results import failure_in, output_in
from ably_ai_transport_vercel.adapters.reading import (
    Event,
    index_at,
    map_at,
    maps_at,
    model_failed,
    text_at,
    type_of,
)
from ably_ai_transport_vercel.adapters.writer import Chunks, PartKind, ReplyWriter, json_of
from ably_ai_transport_vercel.events import FinishReason

_STOP_REASONS: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content-filter",
    "tool_use": "tool-calls",
}
_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_DELTAS: Final[Mapping[str, tuple[PartKind, str]]] = {
    "text_delta": ("text", "text"),
    "compaction_delta": ("text", "content"),
    "thinking_delta": ("reasoning", "thinking"),
}
_CODE_EXECUTION: Final = {
    "code_execution": "programmatic-tool-call",
    "bash_code_execution": "bash_code_execution",
    "text_editor_code_execution": "text_editor_code_execution",
}
"""The tools that the AI SDK shows as ``code_execution``, with the ``type`` that it puts into their input."""
_CITED_DOCUMENTS: Final = frozenset({"char_location", "page_location", "content_block_location"})


@dataclass(slots=True)
class _Block:
    """A block of content that arrives.

    Attributes:
        content: The block, as it started.
        kind: Its type.
        json: The JSON of a call's input so far.
        signature: The signature of a thought.
    """

    content: Event
    kind: str = ""
    json: list[str] = field(default_factory=list[str])
    signature: str | None = None

    @property
    def call_id(self) -> str:
        """The call that it is."""
        return text_at(self.content, "id")

    @property
    def member_of(self) -> str:
        """The toolset whose member is called; empty for a tool of its own."""
        return text_at(self.content, "toolset_name")

    @property
    def tool(self) -> str:
        """The name under which the tool is shown."""
        name = text_at(self.content, "name")
        if self.kind == "server_tool_use" and name in _CODE_EXECUTION:
            return "code_execution"
        return self.member_of or name

    @property
    def input_type(self) -> str | None:
        """The ``type`` that the input gets; None if it stays as it is."""
        return _CODE_EXECUTION.get(text_at(self.content, "name")) if self.kind == "server_tool_use" else None


class MessagesTranslator:
    """Translates texts, thinking, tool calls, and the results of Anthropic's own tools.

    Several messages, one after the other, become one reply.
    """

    def __init__(self) -> None:
        self._writer = ReplyWriter()
        self._messages = 0
        self._open_message: object = None
        self._is_open = False
        self._blocks: dict[int, _Block] = {}
        self._unsettled: list[_Block] = []
        self._citations: list[Event] = []
        self._has_page_sources = False

    def feed(self, event: Event) -> Chunks:
        """Translate an event; see :class:`Translator`."""
        match type_of(event):
            case "message_start":
                yield from self._begin_message(map_at(event, "message"))
            case "content_block_start":
                yield from self._settle()
                yield from self._begin(event)
            case "content_block_delta":
                yield from self._continue(event)
            case "content_block_stop":
                yield from self._end(event)
            case "message_delta":
                reason = text_at(map_at(event, "delta"), "stop_reason")
                self._writer.finish_reason = _STOP_REASONS.get(reason, "other")
                yield from self._settle(cut_off=self._writer.finish_reason == "length")
            case "message_stop":
                yield from self._end_message()
            case "error":
                raise model_failed(map_at(event, "error"))
            case _:
                pass

    def finish(self) -> Chunks:
        """End the reply."""
        yield from self._settle(cut_off=True)
        yield from self._writer.finish()

    # Messages

    def _begin_message(self, message: Event) -> Chunks:
        message_id = message.get("id")
        if self._is_open:
            if message_id == self._open_message:
                return
            raise model_failed({"message": "it began a message while another one was open"})
        self._is_open, self._open_message = True, message_id
        self._messages += 1
        reason = text_at(message, "stop_reason")
        if reason:
            self._writer.finish_reason = _STOP_REASONS.get(reason, "other")
        yield from self._writer.start()
        # Calls made by code execution arrive whole, with the message after them.
        for content in maps_at(message, "content"):
            if content.get("type") == "tool_use":
                call_id, name = text_at(content, "id"), text_at(content, "name")
                yield from self._writer.call(call_id, name)
                yield from self._writer.call_input(call_id, name, content.get("input") or {})

    def _end_message(self) -> Chunks:
        self._is_open = False
        yield from self._settle()
        if not self._has_page_sources:
            for citation in self._citations:
                yield from self._writer.source_url(text_at(citation, "url"), text_at(citation, "title"))
        self._citations.clear()

    # Blocks

    def _begin(self, event: Event) -> Chunks:
        writer, content, place = self._writer, map_at(event, "content_block"), self._place(event)
        kind = text_at(content, "type")
        block = self._blocks[index_at(event, "index")] = _Block(content, kind)
        if kind == "text":
            yield from writer.piece("text", place, text_at(content, "text"))
        elif kind == "compaction":
            if content.get("signature") is not None:
                yield from writer.piece("text", place, text_at(content, "content"))
        elif kind == "thinking":
            yield from writer.piece("reasoning", place, text_at(content, "thinking"))
        elif kind == "redacted_thinking":
            metadata = {"anthropic": {"redactedData": text_at(content, "data")}}
            yield from writer.open("reasoning", place, metadata)
        elif kind in _CALLS:
            executed = kind != "tool_use"
            is_remote = kind == "mcp_tool_use"
            yield from writer.call(block.call_id, block.tool, provider_executed=executed, dynamic=is_remote)
        elif kind.endswith("_tool_result"):
            yield from self._result(content)

    def _continue(self, event: Event) -> Chunks:
        writer, delta = self._writer, map_at(event, "delta")
        block, kind = self._blocks.get(index_at(event, "index")), text_at(delta, "type")
        if kind in _DELTAS:
            part, key = _DELTAS[kind]
            yield from writer.piece(part, self._place(event), text_at(delta, key))
        elif kind == "citations_delta":
            yield from self._cite(map_at(delta, "citation"))
        elif block is None:
            return
        elif kind == "signature_delta":
            block.signature = text_at(delta, "signature")
        elif kind == "input_json_delta" and block.kind in _CALLS:
            yield from self._continue_call(block, text_at(delta, "partial_json"))

    def _continue_call(self, block: _Block, piece: str) -> Chunks:
        if piece and not block.json and block.input_type is not None and piece.startswith("{"):
            piece = f'{{"type": {json_of(block.input_type)},{piece[1:]}'
        if piece:
            block.json.append(piece)
            if not block.member_of:
                yield from self._writer.call_piece(block.call_id, piece)

    def _end(self, event: Event) -> Chunks:
        block = self._blocks.pop(index_at(event, "index"), None)
        signature = None if block is None else block.signature
        metadata = None if signature is None else {"anthropic": {"signature": signature}}
        yield from self._writer.end(self._place(event), metadata)
        if block is not None and block.kind in _CALLS:
            if block.json or block.content.get("input"):
                yield from self._end_call(block)
            else:
                # No input: the call has none, or the token limit came before it.
                self._unsettled.append(block)

    def _settle(self, *, cut_off: bool = False) -> Chunks:
        """Complete the calls without an input."""
        for block in self._unsettled:
            yield from self._end_call(block, cut_off=cut_off)
        self._unsettled.clear()

    def _end_call(self, block: _Block, *, cut_off: bool = False) -> Chunks:
        text = "".join(block.json) or json_of(block.content.get("input") or {})
        text = _with_member(text, block)
        yield from self._writer.call_text(
            block.call_id, block.tool, text, cut_off=cut_off, provider_executed=block.kind != "tool_use"
        )

    # Results and sources

    def _result(self, content: Event) -> Chunks:
        """Add the result of one of Anthropic's tools."""
        writer, call_id = self._writer, text_at(content, "tool_use_id")
        failure = failure_in(content)
        if failure is not None:
            text = failure if isinstance(failure, str) else json_of(failure)
            yield from writer.output_error(call_id, text, provider_executed=True)
            return
        yield from writer.output(call_id, output_in(content), provider_executed=True)
        for result in maps_at(content, "content"):
            if result.get("type") == "web_search_result":
                self._has_page_sources = True
                yield from writer.source_url(text_at(result, "url"), text_at(result, "title"))

    def _cite(self, citation: Event) -> Chunks:
        kind = text_at(citation, "type")
        if kind == "web_search_result_location":
            self._citations.append(citation)
        elif kind in _CITED_DOCUMENTS:
            title = text_at(citation, "document_title") or text_at(citation, "cited_text")
            yield from self._writer.source_document(title)

    def _place(self, event: Event) -> str:
        return f"block-{self._messages}-{index_at(event, 'index')}"


def _with_member(text: str, block: _Block) -> str:
    """Return a call's input as the AI SDK shows it: with the toolset's member, or the kind of execution."""
    try:
        read = parse_json(text)
    except ValueError:
        return text
    if not isinstance(read, dict):
        return text
    value = cast("Event", read)
    if block.member_of:
        return json_of({**value, "action": text_at(block.content, "name")})
    if block.tool == "code_execution" and block.kind == "server_tool_use" and "code" in value:
        return json_of({"type": block.input_type, **value})
    return text
