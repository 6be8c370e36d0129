"""HAIP clients in conversations with agents and clients of either language, over the local server."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from ably import AblyRealtime
from ably_ai_transport_haip import HaipClient
from ably_ai_transport_haip.gateway import HaipGateway, UIMessages
from ably_ai_transport_haip.server import JwtAuthenticator

from ably_ai_transport import Invocation
from ably_ai_transport.local.web.listener import WebListener
from integration_tests import streams
from integration_tests.js_process import Json
from integration_tests.stage import Stage, texts
from integration_tests.streams import answer_program
from integration_tests.test_tools import asking, tool_call, tool_part
from tests.support.haip_stand import SECRET, Inbox, Stand
from tests.support.tcp_proxy import tcp_proxy


class Bridge:
    """A gateway whose agent is called by the test."""

    def __init__(
        self, stage: Stage, invocations: "anyio.abc.ObjectReceiveStream[Json]", stand: Stand
    ) -> None:
        self.stage = stage
        self._invocations = invocations
        self._stand = stand

    def client(self, who: str = "hanna") -> HaipClient:
        return self._stand.client(who=who)

    async def invocation(self) -> Json:
        """Return what the agent is to be called with."""
        with anyio.fail_after(20):
            return await self._invocations.receive()


@asynccontextmanager
async def bridged(stage: Stage) -> AsyncGenerator[Bridge]:
    called, invocations = anyio.create_memory_object_stream[Json](10)

    async def invoke(invocation: Invocation) -> None:
        await called.send(dict(invocation.to_json()))

    @asynccontextmanager
    async def connect(client_id: str) -> AsyncGenerator[AblyRealtime]:
        options = stage.server.python_options(client_id, use_binary_protocol=stage.binary)
        client = AblyRealtime(**options)
        try:
            yield client
        finally:
            await client.close()

    gateway = HaipGateway(
        connect,
        UIMessages(),
        JwtAuthenticator(SECRET),
        invoke,
        channel_of=lambda _principal, _thread: stage.channel,
    )
    listener = WebListener(gateway, "127.0.0.1", 0)
    async with called, invocations, tcp_proxy(listener.port) as proxy:
        await listener.start()
        try:
            async with gateway:
                yield Bridge(stage, invocations, Stand(gateway.server, listener.port, proxy))
        finally:
            await listener.stop()


async def test_everybody_sees_one_conversation(stage: Stage) -> None:
    async with (
        bridged(stage) as bridge,
        stage.agent() as agent,
        stage.client() as alice,
        bridge.client() as hanna,
    ):
        inbox = Inbox(hanna)
        await hanna.start_run("any")
        await hanna.send_text_message("USER", "Hello from HAIP")
        served = await agent.serve(await bridge.invocation(), streams.reply("Hello, Hanna. 世界"))
        await alice.wait_for(ended=served["runId"])
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.text() == "Hello, Hanna. 世界"
        assert texts(await alice.messages()) == ["Hello from HAIP", "Hello, Hanna. 世界"]

        run = await alice.send("And hello from Ably")
        served = await agent.serve(run.invocation, streams.reply("Hello, Alice."))
        await alice.wait_for(ended=served["runId"])
        await inbox.until(2, "RUN_FINISHED")
        assert inbox.texts() == ["Hello, Hanna. 世界", "And hello from Ably", "Hello, Alice."]
        assert inbox.errors == []


async def test_a_haip_client_answers_what_an_agent_asks(stage: Stage) -> None:
    async with (
        bridged(stage) as bridge,
        stage.agent() as agent,
        stage.client() as alice,
        bridge.client() as hanna,
    ):
        inbox = Inbox(hanna)
        run_id = await hanna.start_run("any")
        await hanna.send_text_message("USER", "How is the weather?")
        program = asking(tool_call("weather", "call-1", {"city": "Lisboa"}))
        await (await agent.start_serving(await bridge.invocation(), program)).result()
        [call] = await inbox.until(1, "TOOL_CALL")
        assert call.payload["params"] == {"city": "Lisboa"}
        await hanna.complete_tool("USER", str(call.payload["call_id"]), "OK", {"degrees": 21})
        served = await agent.serve(await bridge.invocation(), streams.reply("21 degrees"))
        await alice.wait_for(ended=served["runId"])
        [finished] = await inbox.until(1, "RUN_FINISHED")
        assert finished.envelope.run_id == run_id
        assert inbox.text() == "21 degrees"
        part = tool_part(await alice.show(), "call-1")
        assert (part["state"], part["output"]) == ("output-available", {"degrees": 21})


async def test_a_haip_client_cancels_and_hears_what_was_said_before(stage: Stage) -> None:
    deltas = streams.long_deltas(40)
    script = streams.text_stream([*deltas[:20], {"gate": "middle"}, *deltas[20:]])
    async with (
        bridged(stage) as bridge,
        stage.agent() as agent,
        stage.client() as alice,
        bridge.client() as hanna,
    ):
        inbox = Inbox(hanna)
        run = await alice.send("Tell me a story")
        serving = await agent.start_serving(run.invocation, answer_program(script))
        await agent.at_gate("middle")
        # Hanna comes in the middle of it.
        await hanna.start_run("any")
        await inbox.until(2, "MESSAGE_PART")
        assert inbox.text() == "Tell me a story" + "".join(deltas[:20])
        [theirs] = [message for message in inbox.of("RUN_STARTED") if message.payload.get("metadata")]
        await hanna.cancel_run(str(theirs.envelope.run_id))
        await agent.heard_cancel()
        await agent.open("middle")
        result = await serving.result()
        await alice.wait_for(ended=result["runId"])
        [finished] = await inbox.until(1, "RUN_FINISHED")
        assert finished.payload["status"] == "CANCELLED"


async def test_a_haip_client_approves_what_an_agent_asks_about(stage: Stage) -> None:
    request = {"type": "tool-approval-request", "approvalId": "approval-1", "toolCallId": "call-1"}
    called = tool_call("rm", "call-1", {"path": "leftovers"})
    async with (
        bridged(stage) as bridge,
        stage.agent() as agent,
        stage.client() as alice,
        bridge.client() as hanna,
    ):
        inbox = Inbox(hanna)
        run_id = await hanna.start_run("any")
        await hanna.send_text_message("USER", "Clean up")
        program = asking([*called[:-2], request, *called[-2:]])
        await (await agent.start_serving(await bridge.invocation(), program)).result()
        [asked] = await inbox.until(1, "TOOL_UPDATE")
        assert asked.payload["partial"] == {"approval": {"id": "approval-1"}}
        call_id = str(asked.payload["call_id"])
        # A client that answers OK to every call approves nothing.
        await hanna.complete_tool("USER", call_id, "OK", {"removed": True})
        await inbox.until(1, "ERROR")
        assert tool_part(await alice.show(), "call-1")["state"] == "approval-requested"
        decision = {"approval": {"id": "approval-1", "approved": True, "reason": "go ahead"}}
        await hanna.complete_tool("USER", call_id, "OK", decision)
        output = {"type": "tool-output-available", "toolCallId": "call-1", "output": "removed"}
        script = [{"type": "start"}, output, *streams.reply("done")[1:]]
        answered = await agent.serve(await bridge.invocation(), script)
        approved = tool_part({"messages": answered["conversation"]}, "call-1")
        assert approved["approval"] == {"id": "approval-1", "approved": True, "reason": "go ahead"}
        [finished] = await inbox.until(1, "RUN_FINISHED")
        assert finished.envelope.run_id == run_id
        [done] = inbox.of("TOOL_DONE")
        assert (done.payload["call_id"], done.payload["result"]) == (call_id, "removed")


async def test_a_haip_client_cancels_before_the_agent_comes(stage: Stage) -> None:
    # The agent waits for the cancel before it tells its story.
    load, start, *rest = answer_program(streams.reply("Once upon a time"))
    program = [load, start, {"do": "gate", "name": "begin"}, *rest]
    async with bridged(stage) as bridge, stage.client() as alice, bridge.client() as hanna:
        inbox = Inbox(hanna)
        run_id = await hanna.start_run("any")
        await hanna.send_text_message("USER", "Tell me a story")
        invocation = await bridge.invocation()
        await hanna.cancel_run(run_id)
        [finished] = await inbox.until(1, "RUN_FINISHED")
        assert (finished.envelope.run_id, finished.payload["status"]) == (run_id, "CANCELLED")
        # The agent comes when the cancel has passed, and still does not tell its story.
        async with stage.agent() as agent:
            serving = await agent.start_serving(invocation, program)
            await agent.heard_cancel()
            await agent.open("begin")
            result = await serving.result()
            await alice.wait_for(ended=result["runId"])
            [run] = (await alice.show())["runs"]
            assert run["status"] == "cancelled"
