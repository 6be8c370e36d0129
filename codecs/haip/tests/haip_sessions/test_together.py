"""Client and server over each transport: all operations of the client."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import anyio
import pytest
from ably_ai_transport_haip import (
    FlowControlConfig,
    HaipChannel,
    HaipClient,
    HaipClientConfig,
    HaipConnectionError,
    HaipMessage,
    HaipMessageOptions,
    HaipProtocolError,
    HaipTool,
    WebSocketTransport,
)
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.protocol import new_id
from ably_ai_transport_haip.server import HaipServerOptions, HaipServerSession, ServerTool, ToolCall
from ably_ai_transport_haip.utils import create_message, create_text_message

from tests.support.haip_stand import TRANSPORTS, Inbox, Stand, parrot, standing, token
from tests.support.haip_wire import schema_check

ADD_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
    "required": ["a", "b"],
}


async def add(call: ToolCall) -> object:
    await call.update(50, {"so_far": call.params["a"]})
    return {"sum": call.params["a"] + call.params["b"]}


async def forever(call: ToolCall) -> object:
    await call.update(1)
    await anyio.sleep_forever()


async def broken(call: ToolCall) -> object:
    raise ValueError(call.tool)


TOOLS = (
    ServerTool("add", add, "Adds two numbers", ADD_SCHEMA),
    ServerTool("forever", forever),
    ServerTool("broken", broken),
)


class Noting:
    """A transport that notes the text frames that pass, both ways."""

    def __init__(self, inner: WebSocketTransport, frames: list[str]) -> None:
        self._inner = inner
        self._frames = frames
        self.connect, self.disconnect, self.is_connected = inner.connect, inner.disconnect, inner.is_connected
        inner.on("message", frames.append)
        self.on: Any = inner.on

    async def send(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self._frames.append(data)
        await self._inner.send(data)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> TransportName:
    return request.param


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    async with standing(parrot, tools=TOOLS, options=HaipServerOptions(max_concurrent_runs=2)) as it:
        yield it


async def test_a_text_in_a_run(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        run_id = await client.start_run("chat:1", {"why": "test"})
        assert [run.id for run in client.get_active_runs()] == [run_id]
        await client.send_text_message("USER", "Hello, 世界", "alice", run_id, "chat:1")
        start, part, end = await inbox.until(3, "MESSAGE_START", "MESSAGE_PART", "MESSAGE_END")
        assert (start.payload["author"], part.payload["text"]) == ("parrot", "Hello, 世界")
        assert start.payload["message_id"] == part.payload["message_id"] == end.payload["message_id"]
        assert {m.envelope.run_id for m in (start, part, end)} == {run_id}
        assert {m.envelope.thread_id for m in (start, part, end)} == {"chat:1"}
        assert {m.envelope.session_id for m in (start, part, end)} == {client.session_id}
        await client.finish_run(run_id, "OK", "all said")
        run = client.get_run(run_id)
        assert run is not None
        assert (run.status, run.summary, run.thread_id) == ("FINISHED", "all said", "chat:1")
        assert inbox.errors == []


async def test_a_long_text_arrives_whole(stand: Stand, transport: TransportName) -> None:
    text = "".join(chr(97 + n % 26) for n in range(25_500))
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        await client.send_text_message("USER", text)
        await inbox.until(26, "MESSAGE_PART")
        assert inbox.text() == text


async def test_the_server_carries_out_tools(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        call_id = await client.call_tool("AGENT", "add", {"a": 2, "b": 3})
        update, done = await inbox.until(2, "TOOL_UPDATE", "TOOL_DONE")
        assert (update.payload["progress"], update.payload["partial"]) == (50, {"so_far": 2})
        assert done.payload == {"call_id": call_id, "status": "OK", "result": {"sum": 5}}

        await client.call_tool("AGENT", "broken")
        assert (await inbox.until(2, "TOOL_DONE"))[1].payload["status"] == "ERROR"

        await client.call_tool("AGENT", "add", {"a": "two"})
        [error] = await inbox.until(1, "ERROR")
        assert error.payload["code"] == "INVALID_MESSAGE"
        await client.call_tool("AGENT", "no such tool")
        assert (await inbox.until(2, "ERROR"))[1].payload["code"] == "TOOL_NOT_FOUND"

        await client.list_tools("AGENT", [])
        [listed] = await inbox.until(1, "TOOL_LIST")
        assert listed.payload["tools"] == [
            {"name": "add", "description": "Adds two numbers"},
            {"name": "forever"},
            {"name": "broken"},
        ]
        await client.get_tool_schema("AGENT", "add")
        [schema] = await inbox.until(1, "TOOL_SCHEMA")
        assert schema.payload == {"tool": "add", "schema": ADD_SCHEMA}


async def test_a_tool_is_cancelled(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        call_id = await client.call_tool("AGENT", "forever")
        await inbox.until(1, "TOOL_UPDATE")
        await client.cancel_tool("AGENT", call_id, "never mind")
        [done] = await inbox.until(1, "TOOL_DONE")
        assert done.payload["status"] == "CANCELLED"
        assert [m.payload["status"] for m in inbox.of("TOOL_UPDATE")] == ["RUNNING", "CANCELLING"]


async def test_the_client_offers_tools_and_answers_calls(transport: TransportName) -> None:
    seen: list[tuple[str, object]] = []

    async def ask(session: HaipServerSession) -> None:
        async for message in session.messages():
            match message.type:
                case "TOOL_LIST" | "TOOL_SCHEMA":
                    seen.append((message.type, dict(message.payload)))
                    if message.type == "TOOL_SCHEMA":
                        await session.call_tool("USER", "ask_human", {"question": "Go?"})
                case "TOOL_UPDATE" | "TOOL_DONE":
                    seen.append((message.type, message.payload["status"]))
                    if message.type == "TOOL_DONE":
                        await session.send_text_message("AGENT", f"You said {message.payload['result']}")
                case _:
                    pass

    async with standing(ask) as stand, stand.client(transport) as client:
        inbox = Inbox(client)
        tool = HaipTool("ask_human", "Asks a person", {"required": ["question"]})
        await client.list_tools("USER", [tool])
        [call] = await inbox.until(1, "TOOL_CALL")
        call_id = str(call.payload["call_id"])
        await client.update_tool("USER", call_id, "RUNNING", 10)
        await client.complete_tool("USER", call_id, "OK", "yes")
        await inbox.until(1, "MESSAGE_PART")
        assert inbox.text() == "You said yes"
    assert seen == [
        ("TOOL_LIST", {"tools": [{"name": "ask_human", "description": "Asks a person"}]}),
        ("TOOL_SCHEMA", {"tool": "ask_human", "schema": {"required": ["question"]}}),
        ("TOOL_UPDATE", "RUNNING"),
        ("TOOL_DONE", "OK"),
    ]


async def test_runs_are_limited_and_cancelled(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport, max_concurrent_runs=3) as client:
        inbox = Inbox(client)
        first, second, refused = [await client.start_run() for _ in range(3)]
        [error] = await inbox.until(1, "ERROR")
        assert error.payload["code"] == "RUN_LIMIT_EXCEEDED"
        # A run that the server refuses takes no place.
        assert [run.id for run in client.get_active_runs()] == [first, second]
        run = client.get_run(refused)
        assert run is not None
        assert run.status == "ERROR"
        await client.cancel_run(first)
        [ended] = await inbox.until(1, "RUN_FINISHED")
        assert (ended.envelope.run_id, ended.payload) == (first, {"status": "CANCELLED"})
        await client.cancel_run(first)
        await client.send_text_message("USER", "still here")
        await inbox.until(1, "MESSAGE_PART")
        assert len(inbox.of("RUN_FINISHED")) == 1
        run = client.get_run(first)
        assert run is not None
        assert run.status == "CANCELLED"


async def test_the_client_keeps_its_own_limit_of_runs(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport, max_concurrent_runs=1) as client:
        run_id = await client.start_run()
        with pytest.raises(HaipProtocolError, match="RUN_LIMIT_EXCEEDED"):
            await client.start_run()
        await client.finish_run(run_id)
        await client.start_run()


async def test_sound_travels_both_ways(stand: Stand, transport: TransportName) -> None:
    sound = bytes(range(256)) * 40
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        message_id = "00000000-0000-4000-8000-000000000001"
        await client.send_audio_chunk("AUDIO_IN", message_id, "audio/opus", sound, 20)
        [chunk] = await inbox.until(1, "AUDIO_CHUNK")
        assert chunk.envelope.channel == HaipChannel.AUDIO_OUT
        assert (chunk.binary, chunk.payload["message_id"]) == (sound, message_id)


async def test_bytes_that_belong_to_no_message(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        await client.send_binary(b"\x00\xff raw")
        assert await inbox.until_binary(1) == [b"\x00\xff raw"]


async def test_a_paused_channel_is_silent_until_it_is_resumed(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        await client.pause_channel("AGENT")
        await client.send_text_message("USER", "anybody there?")
        # The result comes later than the reply would have come, so the reply is held back.
        call_id = await client.call_tool("SYSTEM", "add", {"a": 1, "b": 1})
        done = await inbox.until(1, "TOOL_DONE")
        assert done[0].payload["call_id"] == call_id
        assert inbox.of("MESSAGE_PART") == []
        await client.resume_channel("AGENT")
        await inbox.until(1, "MESSAGE_PART")
        assert inbox.text() == "anybody there?"


async def test_a_replay_hands_nothing_out_twice(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        await client.send_text_message("USER", "once")
        await inbox.until(1, "MESSAGE_END")
        await client.request_replay("1")
        await client.send_text_message("USER", "twice")
        await inbox.until(2, "MESSAGE_END")
        assert inbox.text() == "oncetwice"
        assert inbox.errors == []


async def test_a_thousand_texts_at_once(stand: Stand, transport: TransportName) -> None:
    number = 1000
    async with stand.client(transport) as client:
        inbox = Inbox(client)
        async with asyncio.TaskGroup() as tasks:
            for n in range(number):
                tasks.create_task(client.send_text_message("USER", str(n)))
        await inbox.until(number, "MESSAGE_END")
        said = [str(message.payload["text"]) for message in inbox.of("MESSAGE_PART")]
        assert sorted(said, key=int) == [str(n) for n in range(number)]
        assert inbox.errors == []
        messages, size = client.get_connection_state().credits, client.get_connection_state().byte_credits
        assert min(*messages.values(), *size.values()) >= 0


async def test_all_frames_fit_the_schema(stand: Stand) -> None:
    check = schema_check()
    if check is None:
        pytest.skip("the published schema is not at hand")
    frames: list[str] = []
    url = f"ws://127.0.0.1:{stand.port}/"
    config = HaipClientConfig(url, token(), flow_control=FlowControlConfig(on_exhausted="wait"))
    async with HaipClient(config, transport=Noting(WebSocketTransport(url, token()), frames)) as noting:
        inbox = Inbox(noting)
        run_id = await noting.start_run("chat:1", {"why": "test"})
        await noting.send_text_message("USER", "Hello", "alice", run_id, "chat:1")
        await noting.call_tool("AGENT", "add", {"a": 2, "b": 3}, run_id)
        await noting.call_tool("AGENT", "no such tool")
        call_id = await noting.call_tool("AGENT", "forever")
        await inbox.until(2, "TOOL_UPDATE")
        await noting.cancel_tool("AGENT", call_id, "never mind")
        await noting.update_tool("USER", call_id, "RUNNING", 10, {"half": 1})
        await noting.list_tools("USER", [HaipTool("ask", "Asks", {"type": "object"})])
        await noting.get_tool_schema("AGENT", "add")
        await noting.send_audio_chunk("AUDIO_IN", new_id(), "audio/opus", b"abc", 20, run_id)
        await noting.send_flow_update("USER", 10, 0)
        await noting.pause_channel("AGENT")
        await noting.resume_channel("AGENT")
        await noting.request_replay("1", "2")
        await noting.finish_run(run_id, "OK", "done")
        await noting.cancel_run(await noting.start_run())
        await inbox.until(2, "TOOL_DONE")
        await inbox.until(1, "AUDIO_CHUNK")
    kinds = set[str]()
    for text in frames:
        frame = json.loads(text)
        kinds.add(frame["type"])
        check(frame)
    assert len(kinds) > 18


@pytest.mark.parametrize("on_exhausted", ["wait", "queue"])
async def test_without_any_credits_at_first_nothing_is_stuck(stand: Stand, on_exhausted: str) -> None:
    flow = FlowControlConfig(initial_credits=0, max_credits=3, on_exhausted=cast("Any", on_exhausted))
    async with stand.client(flow_control=flow) as client:
        inbox = Inbox(client)
        for n in range(10):
            await client.send_text_message("USER", str(n))
        await inbox.until(10, "MESSAGE_END")
        assert inbox.text() == "0123456789"
        assert 0 <= client.get_connection_state().credits["USER"] <= 3


async def test_a_message_with_options() -> None:
    heard: list[HaipMessage] = []

    async def listen(session: HaipServerSession) -> None:
        async for message in session.messages():
            heard.append(message)
            if message.type == "MESSAGE_END":
                await session.send_text_message("AGENT", "heard")

    async with standing(listen) as stand, stand.client() as client:
        inbox = Inbox(client)
        run_id = await client.start_run("1")
        start = create_text_message("USER", "Hello")
        options = HaipMessageOptions(run_id=run_id, thread_id="2", pv=1, crit=True)
        await client.send_message(start, options)
        end = create_message("MESSAGE_END", {"message_id": start.payload["message_id"]}, start.envelope)
        await client.send_message(end, HaipMessageOptions(timeout=10))
        await inbox.until(1, "MESSAGE_PART")
    _, first, second = heard
    assert (first.envelope.run_id, first.envelope.thread_id, first.pv, first.crit) == (run_id, "2", 1, True)
    assert second.type == "MESSAGE_END"


async def test_a_message_that_waits_too_long() -> None:
    flow = FlowControlConfig(initial_credits=0, max_credits=1, on_exhausted="wait")

    async def mute(session: HaipServerSession) -> None:
        await session.pause_channel("USER")
        await anyio.sleep_forever()

    options = HaipServerOptions(close_timeout=0.05)
    async with standing(mute, options=options) as silent, silent.client(flow_control=flow) as client:
        inbox = Inbox(client)
        message = create_text_message("USER", "Hello")
        await client.start_run()
        await inbox.until(1, "RUN_STARTED")
        with pytest.raises(HaipConnectionError, match="TIMEOUT"):
            await client.send_message(message, HaipMessageOptions(timeout=0.05))
        assert client.is_connected()


async def test_state_and_figures(stand: Stand, transport: TransportName) -> None:
    client = stand.client(transport)
    assert not client.is_connected()
    before = client.get_connection_state()
    assert (before.connected, before.handshake_completed, before.last_ack) == (False, False, "")
    async with client:
        inbox = Inbox(client)
        await client.send_text_message("USER", "Hello")
        await inbox.until(1, "MESSAGE_END")
        state = client.get_connection_state()
        assert (state.connected, state.handshake_completed) == (True, True)
        assert int(state.last_ack) >= 3
        assert state.credits["USER"] < state.credits["AGENT"]
        figures = client.get_performance_metrics()
        assert figures.messages_sent >= 4
        assert figures.messages_received >= 4
        assert min(figures.bytes_sent, figures.bytes_received) > 400
        assert figures.connection_time > 0
    assert not client.is_connected()


async def test_messages_can_be_iterated_over(stand: Stand, transport: TransportName) -> None:
    async with stand.client(transport) as client:
        seen: list[str] = []

        async def read() -> None:
            async for message in client.messages():
                seen.append(message.type)
                if message.type == "MESSAGE_END":
                    return

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            await asyncio.sleep(0)
            await client.send_text_message("USER", "Hello")
        assert [kind for kind in seen if kind.startswith("MESSAGE")] == [
            "MESSAGE_START",
            "MESSAGE_PART",
            "MESSAGE_END",
        ]
