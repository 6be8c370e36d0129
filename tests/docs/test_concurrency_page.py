"""The page on two questions at once is right: its table lists the policies, and its agent keeps to them."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, get_args

import anyio
import pytest
from ably_ai_transport_vercel import UIMessage, UIMessageChunk, UIMessageCodec

from ably_ai_transport import ClientSession, ConcurrencyPolicy
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import Gated, said, stream, texts
from tests.session.stage import reply as chunks_of
from tests.support.pages import ROOT, Page

PAGE = Page(ROOT / "docs" / "concurrency.md")
TEXT = PAGE.path.read_text(encoding="utf-8")
NAME = "chat:42"

OUTCOMES = {
    "concurrent": ("answered", ["complete", "complete"]),
    "queue": ("answered", ["complete", "complete"]),
    "reject": ("nothing to do: RunRejectedError", ["complete", "error"]),
    "steer": ("nothing to do: RunSteeredError", ["complete", "cancelled"]),
    "interrupt": ("answered", ["cancelled", "complete"]),
}


def answer_of_the_page() -> Callable[..., Awaitable[str]]:
    scope: dict[str, Any] = {}
    exec(compile(PAGE.files()["agent.py"], "agent.py", "exec"), scope)  # noqa: S102 - the page is ours
    return scope["answer"]


def test_the_page_lists_each_policy() -> None:
    assert re.findall(r'^\| `"(\w+)"` \| ', TEXT, re.MULTILINE) == list(get_args(ConcurrencyPolicy))
    assert set(OUTCOMES) == set(get_args(ConcurrencyPolicy))


@pytest.mark.parametrize("concurrency", OUTCOMES)
async def test_the_agent_of_the_page(concurrency: ConcurrencyPolicy) -> None:
    hub, answer = MemoryHub(), answer_of_the_page()
    source = Gated("first")
    outcomes: dict[str, str] = {}

    def model(messages: list[UIMessage]) -> AsyncIterator[UIMessageChunk]:
        return source.chunks() if len(messages) == 1 else stream(chunks_of("second"))

    with anyio.fail_after(20):
        async with ClientSession(hub.client("alice"), NAME, codec=UIMessageCodec()) as alice:
            alice.on_error(lambda _: None)
            async with anyio.create_task_group() as tasks:

                async def serve(text: str) -> None:
                    asked = await alice.view.send(said(text))
                    outcomes[text] = await answer(
                        hub.client("agent"), asked.to_invocation(), model, concurrency
                    )

                tasks.start_soon(serve, "one")
                await source.reached.wait()
                tasks.start_soon(serve, "two")
                while len(alice.view.runs()) < 2:
                    await hub.settle()
                await hub.settle()
                source.gate.set()
            await hub.settle()
            expected, statuses = OUTCOMES[concurrency]
            assert outcomes["one"] == "answered"
            assert outcomes["two"].startswith(expected)
            assert [info.status for info in alice.view.runs()] == statuses
            assert ("second" in texts(alice.view.messages)) == (concurrency != "reject")


async def test_an_invocation_that_arrives_twice() -> None:
    hub, answer = MemoryHub(), answer_of_the_page()

    def model(_: list[UIMessage]) -> AsyncIterator[UIMessageChunk]:
        return stream(chunks_of("hello"))

    with anyio.fail_after(20):
        async with ClientSession(hub.client("alice"), NAME, codec=UIMessageCodec()) as alice:
            asked = await alice.view.send(said("hi"))
            outcomes = [
                await answer(
                    hub.client("agent"),
                    asked.to_invocation(),
                    model,
                    "concurrent",
                )
                for _ in range(2)
            ]
            await hub.settle()
            assert outcomes == [
                "answered",
                f"nothing to do: DuplicateInvocationError, see run {asked.run_id}",
            ]
            assert texts(alice.view.messages) == ["hi", "hello"]
