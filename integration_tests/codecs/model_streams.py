"""Streams that no model has sent: each kind of item and block that the AI SDK's providers know, once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

from integration_tests.differential.script import Json

Provider = Literal["openai", "anthropic"]


@dataclass(frozen=True)
class ModelStream:
    """A stream of a model.

    Attributes:
        name: Says what it holds.
        provider: The provider that streams so.
        events: The events.
        tools: The tools that the application gives to the model.
    """

    name: str
    provider: Provider
    events: Sequence[Json]
    tools: Sequence[str] = ()

    def to_json(self) -> Json:
        """Return the stream for the JavaScript side."""
        return {
            "provider": self.provider,
            "events": list(self.events),
            "tools": list(self.tools),
        }


# OpenAI's Responses


def response(items: Iterable[Iterable[Json]], **end: object) -> list[Json]:
    """Return a response: each item has its events, without the index of the item."""
    about: Json = {"id": "resp_1", "created_at": 1, "model": "m"}
    details: Json = {"incomplete_details": end or None, "usage": {"input_tokens": 1, "output_tokens": 1}}
    placed = [{**event, "output_index": index} for index, item in enumerate(items) for event in item]
    kind = "response.incomplete" if end else "response.completed"
    return [{"type": "response.created", "response": about}, *placed, {"type": kind, "response": details}]


def item(kind: str, *between: Json, **fields: object) -> Iterator[Json]:
    """Return the events of an item that is added, goes on and is done.

    Args:
        kind: Its type.
        between: The events in between.
        fields: The item; ``opened`` holds what it says otherwise when it is added.
    """
    opened = cast("Json", fields.pop("opened", {}))
    whole: Json = {"type": kind, "id": f"{kind}_1", **fields}
    yield {"type": "response.output_item.added", "item": {**whole, **opened}}
    yield from ({"item_id": whole["id"], **event} for event in between)
    yield {"type": "response.output_item.done", "item": whole}


def delta(kind: str, text: str, **fields: object) -> Json:
    return {"type": f"response.{kind}.delta", "delta": text, **fields}


def message(text: str = "Hi", *between: Json) -> Iterator[Json]:
    return item("message", delta("output_text", text), *between)


def cited(**annotation: object) -> Json:
    return {"type": "response.output_text.annotation.added", "annotation": annotation}


def function(arguments: str, *, status: str = "completed", call_id: str = "c1") -> Iterator[Json]:
    about: Json = {"call_id": call_id, "name": "weather", "status": status, "arguments": arguments}
    pieces = [delta("function_call_arguments", arguments[n : n + 4]) for n in range(0, len(arguments), 4)]
    return item("function_call", *pieces, opened={"arguments": ""}, **about)


def patch(*between: Json, kind: str = "update_file", **operation: str) -> Iterator[Json]:
    whole: Json = {"type": kind, "path": "a/b.py", **operation}
    opened = {"status": "in_progress", "operation": {**whole, **({"diff": ""} if "diff" in whole else {})}}
    return item(
        "apply_patch_call", *between, opened=opened, call_id="c1", status="completed", operation=whole
    )


def search(**action: object) -> Iterator[Json]:
    return item("web_search_call", status="completed", action=action)


def mcp(**fields: object) -> Iterator[Json]:
    about: Json = {"name": "shorten", "server_label": "s", "arguments": '{"u":"x"}', "status": "completed"}
    return item("mcp_call", **{**about, **fields})


URL: Final = cited(type="url_citation", start_index=0, end_index=1, url="https://a.example", title="A")
FILE: Final = cited(type="file_citation", file_id="f1", filename="a.txt", index=0)
FOUND: Final = {"attributes": {"n": 1}, "file_id": "f1", "filename": "a.txt", "score": 0.5, "text": "t"}
RUN: Final = [
    {"stdout": "x", "stderr": "", "outcome": {"type": "exit", "exit_code": 2}},
    {"stdout": "", "stderr": "y", "outcome": {"type": "timeout"}},
]
SHELL: Final[Json] = {"commands": ["ls"], "timeout_ms": 5, "max_output_length": None}
EXEC: Final[Json] = {"type": "exec", "command": ["ls"], "timeout_ms": 5, "env": {}, "working_directory": "/"}
CLICKS: Final = [
    {"type": "click", "button": "left", "x": 1, "y": 2},
    {"type": "scroll", "x": 1, "y": 2, "scroll_x": 3, "scroll_y": 4, "keys": ["CTRL"]},
]
DIFF: Final = '@@\n-"ä"\n+\\n 😀\n'
CODE: Final = 'print("ä\\n😀")\n'
PATCH_DELTA: Final = "apply_patch_call_operation_diff"
CODE_DELTA: Final = "code_interpreter_call_code"
IMAGE: Final = {"type": "response.image_generation_call.partial_image", "partial_image_b64": "AA=="}
REFUSAL: Final = [delta("refusal", "No"), {"type": "response.refusal.done", "refusal": "No"}]
ASKED: Final[Json] = {"name": "shorten", "server_label": "s", "arguments": "{}"}


def thought(*between: Json, **fields: object) -> Iterator[Json]:
    return item("reasoning", *between, summary=[], **fields)


def summary(index: int, *texts: str) -> list[Json]:
    about: Json = {"summary_index": index}
    return [
        {"type": "response.reasoning_summary_part.added", **about},
        *(delta("reasoning_summary_text", text, **about) for text in texts),
        {"type": "response.reasoning_summary_part.done", **about},
    ]


def interpreter(*between: Json, outputs: object = None) -> Iterator[Json]:
    opened = {"code": "", "status": "in_progress", "outputs": None}
    about: Json = {"code": CODE, "container_id": "k1", "outputs": outputs, "status": "completed"}
    return item("code_interpreter_call", *between, opened=opened, **about)


CODE_DONE: Final = {"type": f"response.{CODE_DELTA}.done", "code": CODE}
DIFF_DONE: Final = {"type": f"response.{PATCH_DELTA}.done", "diff": DIFF}


def _openai() -> Iterator[ModelStream]:
    def one(name: str, *items: Iterable[Json], tools: Sequence[str] = (), **end: object) -> ModelStream:
        return ModelStream(name, "openai", response(items, **end), tools)

    function_tool, patcher = ("weather",), ("apply_patch",)
    yield one("text", message())
    yield one("two texts", message("a"), message("b"))
    yield one("refusal", item("message", *REFUSAL))
    yield one("refusal and call", item("message", *REFUSAL), function("{}"), tools=function_tool)
    for reason in ("max_output_tokens", "content_filter", "something new"):
        yield one(f"incomplete: {reason}", message(), reason=reason)
    yield one("incomplete after a call", function("{}"), tools=function_tool, reason="something new")
    yield one("thoughts", thought(*summary(0, "a", "b"), *summary(1, "c")), message())
    yield one("secret thought", thought(encrypted_content="secret"), message())
    yield one("function", function('{"city":"Lisbon"}'), tools=function_tool)
    yield one("functions", function("{}"), function('{"n":1}', call_id="c2"), tools=function_tool)
    yield one("function without arguments", function(""), tools=function_tool)
    cut = function('{"city": "Lis', status="incomplete")
    yield one("function cut off", cut, tools=function_tool, reason="max_output_tokens")
    custom: Json = {"call_id": "c1", "name": "sql", "input": "select 1", "status": "completed"}
    pieces = [delta("custom_tool_call_input", "select"), delta("custom_tool_call_input", " 1")]
    yield one(
        "custom tool", item("custom_tool_call", *pieces, opened={"input": ""}, **custom), tools=("sql",)
    )
    yield one("patch", patch(delta(PATCH_DELTA, DIFF[:5]), DIFF_DONE, diff=DIFF), tools=patcher)
    yield one("patch at once", patch(DIFF_DONE, diff=DIFF, kind="create_file"), tools=patcher)
    yield one("patch in its item", patch(diff=DIFF), tools=patcher)
    yield one("patch that deletes", patch(kind="delete_file"), tools=patcher)
    coder = ("code_interpreter",)
    yield one(
        "code", interpreter(delta(CODE_DELTA, CODE[:5]), delta(CODE_DELTA, CODE[5:]), CODE_DONE), tools=coder
    )
    logs = [{"type": "logs", "logs": "x"}, {"type": "image", "url": "https://i.example"}]
    yield one("code with outputs", interpreter(delta(CODE_DELTA, CODE), CODE_DONE, outputs=logs), tools=coder)
    searcher = ("web_search",)
    sources = [{"type": "url", "url": "https://s.example"}, {"type": "api", "name": "x"}]
    yield one("search", search(type="search", query="q", queries=["q"], sources=sources), tools=searcher)
    yield one(
        "search and citation",
        search(type="search", query="q", sources=sources),
        message("x", URL),
        tools=searcher,
    )
    yield one("page", search(type="open_page", url="https://p.example"), tools=searcher)
    yield one(
        "find in page", search(type="find_in_page", url="https://p.example", pattern="p"), tools=searcher
    )
    yield one("search that failed", item("web_search_call", status="failed"), tools=searcher)
    finder = ("file_search",)
    found = item("file_search_call", queries=["q"], results=[FOUND, {**FOUND, "text": "u"}])
    yield one("files", found, message("x", FILE), tools=finder)
    yield one(
        "no files", item("file_search_call", queries=["q"], results=None), message("x", FILE), tools=finder
    )
    container = cited(
        type="container_file_citation",
        container_id="k",
        file_id="f",
        filename="a.csv",
        start_index=0,
        end_index=1,
    )
    path = cited(type="file_path", file_id="f9", index=0)
    yield one("citations", message("x", URL, URL, FILE, container, path))
    yield one("mcp", mcp(output="done"))
    yield one("mcp that failed", mcp(error={"type": "http", "code": 404, "message": "gone"}))
    yield one("mcp without arguments", mcp(arguments="", output=None))
    yield one("mcp tools", item("mcp_list_tools", server_label="s", tools=[]), message())
    yield one("mcp approval", item("mcp_approval_request", **ASKED))
    asked = item("mcp_approval_request", **ASKED)
    approved = mcp(approval_request_id="mcp_approval_request_1", output="done")
    yield one("mcp approval and call", asked, approved)
    yield one("mcp call approved before", mcp(approval_request_id="earlier", output="done"))
    yield one("local shell", item("local_shell_call", call_id="c1", action=EXEC), tools=("local_shell",))
    shell = item("shell_call", call_id="c1", action=SHELL, status="completed")
    yield one("shell", shell, tools=("shell",))
    remote = {"type": "container_reference", "container_id": "k"}
    called = item("shell_call", call_id="c1", action=SHELL, status="completed", environment=remote)
    output = item("shell_call_output", call_id="c1", status="completed", max_output_length=9, output=RUN)
    yield ModelStream("shell at the provider", "openai", response([called, output]), ("shell",))
    computer = ("computer",)
    checks = [{"id": "k1", "code": "c", "message": None}]
    clicks: Json = {
        "call_id": "c1",
        "status": "completed",
        "actions": CLICKS,
        "pending_safety_checks": checks,
    }
    yield one("computer", item("computer_call", **clicks), tools=computer)
    screenshot: Json = {"call_id": "c1", "status": "completed", "action": {"type": "screenshot"}}
    yield one("computer, one action", item("computer_call", **screenshot), tools=computer)
    yield one(
        "computer without a call",
        item("computer_call", status="completed"),
        tools=("computer_use", *computer),
    )
    tools = ("tool_search",)
    about: Json = {"arguments": {"paths": ["a"]}, "status": "completed"}
    hosted = item("tool_search_call", execution="server", call_id=None, **about)
    answer = item(
        "tool_search_output", execution="server", call_id=None, status="completed", tools=[{"name": "a"}]
    )
    yield one("tool search", hosted, answer, tools=tools)
    yield one(
        "tool search of the client",
        item("tool_search_call", execution="client", call_id="c1", **about),
        tools=tools,
    )
    program = item("program", call_id="c1", code="x()", fingerprint="f")
    result = item("program_output", call_id="c1", result="{}", status="completed")
    yield one("program", program, result, tools=("programmatic_tool_calling",))
    yield one(
        "image", item("image_generation_call", IMAGE, IMAGE, result="BB=="), tools=("image_generation",)
    )
    yield one("compaction", item("compaction", encrypted_content="secret"), message())
    yield one("unknown item", item("something_new", text="x"), message())


# Anthropic's messages


def reply(
    *blocks: Iterable[Json], stop: str = "end_turn", message_id: str = "m1", **start: object
) -> list[Json]:
    """Return a message: each block has its events, without the index of the block."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    placed = [{**event, "index": index} for index, block in enumerate(blocks) for event in block]
    return [
        {"type": "message_start", "message": {"id": message_id, "model": "m", "usage": usage, **start}},
        *placed,
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": usage},
        {"type": "message_stop"},
    ]


def block(kind: str, *deltas: Json, **fields: object) -> Iterator[Json]:
    """Return the events of a block."""
    yield {"type": "content_block_start", "content_block": {"type": kind, **fields}}
    yield from ({"type": "content_block_delta", "delta": one} for one in deltas)
    yield {"type": "content_block_stop"}


def said(text: str = "Hi", *citations: Json) -> Iterator[Json]:
    quoted = [{"type": "citations_delta", "citation": one} for one in citations]
    return block("text", {"type": "text_delta", "text": text}, *quoted, text="")


def use(kind: str, name: str, *pieces: str, given: Json | None = None, **fields: object) -> Iterator[Json]:
    deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    return block(kind, *deltas, id="t1", name=name, input=given or {}, **fields)


def result(tool: str, content: object, **fields: object) -> Iterator[Json]:
    return block(f"{tool}_tool_result", tool_use_id="t1", content=content, **fields)


def failed(tool: str) -> Iterator[Json]:
    return result(tool, {"type": f"{tool}_tool_result_error", "error_code": "unavailable"})


def ran(kind: str, **fields: object) -> Json:
    return {"type": kind, "stdout": "x", "stderr": "", "return_code": 0, **fields}


WEB: Final = {
    "type": "web_search_result_location",
    "cited_text": "c",
    "url": "https://a.example",
    "title": "A",
}
WEB_CITATION: Final = {**WEB, "encrypted_index": "i"}
PAGE: Final = {
    "type": "web_search_result",
    "url": "https://r.example",
    "title": "R",
    "encrypted_content": "e",
}
DOCUMENT: Final = {
    "type": "document",
    "title": "T",
    "citations": {"enabled": True},
    "source": {"type": "text", "media_type": "text/plain", "data": "d"},
}
FETCHED: Final = {
    "type": "web_fetch_result",
    "url": "https://f.example",
    "retrieved_at": None,
    "content": DOCUMENT,
}
VIEWED: Final = {
    "type": "text_editor_code_execution_view_result",
    "content": "x",
    "file_type": "text",
    "num_lines": 1,
    "start_line": 1,
    "total_lines": 1,
}


def _anthropic() -> Iterator[ModelStream]:
    def one(name: str, events: Sequence[Json], *tools: str) -> ModelStream:
        return ModelStream(name, "anthropic", events, tools)

    yield one("text", reply(said()))
    for stop in ("stop_sequence", "max_tokens", "pause_turn", "refusal", "compaction", "something new"):
        yield one(f"stop reason: {stop}", reply(said(), stop=stop))
    yield one("context window exceeded", reply(said(), stop="model_context_window_exceeded"))
    signed = [{"type": "thinking_delta", "thinking": "hm"}, {"type": "signature_delta", "signature": "s"}]
    yield one("thinking", reply(block("thinking", *signed, thinking=""), said()))
    yield one("redacted thinking", reply(block("redacted_thinking", data="secret"), said()))
    yield one(
        "function", reply(use("tool_use", "weather", '{"city":', '"Lisbon"}'), stop="tool_use"), "weather"
    )
    yield one(
        "function at once", reply(use("tool_use", "weather", given={"n": 1}), stop="tool_use"), "weather"
    )
    yield one("function without arguments", reply(use("tool_use", "weather", ""), stop="tool_use"), "weather")
    yield one(
        "function cut off", reply(use("tool_use", "weather", '{"city": "Lis'), stop="max_tokens"), "weather"
    )
    member = use("tool_use", "left_click", '{"coordinate":', "[1,2]}", toolset_name="computer")
    yield one("toolset", reply(member, stop="tool_use"), "computer")
    given = [{"type": "tool_use", "id": "t1", "name": "weather", "input": {"n": 1}}]
    yield one("function in the message", reply(content=given, stop="tool_use"), "weather")
    yield one("two messages", [*reply(said("a")), *reply(said("b"), message_id="m2")])
    yield one("message repeated", [reply(said())[0], *reply(said())])
    yield one("message inside a message", [*reply(said())[:3], *reply(said(), message_id="m2")])
    yield one("failure", [*reply(said())[:3], {"type": "error", "error": {"type": "t", "message": "m"}}])

    def served(name: str, *pieces: str) -> Iterator[Json]:
        return use("server_tool_use", name, *pieces)

    query = served("web_search", '{"query":', '"q"}')
    yield one("search", reply(query, result("web_search", [PAGE]), said("x", WEB_CITATION)), "web_search")
    yield one(
        "search that failed", reply(served("web_search", '{"query":"q"}'), failed("web_search")), "web_search"
    )
    yield one("web citation alone", reply(said("x", WEB_CITATION)))
    url = '{"url":"https://f.example"}'
    yield one("fetch", reply(served("web_fetch", url), result("web_fetch", FETCHED)), "web_fetch")
    yield one("fetch that failed", reply(served("web_fetch", url), failed("web_fetch")), "web_fetch")
    code, python = "code_execution", '{"code":"1"}'
    for kind in ("code_execution_result", "encrypted_code_execution_result"):
        out = ran(kind, encrypted_stdout="e") if kind.startswith("enc") else ran(kind)
        if kind.startswith("enc"):
            del out["stdout"]
        yield one(kind, reply(served(code, python), result(code, out)), code)
    yield one("code that failed", reply(served(code, python), failed(code)), code)
    whole = use("server_tool_use", code, given={"code": "1"})
    yield one("code at once", reply(whole, result(code, ran("code_execution_result"))), code)
    bash = "bash_code_execution"
    made = ran("bash_code_execution_result", content=[{"type": "bash_code_execution_output", "file_id": "f"}])
    yield one("bash", reply(served(bash, "", '{"command"', ':"ls"}'), result(bash, made)), code)
    yield one("bash that failed", reply(served(bash, '{"command":"ls"}'), failed(bash)), code)
    editor = "text_editor_code_execution"
    shown: list[Json] = [
        VIEWED,
        {"type": "text_editor_code_execution_create_result", "is_file_update": False},
        {
            "type": "text_editor_code_execution_str_replace_result",
            "lines": ["x"],
            **dict.fromkeys(("new_lines", "new_start", "old_lines", "old_start"), 1),
        },
    ]
    for content in shown:
        yield one(content["type"], reply(served(editor, '{"command":"x"}'), result(editor, content)), code)
    yield one("editor that failed", reply(served(editor, '{"command":"x"}'), failed(editor)), code)
    for name in ("tool_search_tool_regex", "tool_search_tool_bm25"):
        references = [{"type": "tool_reference", "tool_name": "weather"}]
        hits = {"type": "tool_search_tool_search_result", "tool_references": references}
        yield one(name, reply(served(name, '{"q":"w"}'), result("tool_search", hits)), name)
        missed = result("tool_search", {"type": "tool_search_tool_result_error", "error_code": "x"})
        yield one(f"{name} that failed", reply(served(name, '{"q":"w"}'), missed), name)
    advice: list[Json] = [
        {"type": "advisor_result", "text": "t", "stop_reason": "end_turn"},
        {"type": "advisor_redacted_result", "encrypted_content": "e"},
        {"type": "advisor_tool_result_error", "error_code": "x"},
    ]
    for content in advice:
        yield one(content["type"], reply(served("advisor"), result("advisor", content)), "advisor")
    remote = use("mcp_tool_use", "echo", given={"n": 1}, server_name="s")
    heard: list[Json] = [{"type": "text", "text": "x"}]
    yield one("mcp", reply(remote, result("mcp", heard, is_error=False)))
    remote = use("mcp_tool_use", "echo", given={"n": 1}, server_name="s")
    yield one("mcp that failed", reply(remote, result("mcp", heard, is_error=True)))
    remote = use("mcp_tool_use", "echo", given={"n": 1}, server_name="s")
    yield one("mcp that failed with a text", reply(remote, result("mcp", "no", is_error=True)))
    compacted = {"type": "compaction_delta", "content": "so far"}
    yield one("compaction", reply(block("compaction", compacted, content=None), said()))
    yield one("compaction at once", reply(block("compaction", content="so far", signature="s"), said()))
    models = {"from": {"model": "a"}, "to": {"model": "b"}}
    yield one("fallback", reply(block("fallback", **models), said()))


MODEL_STREAMS: Final = (*_openai(), *_anthropic())
