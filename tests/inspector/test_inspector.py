"""Tests of the inspector: the channels, frames and conversations on its page, and access to it."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio
import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from ably_ai_transport import AgentSession, ClientSession
from ably_ai_transport.inspector import Inspector
from ably_ai_transport.inspector.watcher import KEPT, KEPT_CHANNELS, SHOWN_TEXT, FrameLog
from ably_ai_transport.local import LocalServer
from ably_ai_transport.testing.plugin import AblyClientFactory
from tests.session.stage import CODEC, NAME, reply, said, stream

Json = dict[str, Any]


@pytest.fixture
async def page(ably_server: LocalServer) -> AsyncIterator[Inspector]:
    async with Inspector(ably_server) as inspector:
        yield inspector


class Page:
    """The state of the page: the news, merged so that newer values win, and the frames in order."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.news: Json = {}
        self.frames: list[Json] = []

    @property
    def conversation(self) -> Json:
        return cast("Json | None", self.news.get("conversation")) or {}

    async def choose(self, channel: object) -> None:
        await self._socket.send(json.dumps({"channel": channel}))

    async def say(self, text: str | bytes) -> None:
        await self._socket.send(text)

    async def read(self) -> None:
        told = json.loads(await self._socket.recv())
        self.frames += told.pop("frames", [])
        self.news |= told

    async def nodes(self, number: int) -> list[Json]:
        """Read until the conversation has so many nodes, and the last run has ended."""
        with anyio.fail_after(10):
            while True:
                nodes: list[Json] = self.conversation.get("nodes", [])
                if len(nodes) == number and nodes[-1].get("status") in {"complete", "suspended"}:
                    return nodes
                await self.read()


@asynccontextmanager
async def opened(inspector: Inspector, **headers: str) -> AsyncGenerator[Page]:
    address = inspector.url.replace("http:", "ws:") + "news"
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        yield Page(socket)


async def greet(ably_client: AblyClientFactory) -> None:
    channel = cast("Any", ably_client("alice")).channels.get("plain")
    await channel.publish("greeting", "hello")


async def test_a_conversation_is_drawn_with_its_branches_runs_and_steps(
    page: Inspector, ably_client: AblyClientFactory
) -> None:
    async with (
        opened(page) as reader,
        ClientSession(ably_client("alice"), NAME, codec=CODEC) as alice,
        AgentSession(ably_client("agent"), NAME, codec=CODEC) as agent,
    ):
        first = await alice.view.send(said("Plan a trip"))
        async with agent.create_run(first.to_invocation()) as run:
            await run.pipe(stream(reply("The ", "castle.")))
        await first.ended
        again = await alice.view.regenerate(alice.view.messages[1].codec_message_id)
        async with agent.create_run(again.to_invocation()) as run:
            async with run.create_step() as step:
                await step.pipe(stream(reply("Not this.")))
                await step.end("failed")
            async with run.create_step() as step:
                await step.pipe(stream(reply("The river.")))
        await again.ended

        await reader.choose(NAME)
        asked, castle, river = await reader.nodes(3)

    assert (asked["kind"], asked["parent"], asked["visible"]) == ("input", None, True)
    assert castle["parent"] == river["parent"] == asked["key"]
    assert (castle["visible"], river["visible"]) == (False, True)
    assert castle["alternatives"] == river["alternatives"] == 2
    assert river["regenerates"] == castle["messages"][0]["id"]
    assert [(step["status"], step["attempts"]) for step in river["steps"]] == [("complete", 2)]
    texts = [part["text"] for part in river["messages"][-1]["message"]["parts"] if part["type"] == "text"]
    assert texts == ["The river."]
    assert "Not this." not in json.dumps(asked)


async def test_frames_and_channels_are_told_as_they_pass_and_the_inspectors_own_are_not(
    page: Inspector, ably_client: AblyClientFactory
) -> None:
    async with opened(page) as reader, ClientSession(ably_client("alice"), NAME, codec=CODEC) as alice:
        await reader.choose(NAME)
        await alice.view.send(said("<script>alert(1)</script>"))
        with anyio.fail_after(10):
            while not any("<script>" in frame["summary"] for frame in reader.frames):
                await reader.read()
    kinds = [(frame["direction"], frame["kind"]) for frame in reader.frames]
    assert kinds.index(("c2s", "ATTACH")) < kinds.index(("s2c", "ATTACHED")) < kinds.index(("c2s", "MESSAGE"))
    assert "inspector" not in {frame["connection"] for frame in reader.frames}
    numbers = [frame["n"] for frame in reader.frames]
    assert numbers == sorted(set(numbers))
    [channel] = reader.news["channels"]
    assert (channel["name"], channel["isSession"]) == (NAME, True)
    assert channel["adapter"] == CODEC.adapter_tag


async def test_a_channel_without_a_session_says_so(page: Inspector, ably_client: AblyClientFactory) -> None:
    await greet(ably_client)
    async with opened(page) as reader:
        await reader.choose("plain")
        with anyio.fail_after(10):
            while not reader.conversation.get("error"):
                await reader.read()
    assert "no session here" in reader.conversation["error"]


@pytest.mark.parametrize("words", ["", "{", "[]", '{"channel": 7}', b"\x00\xff"], ids=repr)
async def test_a_page_that_talks_nonsense_is_still_told_the_news(
    page: Inspector, ably_client: AblyClientFactory, words: str | bytes
) -> None:
    async with opened(page) as reader:
        await reader.say(words)
        await greet(ably_client)
        with anyio.fail_after(10):
            while not reader.frames:
                await reader.read()


async def test_the_page_runs_nothing_but_its_own(page: Inspector) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(page.url)
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    # All that comes from the server is set as text: the page has no other way to write itself.
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in answer.text


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}], ids=str
)
async def test_pages_of_others_cannot_read_the_news(page: Inspector, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus):
        async with opened(page, **headers):
            pass


async def test_the_own_page_can(page: Inspector, ably_client: AblyClientFactory) -> None:
    async with opened(page, Origin=page.url.rstrip("/")) as reader:
        await reader.read()
    assert reader.news["stats"]["connections"] == 0


def test_what_is_kept_is_bounded() -> None:
    log = FrameLog(frozenset())
    for number in range(2 * KEPT_CHANNELS):
        message = {"name": "x", "data": "y" * (SHOWN_TEXT + number)}
        log.take("c2s", "alice", {"action": 15, "channel": f"c{number}", "messages": [message]})
    assert len(log.since(0)) == KEPT
    assert (log.last, log.since(log.last - 1)[0]["n"]) == (2 * KEPT_CHANNELS, 2 * KEPT_CHANNELS)
    assert list(log.channels) == [f"c{number}" for number in range(KEPT_CHANNELS, 2 * KEPT_CHANNELS)]
    [message] = log.since(log.last - 1)[0]["frame"]["messages"]
    assert len(message["data"]) < SHOWN_TEXT + 40


@pytest.mark.parametrize(
    "frame",
    [
        {
            "action": 15,
            "channel": "c",
            "messages": ["x", None, {"extras": "x"}, {"extras": {"ai": {"codec": 1}}}],
        },
        {"action": 15, "channel": "c", "messages": {"name": "x"}},
        {"action": 15, "channel": "c", "messages": [{"extras": {"n": float("nan"), "m": float("inf")}}]},
        {"action": 10, "channel": "c", "params": "x"},
    ],
)
def test_frames_of_any_content_are_shown(frame: dict[str, object]) -> None:
    log = FrameLog(frozenset())
    log.take("c2s", "alice", frame)
    json.dumps(log.since(0), allow_nan=False)


def test_deep_values_are_cut() -> None:
    log = FrameLog(frozenset())
    deep: object = "x"
    for _ in range(5000):
        deep = [deep]
    log.take("c2s", "alice", {"action": 15, "channel": "c", "messages": [{"extras": deep}]})
    assert "…" in json.dumps(log.since(0), ensure_ascii=False)
