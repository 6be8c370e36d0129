"""The page on large values is right: its code runs, and its tables say what happens."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, text_message
from starlette.applications import Starlette
from starlette.testclient import TestClient

from ably_ai_transport.local import LocalServer
from ably_ai_transport.payloads import DirectoryPayloads, ObjectStorePayloads, payload_prefix
from tests.support.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "large-values.md")
LONG = "long " * 50_000


def run_page() -> dict[str, Any]:
    scope: dict[str, Any] = {}
    for block in PAGE.blocks("python"):
        exec(compile(block, str(PAGE.path), "exec"), scope)  # noqa: S102 - the page is ours
    return scope


async def reply(messages: list[UIMessage]) -> AsyncIterator[UIMessageChunk]:
    yield {"type": "start"}
    yield {"type": "data-echo", "data": messages[-1]["parts"]}


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    return run_page()


def test_a_conversation_with_the_store_of_the_page(page: dict[str, Any], tmp_path: Path) -> None:
    question = text_message(LONG)

    async def converse() -> list[UIMessage]:
        async with LocalServer() as server:
            agent = AblyRealtime(**server.python_options("agent"))
            client = AblyRealtime(**server.python_options("client"))
            try:
                return await page["converse"](agent, client, question, reply)
            finally:
                await agent.close()
                await client.close()

    asked, answered = asyncio.run(asyncio.wait_for(converse(), 20))
    assert asked == question
    assert [part.get("data") for part in answered["parts"]] == [question["parts"]]
    prefix = payload_prefix("chat:42").rstrip("/")
    files = sorted((tmp_path / "payloads" / prefix).iterdir())
    assert sorted(file.suffix for file in files) == [".json", ".txt"]

    web = TestClient(Starlette(routes=page["routes"]))
    for file in files:
        response = web.get(f"/payloads/{prefix}/{file.name}")
        assert response.content == file.read_bytes()
        assert response.headers["content-type"].partition(";")[0] in ("application/json", "text/plain")
    assert json.loads(files[[f.suffix for f in files].index(".json")].read_bytes()) == question["parts"]
    assert web.get("/payloads/../secret").status_code == 404


def test_the_stores_of_the_page(page: dict[str, Any]) -> None:
    text = PAGE.path.read_text(encoding="utf-8")
    named = set(re.findall(r"\| `(\w+)\(", text))
    assert named == {DirectoryPayloads.__name__, ObjectStorePayloads.__name__}
    assert isinstance(page["bucket"](), ObjectStorePayloads)
