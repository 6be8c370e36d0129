"""The items of OpenAI's own tools: their inputs and outputs as the AI SDK shows them."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from ably_ai_transport_vercel.adapters.reading import Event, map_at, maps_at, renamed, text_at

Convert: TypeAlias = Callable[[Event], object]


def _action(names: Mapping[str, str]) -> Convert:
    return lambda item: {"action": renamed(map_at(item, "action"), names)}


def _computer(item: Event) -> object:
    actions = maps_at(item, "actions") or ([map_at(item, "action")] if map_at(item, "action") else [])
    checks = {"id": "id", "code": "code", "message": "message"}
    moved = {"scroll_x": "scrollX", "scroll_y": "scrollY"}
    return {
        "actions": [
            {moved.get(key, key): value for key, value in action.items() if value is not None}
            for action in actions
        ],
        "pendingSafetyChecks": [renamed(one, checks) for one in maps_at(item, "pending_safety_checks")],
        "status": item.get("status"),
    }


def patch_input(item: Event) -> dict[str, object]:
    """Return the input of an ``apply_patch_call``."""
    return {"callId": text_at(item, "call_id"), "operation": map_at(item, "operation")}


def search_input(item: Event, call_id: str | None) -> dict[str, object]:
    """Return the input of a ``tool_search_call``; the call is None if OpenAI executes it."""
    return {"arguments": item.get("arguments"), "call_id": call_id}


INPUTS: Final[Mapping[str, Convert]] = {
    "apply_patch_call": patch_input,
    "code_interpreter_call": lambda item: {
        "code": item.get("code"),
        "containerId": item.get("container_id"),
    },
    "computer_call": _computer,
    "local_shell_call": _action(
        {
            "type": "type",
            "command": "command",
            "timeout_ms": "timeoutMs",
            "user": "user",
            "working_directory": "workingDirectory",
            "env": "env",
        }
    ),
    "shell_call": _action(
        {"commands": "commands", "timeout_ms": "timeoutMs", "max_output_length": "maxOutputLength"}
    ),
    "program": lambda item: {"code": item.get("code"), "fingerprint": item.get("fingerprint")},
}
"""The input of a call, by the type of its item. Calls of other types have an empty one."""


def _web_search(item: Event) -> object:
    action = map_at(item, "action")
    match action.get("type"):
        case "search":
            about: dict[str, object] = {"type": "search", **renamed(action, {"query": "query"})}
            about |= renamed(action, {"queries": "queries"})
            return {"action": about, **renamed(action, {"sources": "sources"})}
        case "open_page":
            return {"action": {"type": "openPage", "url": action.get("url")}}
        case "find_in_page":
            found = {"url": action.get("url"), "pattern": action.get("pattern")}
            return {"action": {"type": "findInPage", **found}}
        case _:
            return {}


_FOUND: Final = {
    "attributes": "attributes",
    "file_id": "fileId",
    "filename": "filename",
    "score": "score",
    "text": "text",
}


def _file_search(item: Event) -> object:
    results = None
    if isinstance(item.get("results"), list):
        results = [renamed(result, _FOUND) for result in maps_at(item, "results")]
    return {"queries": item.get("queries"), "results": results}


def _mcp(item: Event) -> object:
    names = {"server_label": "serverLabel", "name": "name", "arguments": "arguments"}
    return {"type": "call", **renamed(item, {**names, "output": "output", "error": "error"})}


def _shell(item: Event) -> object:
    def shown(run: Event) -> object:
        outcome = map_at(run, "outcome")
        end = renamed(outcome, {"type": "type", "exit_code": "exitCode"})
        return {"stdout": run.get("stdout"), "stderr": run.get("stderr"), "outcome": end}

    limit = renamed(item, {"max_output_length": "maxOutputLength"})
    return {**limit, "output": [shown(run) for run in maps_at(item, "output")]}


OUTPUTS: Final[Mapping[str, Convert]] = {
    "code_interpreter_call": lambda item: {"outputs": item.get("outputs")},
    "file_search_call": _file_search,
    "image_generation_call": lambda item: {"result": item.get("result")},
    "mcp_call": _mcp,
    "program_output": lambda item: {"result": item.get("result"), "status": item.get("status")},
    "shell_call_output": _shell,
    "tool_search_output": lambda item: {"tools": item.get("tools")},
    "web_search_call": _web_search,
}
"""The output of a tool, by the type of its item."""

_ABOUT_A_CALL: Final = frozenset({"id", "type", "status", "call_id"})


def output_of(kind: str, item: Event) -> object:
    """Return the output of a tool. An item of an unknown type is shown without its ids."""
    convert = OUTPUTS.get(kind)
    if convert is not None:
        return convert(item)
    return {key: value for key, value in item.items() if key not in _ABOUT_A_CALL}


def input_of(kind: str, item: Event) -> object:
    """Return the input of a call of one of OpenAI's tools."""
    convert = INPUTS.get(kind)
    return {} if convert is None else convert(item)
