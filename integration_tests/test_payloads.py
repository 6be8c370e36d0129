"""Values larger than a message: Python shows the originals, JavaScript shows well-formed parts with URLs."""

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.request import url2pathname

import anyio
from ably import AblyRealtime
from ably_ai_transport_vercel import (
    UIAgentSession,
    UIClientSession,
    UIMessageChunk,
    UIMessageCodec,
    UIMessagePart,
    text_message,
)

from ably_ai_transport import AgentSession, ClientSession, Invocation
from ably_ai_transport.payloads import DirectoryPayloads
from integration_tests import streams
from integration_tests.engines.server import Server
from integration_tests.js_peer import JsAgent, JsClient
from integration_tests.js_process import TIMEOUT, Json
from integration_tests.stage import texts
from tests.session.stage import stream
from tests.support.showing import show_messages

CODEC = UIMessageCodec()
ROWS = [{"city": "Lisboa", "temperature": index / 3, "note": "ção"} for index in range(3000)]
IMAGE = "data:image/png;base64," + base64.b64encode(bytes(range(256)) * 1000).decode()
LONG = "Era uma vez. " * 8000

REPLY: list[UIMessageChunk] = [
    {"type": "start"},
    {"type": "start-step"},
    {"type": "tool-input-start", "toolCallId": "c1", "toolName": "rows"},
    {"type": "tool-input-available", "toolCallId": "c1", "toolName": "rows", "input": {"limit": 3000}},
    {"type": "tool-output-available", "toolCallId": "c1", "output": ROWS},
    {"type": "file", "mediaType": "image/png", "url": IMAGE},
    {"type": "data-table", "id": "t", "data": {"rows": ROWS[:1500]}},
    {"type": "text-start", "id": "t"},
    {"type": "text-delta", "id": "t", "delta": "here they are"},
    {"type": "text-end", "id": "t"},
    {"type": "finish-step"},
    {"type": "finish"},
]


@asynccontextmanager
async def python_client(
    server: Server, channel: str, client_id: str, payloads: DirectoryPayloads
) -> AsyncGenerator[UIClientSession]:
    ably = AblyRealtime(**server.python_options(client_id))
    async with ClientSession(ably, channel, codec=CODEC, payloads=payloads) as session:
        yield session
    await ably.close()


@asynccontextmanager
async def python_agent(
    server: Server, channel: str, payloads: DirectoryPayloads
) -> AsyncGenerator[UIAgentSession]:
    ably = AblyRealtime(**server.python_options("agent"))
    async with AgentSession(ably, channel, codec=CODEC, payloads=payloads) as session:
        yield session
    await ably.close()


def parts_of(messages: list[Json]) -> dict[str, Json]:
    """Return the parts of the newest message by type."""
    return {part["type"]: part for part in messages[-1]["message"]["parts"]}


def content_at(url: str) -> bytes:
    return Path(url2pathname(url.removeprefix("file:"))).read_bytes()


async def shows(session: UIClientSession, expected: list[Json]) -> None:
    """Wait until a session shows messages."""
    with anyio.fail_after(TIMEOUT):
        async for messages in session.view.updates():
            if show_messages(messages) == expected:
                return


async def test_a_reply_with_large_values(server: Server, channel: str, tmp_path: Path) -> None:
    payloads = DirectoryPayloads(tmp_path)
    async with (
        JsClient(server, client_id="alice", channel=channel) as alice,
        python_client(server, channel, "bob", payloads) as bob,
        python_agent(server, channel, payloads) as agent,
    ):
        asked = await alice.send("all rows, please")
        async with agent.create_run(Invocation.from_json(asked.invocation)) as run:
            await run.pipe(stream(REPLY), raise_on_error=True)
        await alice.wait_for(status="complete", reply="here they are")

        async with python_client(server, channel, "carol", payloads) as carol:
            originals = show_messages(await carol.view.load_all())
        await shows(bob, originals)
        parts = parts_of(originals)
        assert parts["tool-rows"]["output"] == ROWS
        assert parts["file"]["url"] == IMAGE
        assert parts["data-table"]["data"] == {"rows": ROWS[:1500]}

        live = await alice.messages()
        async with JsClient(server, client_id="dave", channel=channel) as dave:
            assert await dave.load_all() == live
        seen = parts_of(live)
        # All but the large values is the same.
        assert seen.keys() == parts.keys()
        for kind, key in (("tool-rows", "output"), ("file", "url"), ("data-table", "data")):
            assert seen[kind] == {**parts[kind], key: seen[kind][key]}
        output = seen["tool-rows"]["output"]
        assert output["mediaType"] == "application/json"
        assert json.loads(content_at(output["$payload"])) == ROWS
        assert output["size"] == len(content_at(output["$payload"]))
        assert content_at(seen["file"]["url"]) == bytes(range(256)) * 1000


async def test_a_question_with_large_parts(server: Server, channel: str, tmp_path: Path) -> None:
    payloads = DirectoryPayloads(tmp_path)
    file: UIMessagePart = {"type": "file", "mediaType": "image/png", "url": IMAGE}
    message = text_message(LONG, message_id="q1", parts=[file])
    async with (
        JsAgent(server) as js_agent,
        JsClient(server, client_id="bob", channel=channel) as bob,
        python_client(server, channel, "alice", payloads) as alice,
        python_agent(server, channel, payloads) as agent,
    ):
        asked = await alice.view.send(CODEC.create_user_message(message))
        async with agent.create_run(asked.to_invocation()) as run:
            assert [one.message for one in await run.view.load_all()] == [message]
            await run.pipe(stream(REPLY[-5:]), raise_on_error=True)
        await bob.wait_for(messages=2, status="complete")
        [question, _] = await bob.messages()
        text, shown = question["message"]["parts"]
        assert content_at(text["text"]).decode() == LONG
        assert shown == {**file, "url": shown["url"]}
        assert content_at(shown["url"]) == bytes(range(256)) * 1000

        # An agent in JavaScript answers in the same conversation, and reads the URLs.
        again = await alice.view.send(CODEC.create_user_message(text_message("again")))
        served = await js_agent.serve(again.to_invocation().to_json(), streams.reply("here is more"))
        with anyio.fail_after(TIMEOUT):
            assert await again.ended == "complete"
        assert served["status"] == "complete"
        await shows(alice, show_messages(await alice.view.load_all()))
        assert alice.view.messages[0].message == message
        assert texts(show_messages(alice.view.messages))[-1] == "here is more"
