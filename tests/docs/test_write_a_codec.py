"""The guide to codecs is right: its code runs, and it is as short as it says."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from ably_ai_transport import AgentSession, AITransportError, ClientSession
from ably_ai_transport.codec import EventRow, Reducer, define_codec
from ably_ai_transport.testing import MemoryHub

PAGE = Path(__file__).parents[2] / "docs" / "write-a-codec.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def run_page() -> dict[str, Any]:
    scope: dict[str, Any] = {"AgentSession": AgentSession, "ClientSession": ClientSession}
    for block in blocks():
        exec(compile(block, str(PAGE), "exec"), scope)  # noqa: S102 - the page is ours
    return scope


def test_a_whole_codec_has_less_than_sixty_lines() -> None:
    lines = [line for line in blocks()[0].splitlines() if line.strip()]
    assert len(lines) < 60


def test_a_conversation_in_the_codec_of_the_page() -> None:
    scope = run_page()
    hub = MemoryHub()

    async def converse() -> object:
        return await scope["converse"](hub.client("agent"), hub.client("human"))

    message = scope["Message"]
    assert asyncio.run(asyncio.wait_for(converse(), 10)) == [
        message("person", "How is the weather?"),
        message("agent", "It is sunny.", ("look outside",)),
    ]


def test_a_mistake_in_a_table_is_named() -> None:
    scope = run_page()
    with pytest.raises(AITransportError, match="note"):
        define_codec(
            Reducer(dict, scope["fold"], list),
            outputs=[EventRow("note"), EventRow("note")],
            inputs=[],
        )
