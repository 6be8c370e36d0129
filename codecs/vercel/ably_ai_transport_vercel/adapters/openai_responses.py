"""The events of OpenAI's Responses API."""

from collections.abc import Mapping
from typing import Final

from ably_ai_transport_vercel.adapters.writer import (
    Chunks,
    Event,
    ReplyWriter,
    map_at,
    maps_at,
    model_failed,
    parsed,
    text_at,
)
from ably_ai_transport_vercel.events import FinishReason

_INCOMPLETE: Final[Mapping[str, FinishReason]] = {
    "max_output_tokens": "length",
    "content_filter": "content-filter",
}
_EXECUTED: Final = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_call",
        "tool_search_call",
    }
)
"""Calls that OpenAI executes. All others are the application's."""
_ABOUT_A_CALL: Final = frozenset({"id", "type", "status", "call_id"})


class ResponsesTranslator:
    """Translates texts, refusals, reasoning, function calls, and the results of hosted tools.

    A part is identified by its position in the output, since some gateways change the ids of items from one
    event to the next.

    Attributes:
        is_finished: Whether the response is complete or incomplete.
    """

    def __init__(self) -> None:
        self._writer = ReplyWriter()
        self._responses = 0
        self._calls: dict[object, str] = {}
        self._searches: list[str] = []
        self._has_open_calls = False
        self.is_finished = False

    def feed(self, event: Event) -> Chunks:
        """Translate an event; see :class:`Translator`."""
        writer = self._writer
        match event.get("type"):
            case "response.created":
                self._responses += 1
                yield from writer.start()
            case "response.output_item.added":
                yield from self._begin_item(event)
            case "response.output_text.delta" | "response.refusal.delta":
                yield from writer.piece("text", self._place(event, "text"), text_at(event, "delta"))
            case "response.output_text.annotation.added":
                yield from self._cite(map_at(event, "annotation"))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from writer.piece("reasoning", self._thought(event), text_at(event, "delta"))
            case "response.reasoning_summary_text.done" | "response.reasoning_text.done":
                yield from writer.end(self._thought(event))
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                call_id = self._calls.get(event.get("output_index"), "")
                yield from writer.call_piece(call_id, text_at(event, "delta"))
            case "response.output_item.done":
                yield from self._end_item(event)
            case "response.completed":
                self.is_finished = True
                writer.finish_reason = "tool-calls" if self._has_open_calls else "stop"
            case "response.incomplete":
                self.is_finished = True
                details = map_at(map_at(event, "response"), "incomplete_details")
                writer.finish_reason = _INCOMPLETE.get(text_at(details, "reason"), "length")
            case "response.failed":
                raise model_failed(map_at(map_at(event, "response"), "error"))
            case "error":
                raise model_failed(map_at(event, "error") or event)
            case _:
                pass

    def finish(self) -> Chunks:
        """End the reply."""
        yield from self._writer.finish()

    def _begin_item(self, event: Event) -> Chunks:
        item = map_at(event, "item")
        if item.get("type") in ("function_call", "custom_tool_call"):
            call_id = text_at(item, "call_id")
            self._calls[event.get("output_index")] = call_id
            yield from self._writer.call(call_id, text_at(item, "name"))

    def _end_item(self, event: Event) -> Chunks:
        item, writer = map_at(event, "item"), self._writer
        match text_at(item, "type"):
            case "message":
                yield from writer.end(self._place(event, "text"))
            case "reasoning":
                yield from self._end_reasoning(event, item)
            case "function_call":
                self._has_open_calls = True
                metadata = {"openai": {"itemId": text_at(item, "id")}}
                value = parsed(text_at(item, "arguments"))
                yield from writer.call_input(
                    text_at(item, "call_id"), text_at(item, "name"), value, metadata=metadata
                )
            case "custom_tool_call":
                self._has_open_calls = True
                name = text_at(item, "name")
                yield from writer.call_input(text_at(item, "call_id"), name, text_at(item, "input"))
            case "mcp_approval_request":
                call_id, name = text_at(item, "id"), f"mcp.{text_at(item, 'name')}"
                value = parsed(text_at(item, "arguments"))
                yield from writer.call_input(call_id, name, value, provider_executed=True)
                yield from writer.approval(call_id, call_id)
            case kind if kind.endswith("_call"):
                yield from self._hosted(kind, item)
            case kind if kind.endswith("_output"):
                yield from self._hosted_output(item)
            case _:
                pass

    def _end_reasoning(self, event: Event, item: Event) -> Chunks:
        """End the reasoning. A next call without storage must send back its encrypted content."""
        secret = item.get("encrypted_content")
        if isinstance(secret, str):
            metadata = {"openai": {"itemId": text_at(item, "id"), "reasoningEncryptedContent": secret}}
            place = self._place(event, "secret")
            yield from self._writer.open("reasoning", place, metadata)
            yield from self._writer.end(place, metadata)

    def _hosted(self, kind: str, item: Event) -> Chunks:
        writer = self._writer
        executed = kind in _EXECUTED
        call_id = text_at(item, "id") if executed else text_at(item, "call_id")
        name = f"mcp.{text_at(item, 'name')}" if kind == "mcp_call" else kind.removesuffix("_call")
        yield from writer.call_input(call_id, name, _input_of(kind, item), provider_executed=executed)
        if kind == "tool_search_call":
            self._searches.append(call_id)
        elif not executed:
            pass  # the application answers in a turn of its own
        elif kind == "image_generation_call":
            yield from writer.output(call_id, {"result": text_at(item, "result")}, provider_executed=True)
            yield from writer.file(
                f"image/{text_at(item, 'output_format') or 'png'}", text_at(item, "result")
            )
        elif kind == "mcp_call" and item.get("error") is not None:
            yield from writer.output_error(call_id, str(item["error"]), provider_executed=True)
        else:
            result = {key: value for key, value in item.items() if key not in _ABOUT_A_CALL}
            yield from writer.output(call_id, result, provider_executed=True)
        for source in maps_at(map_at(item, "action"), "sources"):
            yield from writer.source_url(text_at(source, "url"), None)

    def _hosted_output(self, item: Event) -> Chunks:
        """Add the output of a tool that ran at OpenAI."""
        result = {key: value for key, value in item.items() if key not in _ABOUT_A_CALL}
        call_id = text_at(item, "call_id")
        if item.get("type") == "tool_search_output" and self._searches:
            call_id = self._searches.pop(0)
        yield from self._writer.output(call_id or text_at(item, "id"), result, provider_executed=True)

    def _cite(self, annotation: Event) -> Chunks:
        if annotation.get("type") == "url_citation":
            yield from self._writer.source_url(text_at(annotation, "url"), text_at(annotation, "title"))
        elif text_at(annotation, "filename"):
            filename = text_at(annotation, "filename")
            yield from self._writer.source_document(filename, filename)

    def _place(self, event: Event, kind: str) -> str:
        return f"{kind}-{self._responses}-{event.get('output_index', 0)}"

    def _thought(self, event: Event) -> str:
        inner = event.get("summary_index", event.get("content_index", 0))
        return f"{self._place(event, 'reasoning')}-{inner}"


def _input_of(kind: str, item: Event) -> object:
    match kind:
        case "code_interpreter_call":
            return {"code": item.get("code"), "containerId": item.get("container_id")}
        case "mcp_call":
            return parsed(text_at(item, "arguments"))
        case "shell_call" | "local_shell_call" | "computer_call":
            return {"action": item.get("action")}
        case "tool_search_call":
            return {"arguments": item.get("arguments")}
        case _:
            return {}
