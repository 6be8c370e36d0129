"""Every kind of part and chunk has one function that knows it."""

from collections.abc import Callable
from typing import Any, get_args

import ably_ai_transport_vercel as vercel
import pytest
from ably_ai_transport_vercel import UIMessageChunk, UIMessagePart, tool_name
from typing_extensions import get_type_hints


def examples(union: Any) -> dict[str, str]:  # noqa: ANN401
    """The classes of a union, each with an example of its ``type``."""
    kinds = {"ToolPart": "tool-weather", "DataPart": "data-x", "DataChunk": "data-x"}
    return {
        cls.__name__: kinds.get(cls.__name__) or get_args(get_type_hints(cls)["type"])[0]
        for cls in get_args(union.__value__)
    }


def guards(ending: str) -> dict[str, Callable[[object], bool]]:
    return {
        name: getattr(vercel, name)
        for name in vercel.__all__
        if name.startswith("is_") and name.endswith(ending)
    }


@pytest.mark.parametrize(("union", "ending"), [(UIMessagePart, "_part"), (UIMessageChunk, "_chunk")])
def test_exactly_one_function_knows_each_kind(union: object, ending: str) -> None:
    known = guards(ending)
    found: dict[str, list[str]] = {}
    for cls, kind in examples(union).items():
        value = {"type": kind, "toolCallId": "c", "state": "input-streaming", "data": 1}
        found[cls] = [name for name, knows in known.items() if knows(value)]
    expected = {cls: cls.removesuffix(ending[1:].title()) for cls in found}
    assert {cls: [name.replace("_", "")] for cls, [name] in found.items()} == {
        cls: [f"is{stem.lower()}{ending[1:]}"] for cls, stem in expected.items()
    }
    assert len(known) == len(found)


def test_the_name_of_a_tool() -> None:
    assert tool_name({"type": "tool-weather", "toolCallId": "c", "state": "input-streaming"}) == "weather"
    assert (
        tool_name(
            {"type": "dynamic-tool", "toolName": "search", "toolCallId": "c", "state": "input-streaming"}
        )
        == "search"
    )
