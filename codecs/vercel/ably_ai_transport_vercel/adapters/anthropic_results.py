"""The results of Anthropic's own tools, as the AI SDK shows them."""

from collections.abc import Callable, Mapping
from typing import Final, cast

from ably_ai_transport_vercel.adapters.reading import Event, map_at, maps_at, renamed, text_at

_PAGE: Final = {"url": "url", "title": "title"}


def _pages(content: object) -> object:
    pages = [cast("Event", page) for page in cast("list[object]", content) if isinstance(page, dict)]
    return [
        {
            **renamed(page, _PAGE),
            "pageAge": page.get("page_age"),
            "encryptedContent": page.get("encrypted_content"),
            "type": page.get("type"),
        }
        for page in pages
    ]


def _fetched(content: Event) -> object:
    document = map_at(content, "content")
    source = renamed(map_at(document, "source"), {"type": "type", "media_type": "mediaType", "data": "data"})
    shown = {"type": document.get("type"), "title": document.get("title"), "source": source}
    return {
        "type": content.get("type"),
        "url": content.get("url"),
        "retrievedAt": content.get("retrieved_at"),
        "content": {**shown, **renamed(document, {"citations": "citations"})},
    }


def _found_tools(content: Event) -> object:
    return [
        {"type": one.get("type"), "toolName": one.get("tool_name")}
        for one in maps_at(content, "tool_references")
    ]


_RUN: Final = {
    "type": "type",
    "stdout": "stdout",
    "encrypted_stdout": "encrypted_stdout",
    "stderr": "stderr",
    "return_code": "return_code",
}


def _executed(content: Event) -> object:
    return {**renamed(content, _RUN), "content": content.get("content") or []}


_ADVICE: Final = {
    "type": "type",
    "text": "text",
    "encrypted_content": "encryptedContent",
    "stop_reason": "stopReason",
}
_RESULTS: Final[Mapping[str, Callable[[Event], object]]] = {
    "web_fetch_result": _fetched,
    "tool_search_tool_search_result": _found_tools,
    "code_execution_result": _executed,
    "encrypted_code_execution_result": _executed,
    "advisor_result": lambda content: renamed(content, _ADVICE),
    "advisor_redacted_result": lambda content: renamed(content, _ADVICE),
}
_SHOWN_AS_THEY_ARE: Final = frozenset(
    {"bash_code_execution_tool_result", "text_editor_code_execution_tool_result"}
)
"""Results that are outputs even if the tool failed."""


def failure_in(block: Event) -> object:
    """Return what a result says of a failure of its tool; None if the tool did not fail."""
    kind, content = text_at(block, "type"), map_at(block, "content")
    if kind in _SHOWN_AS_THEY_ARE:
        return None
    if text_at(content, "type").endswith("_error"):
        return {"type": content["type"], "errorCode": content.get("error_code")}
    if block.get("is_error") is True:
        return block.get("content")
    return None


def output_in(block: Event) -> object:
    """Return the output in a result."""
    content = block.get("content")
    if isinstance(content, list) and text_at(block, "type") == "web_search_tool_result":
        return _pages(cast("object", content))
    shape = _RESULTS.get(text_at(map_at(block, "content"), "type"))
    return cast("object", content) if shape is None else shape(map_at(block, "content"))
