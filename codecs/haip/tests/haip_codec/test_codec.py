"""HAIP events on a session's channel."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from ably_ai_transport_haip.codec import HaipCodec, HaipEntry, HaipText, HaipToolState, haip_user_message
from ably_ai_transport_haip.gateway import HaipEventMessages, HaipGateway
from ably_ai_transport_haip.protocol import HaipEventType, HaipMessage, new_id
from ably_ai_transport_haip.server import JwtAuthenticator

from ably_ai_transport import AgentSession, AITransportError, ChannelClient, ClientSession, Invocation
from ably_ai_transport.codec import FoldMeta, OutputEvent
from ably_ai_transport.local.web.listener import WebListener
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import InvalidArgumentError
from tests.codec.fake_channel import FakeChannel
from tests.support.haip_stand import SECRET, Inbox, Stand
from tests.support.tcp_proxy import tcp_proxy

CODEC = HaipCodec()
TEXT, CALL = new_id(), new_id()


def event(kind: str, **payload: object) -> HaipMessage:
    return HaipMessage(HaipEventType(kind), payload)


async def stream(*events: HaipMessage) -> AsyncIterator[HaipMessage]:
    for one in events:
        yield one


REPLY = (
    event("MESSAGE_START", message_id=TEXT, author="agent", text="It is "),
    event("MESSAGE_PART", message_id=TEXT, text="sunny."),
    event("MESSAGE_END", message_id=TEXT, tokens="3"),
    event("TOOL_CALL", call_id=CALL, tool="weather", params={"city": "Porto", "days": 2}),
    event("TOOL_UPDATE", call_id=CALL, status="RUNNING", progress=50),
    event("TOOL_DONE", call_id=CALL, status="OK", result={"degrees": [21, 22.5, None]}),
)


async def converse(hub: MemoryHub, *events: HaipMessage) -> list[Any]:
    async with ClientSession(hub.client("alice"), "haip:1", codec=CODEC) as alice:
        run = await alice.view.send(CODEC.create_user_message(haip_user_message("Hello", author="alice")))
        async with (
            AgentSession(hub.client("agent"), "haip:1", codec=CODEC) as agent,
            agent.create_run(run.to_invocation()) as serving,
        ):
            piped = await serving.pipe(stream(*events))
            if piped.error is not None:
                raise piped.error
        await run.ended
        return [entry.message for entry in alice.view.messages]


async def test_an_encoder_counts_the_text_of_a_start_too() -> None:
    encoder = CODEC.create_encoder(FakeChannel())
    for one in REPLY:
        await encoder.publish_output(one)
    await encoder.close()
    assert encoder.stats.deltas == 2


async def test_a_conversation_of_texts_and_tools() -> None:
    hub = MemoryHub()
    asked, replied = await converse(hub, *REPLY)
    assert (asked.role, asked.text, asked.texts[0].author) == ("user", "Hello", "alice")
    # The text that the start of a message brought is there as well.
    assert replied.texts == (HaipText(TEXT, "It is sunny.", "agent", is_done=True),)
    [tool] = replied.tools
    assert (tool.call_id, tool.params, tool.status) == (CALL, {"city": "Porto", "days": 2}, "OK")
    assert (tool.progress, tool.result) == (50, {"degrees": [21, 22.5, None]})


async def test_who_comes_late_reads_the_same_but_for_progress() -> None:
    hub = MemoryHub()
    await converse(hub, *REPLY)
    async with ClientSession(hub.client("bob"), "haip:1", codec=CODEC) as bob:
        asked, replied = [entry.message for entry in await bob.view.load_all()]
    assert (asked.text, replied.text) == ("Hello", "It is sunny.")
    assert replied.tools == (
        HaipToolState(
            CALL, "weather", {"city": "Porto", "days": 2}, status="OK", result={"degrees": [21, 22.5, None]}
        ),
    )


async def test_what_a_session_says_itself_is_left_out_and_what_is_a_connections_is_refused() -> None:
    run = event("RUN_STARTED", run_id=new_id())
    [_, replied] = await converse(MemoryHub(), run, *REPLY[:3])
    assert replied.text == "It is sunny."
    with pytest.raises(AITransportError, match="PING"):
        await converse(MemoryHub(), event("PING", nonce="1"))


@pytest.mark.parametrize(
    "kind", ["MESSAGE_START", "MESSAGE_PART", "MESSAGE_END", "TOOL_CALL", "TOOL_LIST", "PING"]
)
@pytest.mark.parametrize("payload", [None, 5, "text", [["message_id", TEXT]]])
async def test_a_payload_that_is_no_object_is_refused(kind: str, payload: object) -> None:
    channel = FakeChannel()
    encoder = CODEC.create_encoder(channel)
    with pytest.raises(
        InvalidArgumentError, match=f"unable to publish {kind}; its payload is {type(payload).__name__}"
    ):
        await encoder.publish_output(HaipMessage(HaipEventType(kind), payload))  # type: ignore[arg-type]
    assert not channel.sent


async def test_a_call_is_answered_by_a_client_and_the_first_answer_counts() -> None:
    hub = MemoryHub()
    async with ClientSession(hub.client("alice"), "haip:1", codec=CODEC) as alice:
        run = await alice.view.send(CODEC.create_user_message(haip_user_message("Hello")))
        async with AgentSession(hub.client("agent"), "haip:1", codec=CODEC) as agent:
            async with agent.create_run(run.to_invocation()) as serving:
                await serving.pipe(stream(REPLY[3]))
                await serving.suspend()
            reply = alice.view.messages[-1].codec_message_id
            for result in ({"degrees": 21}, {"degrees": 30}):
                answer = CODEC.create_tool_result(reply, {"call_id": CALL, "result": result})
                again = await alice.view.send(answer, run_id=run.run_id)
            async with agent.create_run(again.to_invocation()) as serving:
                entries = [entry.message for entry in await serving.view.load_all()]
                assert entries[-1].tools[0].result == {"degrees": 21}


async def test_haip_clients_of_a_gateway_talk_with_an_agent_that_speaks_haip() -> None:
    hub = MemoryHub()
    sound = event(
        "AUDIO_CHUNK", message_id=new_id(), mime="audio/opus", data=base64.b64encode(b"abc").decode()
    )

    @asynccontextmanager
    async def connect(client_id: str) -> AsyncGenerator[ChannelClient]:
        yield hub.client(client_id)

    async with asyncio.TaskGroup() as tasks:

        async def work(invocation: Invocation) -> None:
            async with (
                AgentSession(hub.client("agent"), invocation.session_name, codec=CODEC) as session,
                session.create_run(invocation) as run,
            ):
                await run.pipe(stream(*REPLY, sound))

        async def invoke(invocation: Invocation) -> None:
            tasks.create_task(work(invocation))

        gateway = HaipGateway(connect, HaipEventMessages(), JwtAuthenticator(SECRET), invoke)
        listener = WebListener(gateway, "127.0.0.1", 0)
        async with gateway, tcp_proxy(listener.port) as proxy:
            await listener.start()
            async with Stand(gateway.server, listener.port, proxy).client() as client:
                inbox = Inbox(client)
                await client.start_run("1")
                await client.send_text_message("USER", "Hello")
                await inbox.until(1, "RUN_FINISHED")
                [chunk] = await inbox.until(1, "AUDIO_CHUNK")
            await listener.stop()
        assert inbox.text() == "It is sunny."
        [call], [done] = inbox.of("TOOL_CALL"), inbox.of("TOOL_DONE")
        assert call.payload == {"call_id": CALL, "tool": "weather", "params": {"city": "Porto", "days": 2}}
        assert done.payload["result"] == {"degrees": [21, 22.5, None]}
        assert chunk.binary == b"abc"


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: CODEC.create_user_message("Hello"), "str is no HaipEntry"),  # type: ignore[arg-type]
        (lambda: CODEC.create_user_message(HaipEntry("agent")), "its role is 'agent'"),
        (lambda: CODEC.create_user_message(HaipEntry("user")), "it has no text"),
        (lambda: CODEC.create_user_message(HaipEntry("user", ("Hello",))), "str is no HaipText"),  # type: ignore[arg-type]
        (
            lambda: CODEC.create_user_message(HaipEntry("user", (HaipText(TEXT, 5),))),  # type: ignore[arg-type]
            "text of a HaipText is int",
        ),
        (
            lambda: CODEC.create_user_message(HaipEntry("user", (HaipText(TEXT, "a", b"b"),))),  # type: ignore[arg-type]
            "author of a HaipText is bytes",
        ),
        (lambda: CODEC.create_tool_result("m", {"result": 1}), "unable to build tool result; call_id"),
        (lambda: CODEC.create_tool_result("m", {"call_id": ""}), "unable to build tool result; call_id"),
        (lambda: CODEC.create_tool_result_error("m", {"call_id": CALL}), "tool result error; message"),
    ],
)
def test_inputs_that_are_refused(build: Callable[[], object], said: str) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        build()


def test_events_of_other_implementations_are_tolerated() -> None:
    projection = CODEC.init()
    for kind, payload in (
        ("MESSAGE_START", {"message_id": TEXT}),
        ("MESSAGE_PART", {"message_id": TEXT, "text": None}),
        ("MESSAGE_PART", {}),
        ("TOOL_CALL", {"call_id": CALL}),
        ("TOOL_DONE", {"call_id": CALL, "status": "EXPLODED"}),
    ):
        projection = CODEC.fold(
            projection, OutputEvent(HaipMessage(HaipEventType(kind), payload)), FoldMeta("1", "m")
        )
    [message] = CODEC.get_messages(projection)
    assert message.message.text == ""
    assert message.message.tools[0].status == "ERROR"
