"""The events of OpenAI's Responses API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ably_ai_transport_vercel.adapters.openai_items import (
    INPUTS,
    input_of,
    output_of,
    patch_input,
    search_input,
)
from ably_ai_transport_vercel.adapters.reading import (
    Event,
    index_at,
    map_at,
    maps_at,
    model_failed,
    text_at,
    type_of,
)
from ably_ai_transport_vercel.adapters.writer import Chunks, ReplyWriter, json_of
from ably_ai_transport_vercel.events import FinishReason

_INCOMPLETE: Final[Mapping[str, FinishReason]] = {
    "max_output_tokens": "length",
    "content_filter": "content-filter",
}
_HOSTED: Final = frozenset({"web_search_call", "file_search_call", "image_generation_call"})
"""Calls that OpenAI executes, and whose input is empty."""
_EXECUTED: Final = _HOSTED | {"code_interpreter_call", "mcp_call"}
"""Calls that OpenAI executes, and whose item is also their output."""
_ASKING: Final = frozenset({"function_call", "custom_tool_call", "apply_patch_call", "computer_call"})
"""Calls for which the model stops, as the AI SDK counts them."""


@dataclass(slots=True)
class _Call:
    """A call whose input arrives.

    Attributes:
        call_id: The call.
        suffix: Closes the JSON around a text of the model; empty if the model writes the whole JSON.
        has_text: Whether any of the text has arrived.
    """

    call_id: str
    suffix: str = ""
    has_text: bool = False


class ResponsesTranslator:
    """Translates texts, refusals, reasoning, function calls, and the calls and results of OpenAI's tools.

    A part is identified by its position in the output, since some gateways change the ids of items from one
    event to the next.

    Attributes:
        is_finished: Whether the response is complete or incomplete.
    """

    def __init__(self) -> None:
        self._writer = ReplyWriter()
        self._responses = 0
        self._calls: dict[int, _Call] = {}
        self._announced: set[str] = set()
        self._searches: list[str] = []
        self._approvals: set[str] = set()
        self._citations: list[Event] = []
        self._files: set[str] = set()
        self._has_page_sources = False
        self._has_open_calls = False
        self._has_refused = False
        self.is_finished = False

    def feed(self, event: Event) -> Chunks:
        """Translate an event; see :class:`Translator`."""
        writer = self._writer
        match type_of(event):
            case "response.created":
                self._responses += 1
                self._calls.clear()
                yield from writer.start()
            case "response.output_item.added":
                yield from self._begin_item(index_at(event, "output_index"), map_at(event, "item"))
            case "response.output_text.delta":
                yield from writer.piece("text", self._place(event, "text"), text_at(event, "delta"))
            case "response.refusal.delta":
                self._has_refused = True
                yield from writer.piece("text", self._place(event, "text"), text_at(event, "delta"))
            case "response.output_text.annotation.added":
                yield from self._cite(map_at(event, "annotation"))
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                yield from writer.piece("reasoning", self._thought(event), text_at(event, "delta"))
            case "response.reasoning_summary_text.done" | "response.reasoning_text.done":
                yield from writer.end(self._thought(event))
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                call = self._calls.get(index_at(event, "output_index"))
                if call is not None:
                    yield from writer.call_piece(call.call_id, text_at(event, "delta"))
            case (
                "response.code_interpreter_call_code.delta" | "response.apply_patch_call_operation_diff.delta"
            ):
                yield from self._continue_text(event, text_at(event, "delta"))
            case "response.code_interpreter_call_code.done":
                yield from self._end_text(event, text_at(event, "code"))
            case "response.apply_patch_call_operation_diff.done":
                yield from self._end_text(event, text_at(event, "diff"))
            case "response.image_generation_call.partial_image":
                image = {"result": text_at(event, "partial_image_b64")}
                call_id = text_at(event, "item_id")
                yield from writer.output(call_id, image, provider_executed=True, preliminary=True)
            case "response.output_item.done":
                yield from self._end_item(event, map_at(event, "item"))
            case "response.completed" | "response.incomplete" as kind:
                self.is_finished = True
                reason = text_at(map_at(map_at(event, "response"), "incomplete_details"), "reason")
                writer.finish_reason = self._finish_reason(reason, complete=kind == "response.completed")
            case "response.failed":
                raise model_failed(map_at(map_at(event, "response"), "error"))
            case "error":
                raise model_failed(map_at(event, "error") or event)
            case _:
                pass

    def finish(self) -> Chunks:
        """End the reply, with the sources that only its text names."""
        writer = self._writer
        for annotation in self._citations:
            if annotation.get("type") == "url_citation":
                if not self._has_page_sources:
                    yield from writer.source_url(text_at(annotation, "url"), text_at(annotation, "title"))
            elif not self._files:
                yield from writer.source_document(
                    text_at(annotation, "filename"), text_at(annotation, "filename")
                )
        yield from writer.finish()

    def _finish_reason(self, reason: str, *, complete: bool) -> FinishReason:
        if reason in _INCOMPLETE:
            return _INCOMPLETE[reason]
        if not reason and not complete:
            return "length"
        if self._has_open_calls:
            return "tool-calls"
        if reason:
            return "other"
        return "content-filter" if self._has_refused else "stop"

    # Items

    def _begin_item(self, index: int, item: Event) -> Chunks:
        writer, kind, call_id = self._writer, text_at(item, "type"), text_at(item, "call_id")
        self._calls.pop(index, None)
        match kind:
            case "function_call" | "custom_tool_call":
                self._calls[index] = _Call(call_id)
                yield from writer.call(call_id, text_at(item, "name"))
            case "computer_call" if call_id:
                yield from writer.call(call_id, "computer")
            case "code_interpreter_call":
                call_id = text_at(item, "id")
                self._calls[index] = _Call(call_id, '"}')
                yield from writer.call(call_id, "code_interpreter", provider_executed=True)
                container = json_of(item.get("container_id"))
                yield from writer.call_piece(call_id, f'{{"containerId":{container},"code":"')
            case "apply_patch_call":
                yield from self._begin_patch(index, item)
            case "tool_search_call" if _is_hosted_search(item):
                yield from writer.call(text_at(item, "id"), "tool_search", provider_executed=True)
            case _ if kind in _HOSTED:
                yield from self._announce(kind, item)
            case _:
                pass

    def _begin_patch(self, index: int, item: Event) -> Chunks:
        call_id, operation = text_at(item, "call_id"), map_at(item, "operation")
        yield from self._writer.call(call_id, "apply_patch")
        if operation.get("type") == "delete_file":
            yield from self._writer.call_piece(call_id, json_of(patch_input(item)))
            return
        self._calls[index] = _Call(call_id, '"}}')
        about = {"type": text_at(operation, "type"), "path": text_at(operation, "path")}
        opened = json_of({"callId": call_id, "operation": about})[:-2]
        yield from self._writer.call_piece(call_id, opened + ',"diff":"')

    def _announce(self, kind: str, item: Event) -> Chunks:
        """Add a call with an empty input, once."""
        call_id = text_at(item, "id")
        if call_id not in self._announced:
            self._announced.add(call_id)
            name = kind.removesuffix("_call")
            yield from self._writer.call_input(call_id, name, {}, provider_executed=True)

    def _end_item(self, event: Event, item: Event) -> Chunks:
        writer, kind, call_id = self._writer, text_at(item, "type"), text_at(item, "call_id")
        cut_off = item.get("status") == "incomplete"
        if kind in _ASKING and (kind != "computer_call" or call_id):
            self._has_open_calls = True
        match kind:
            case "message":
                yield from writer.end(self._place(event, "text"))
            case "reasoning":
                yield from self._end_reasoning(event, item)
            case "function_call":
                metadata = {"openai": {"itemId": text_at(item, "id")}}
                text = text_at(item, "arguments")
                name = text_at(item, "name")
                yield from writer.call_text(call_id, name, text, cut_off=cut_off, metadata=metadata)
            case "custom_tool_call" if cut_off:
                yield from writer.input_error(call_id, text_at(item, "name"), text_at(item, "input"))
            case "custom_tool_call":
                yield from writer.call_input(call_id, text_at(item, "name"), text_at(item, "input"))
            case "apply_patch_call":
                diff = text_at(map_at(item, "operation"), "diff")
                yield from self._end_text(event, diff)
                if cut_off:
                    yield from writer.input_error(call_id, "apply_patch", json_of(patch_input(item)))
                else:
                    yield from writer.call_input(call_id, "apply_patch", patch_input(item))
            case "computer_call" if not call_id:
                yield from self._computer_use(item)
            case "tool_search_call":
                yield from self._search(item)
            case "program":
                name = "programmatic_tool_calling"
                yield from writer.call_input(call_id, name, input_of(kind, item), provider_executed=True)
            case "mcp_approval_request":
                yield from self._ask(item)
            case "mcp_call":
                yield from self._call_mcp(item)
            case _ if kind in _EXECUTED:
                yield from self._executed(event, kind, item)
            case _ if kind.endswith("_call"):
                # A shell call does not say for sure who executes it; its output does.
                name = kind.removesuffix("_call")
                yield from writer.call_input(call_id or text_at(item, "id"), name, input_of(kind, item))
            case _ if kind.endswith("_output"):
                yield from self._output(kind, item)
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

    # Inputs with one text of the model inside: code, a patch

    def _continue_text(self, event: Event, text: str) -> Chunks:
        call = self._calls.get(index_at(event, "output_index"))
        if call is not None and call.suffix and text:
            call.has_text = True
            yield from self._writer.call_piece(call.call_id, json_of(text)[1:-1])

    def _end_text(self, event: Event, whole: str) -> Chunks:
        index = index_at(event, "output_index")
        call = self._calls.get(index)
        if call is not None and call.suffix:
            if not call.has_text:
                yield from self._continue_text(event, whole)
            del self._calls[index]
            yield from self._writer.call_piece(call.call_id, call.suffix)

    # Tools that OpenAI executes

    def _executed(self, event: Event, kind: str, item: Event) -> Chunks:
        """Complete a call, and add its output."""
        writer, call_id = self._writer, text_at(item, "id")
        if kind in INPUTS:
            yield from self._end_text(event, text_at(item, "code"))
            name = kind.removesuffix("_call")
            yield from writer.call_input(call_id, name, input_of(kind, item), provider_executed=True)
        else:
            yield from self._announce(kind, item)
        if kind == "web_search_call" and item.get("status") not in (None, "completed"):
            failure = json_of({"status": item.get("status")})
            yield from writer.output_error(call_id, failure, provider_executed=True)
        else:
            yield from writer.output(call_id, output_of(kind, item), provider_executed=True)
        if kind == "image_generation_call":
            media_type = f"image/{text_at(item, 'output_format') or 'png'}"
            yield from writer.file(media_type, text_at(item, "result"))
        for source in maps_at(map_at(item, "action"), "sources"):
            if source.get("type") in (None, "url"):
                self._has_page_sources = True
                yield from writer.source_url(text_at(source, "url"), None)
        for result in maps_at(item, "results"):
            file_id, filename = text_at(result, "file_id"), text_at(result, "filename")
            if file_id not in self._files:
                self._files.add(file_id)
                yield from writer.source_document(filename, filename)

    def _computer_use(self, item: Event) -> Chunks:
        call_id = text_at(item, "id")
        yield from self._writer.call_input(call_id, "computer_use", {}, provider_executed=True)
        result = {"type": "computer_use_tool_result", "status": item.get("status")}
        yield from self._writer.output(call_id, result, provider_executed=True)

    def _search(self, item: Event) -> Chunks:
        hosted = _is_hosted_search(item)
        call_id = text_at(item, "id") if hosted else text_at(item, "call_id") or text_at(item, "id")
        value = search_input(item, None if hosted else call_id)
        yield from self._writer.call_input(call_id, "tool_search", value, provider_executed=hosted)
        if hosted:
            self._searches.append(call_id)

    def _ask(self, item: Event) -> Chunks:
        call_id = text_at(item, "approval_request_id") or text_at(item, "id")
        name = f"mcp.{text_at(item, 'name')}"
        self._approvals.add(call_id)
        text = text_at(item, "arguments")
        yield from self._writer.call_text(call_id, name, text, provider_executed=True, dynamic=True)
        yield from self._writer.approval(call_id, call_id)

    def _call_mcp(self, item: Event) -> Chunks:
        asked = text_at(item, "approval_request_id")
        call_id = asked if asked in self._approvals else text_at(item, "id")
        name, text = f"mcp.{text_at(item, 'name')}", text_at(item, "arguments")
        yield from self._writer.call_text(call_id, name, text, provider_executed=True, dynamic=True)
        yield from self._writer.output(call_id, output_of("mcp_call", item), provider_executed=True)

    def _output(self, kind: str, item: Event) -> Chunks:
        """Add the output of a tool that ran at OpenAI, and whose call is another item."""
        call_id = text_at(item, "call_id")
        if not call_id and kind == "tool_search_output" and self._searches:
            call_id = self._searches.pop(0)
        value = output_of(kind, item)
        yield from self._writer.output(call_id or text_at(item, "id"), value, provider_executed=True)

    # Sources and positions

    def _cite(self, annotation: Event) -> Chunks:
        match annotation.get("type"):
            case "url_citation" | "file_citation":
                # The search that found them may follow, and names them better.
                self._citations.append(annotation)
            case "container_file_citation":
                filename = text_at(annotation, "filename")
                yield from self._writer.source_document(filename, filename)
            case "file_path":
                file_id = text_at(annotation, "file_id")
                yield from self._writer.source_document(file_id, file_id, "application/octet-stream")
            case _:
                pass

    def _place(self, event: Event, kind: str) -> str:
        return f"{kind}-{self._responses}-{index_at(event, 'output_index')}"

    def _thought(self, event: Event) -> str:
        key = "content_index" if event.get("summary_index") is None else "summary_index"
        return f"{self._place(event, 'reasoning')}-{index_at(event, key)}"


def _is_hosted_search(item: Event) -> bool:
    return item.get("execution") in (None, "server")
