"""The events of Anthropic's Messages API."""

from collections.abc import Mapping
from typing import Final

from ably_ai_transport_vercel.adapters.writer import (
    Chunks,
    Event,
    PartKind,
    ReplyWriter,
    map_at,
    maps_at,
    model_failed,
    parsed,
    text_at,
)
from ably_ai_transport_vercel.events import FinishReason

_STOP_REASONS: Final[Mapping[object, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "compaction": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content-filter",
    "tool_use": "tool-calls",
}
_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_DELTAS: Final[Mapping[object, tuple[PartKind, str]]] = {
    "text_delta": ("text", "text"),
    "compaction_delta": ("text", "content"),
    "thinking_delta": ("reasoning", "thinking"),
}


class MessagesTranslator:
    """Translates texts, thinking, tool calls, and the results of Anthropic's own tools.

    Several messages, one after the other, become one reply.
    """

    def __init__(self) -> None:
        self._writer = ReplyWriter()
        self._messages = 0
        self._blocks: dict[object, Event] = {}
        self._json: dict[object, list[str]] = {}
        self._signatures: dict[object, str] = {}

    def feed(self, event: Event) -> Chunks:
        """Translate an event; see :class:`Translator`."""
        match event.get("type"):
            case "message_start":
                self._messages += 1
                yield from self._writer.start()
                # Calls made by code execution arrive whole, with the message after them.
                for block in maps_at(map_at(event, "message"), "content"):
                    if block.get("type") == "tool_use":
                        yield from self._whole_call(block)
            case "content_block_start":
                yield from self._begin(event)
            case "content_block_delta":
                yield from self._continue(event)
            case "content_block_stop":
                yield from self._end(event)
            case "message_delta":
                reason = map_at(event, "delta").get("stop_reason")
                if reason is not None:
                    self._writer.finish_reason = _STOP_REASONS.get(reason, "other")
            case "error":
                raise model_failed(map_at(event, "error"))
            case _:
                pass

    def finish(self) -> Chunks:
        """End the reply."""
        yield from self._writer.finish()

    def _begin(self, event: Event) -> Chunks:
        writer, block = self._writer, map_at(event, "content_block")
        kind, index = text_at(block, "type"), event.get("index", 0)
        self._blocks[index] = block
        self._json[index] = []
        self._signatures.pop(index, None)
        if kind == "text":
            yield from writer.piece("text", self._place(event), text_at(block, "text"))
        elif kind == "thinking":
            yield from writer.piece("reasoning", self._place(event), text_at(block, "thinking"))
        elif kind == "redacted_thinking":
            metadata = {"anthropic": {"redactedData": text_at(block, "data")}}
            yield from writer.open("reasoning", self._place(event), metadata)
        elif kind in _CALLS:
            name = text_at(block, "name")
            yield from writer.call(text_at(block, "id"), name, provider_executed=kind != "tool_use")
        elif kind.endswith("_tool_result"):
            yield from self._result(block)

    def _continue(self, event: Event) -> Chunks:
        writer, delta = self._writer, map_at(event, "delta")
        index, kind = event.get("index", 0), delta.get("type")
        if kind in _DELTAS:
            part, key = _DELTAS[kind]
            yield from writer.piece(part, self._place(event), text_at(delta, key))
        elif kind == "input_json_delta":
            piece = text_at(delta, "partial_json")
            self._json.setdefault(index, []).append(piece)
            yield from writer.call_piece(text_at(self._blocks.get(index, {}), "id"), piece)
        elif kind == "signature_delta":
            self._signatures[index] = text_at(delta, "signature")
        elif kind == "citations_delta":
            yield from self._cite(map_at(delta, "citation"))

    def _end(self, event: Event) -> Chunks:
        writer, index = self._writer, event.get("index", 0)
        block = self._blocks.pop(index, {})
        signature = self._signatures.pop(index, None)
        metadata = None if signature is None else {"anthropic": {"signature": signature}}
        yield from writer.end(self._place(event), metadata)
        kind = text_at(block, "type")
        if kind in _CALLS:
            text = "".join(self._json.pop(index, ()))
            value = parsed(text) if text else block.get("input")
            yield from writer.call_input(
                text_at(block, "id"), text_at(block, "name"), value, provider_executed=kind != "tool_use"
            )

    def _whole_call(self, block: Event) -> Chunks:
        call_id, name = text_at(block, "id"), text_at(block, "name")
        yield from self._writer.call(call_id, name)
        yield from self._writer.call_input(call_id, name, block.get("input"))

    def _result(self, block: Event) -> Chunks:
        """Add the result of one of Anthropic's tools."""
        writer, call_id = self._writer, text_at(block, "tool_use_id")
        content = map_at(block, "content")
        if text_at(content, "type").endswith("_error") or block.get("is_error") is True:
            reason = text_at(content, "error_code") or "the tool failed"
            yield from writer.output_error(call_id, reason, provider_executed=True)
            return
        yield from writer.output(call_id, block.get("content"), provider_executed=True)
        for result in maps_at(block, "content"):
            if result.get("type") == "web_search_result":
                yield from writer.source_url(text_at(result, "url"), text_at(result, "title"))

    def _cite(self, citation: Event) -> Chunks:
        # Search results are sources already.
        if text_at(citation, "type") in ("char_location", "page_location", "content_block_location"):
            title = text_at(citation, "document_title") or text_at(citation, "cited_text")
            yield from self._writer.source_document(title)

    def _place(self, event: Event) -> str:
        return f"block-{self._messages}-{event.get('index', 0)}"
