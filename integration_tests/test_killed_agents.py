"""An agent is killed in the middle of a step: another process takes the run over, or somebody ends it."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import anyio
from ably import AblyRealtime

from ably_ai_transport import ClientSession, ErrorCode
from ably_ai_transport.codec import LifecycleOnlyCodec
from integration_tests import node, streams
from integration_tests.js_peer import JsAgent
from integration_tests.js_process import Json
from integration_tests.peers import Client
from integration_tests.stage import Stage, agree, texts

RUN: Json = {"runId": "run-of-two", "invocationId": "invocation-1"}


@asynccontextmanager
async def dying_agent(stage: Stage, invocation: Json) -> AsyncGenerator[None]:
    """Serve an invocation in a process that is killed at the end, in the middle of its reply."""
    if stage.pairing.agent == "python":
        options = json.dumps(
            stage.server.python_options(
                client_id="agent",
                use_binary_protocol=stage.binary,
                transport_params={"remainPresentFor": "200"},
            )
        )
        command = [sys.executable, "-m", "integration_tests.victim", options, json.dumps(invocation)]
        process = await anyio.open_process(
            [*command, RUN["runId"], "work"], cwd=node.HERE.parent, stdout=None, stderr=subprocess.DEVNULL
        )
        async with process:
            yield
            process.kill()
            await process.wait()
        return
    chunks = streams.reply("what nobody shall remember")[:-3]
    program: list[Json] = [
        {"do": "load"},
        {"do": "start"},
        {"do": "step", "stepId": "work", "script": [*chunks, {"gate": "for ever"}]},
    ]
    agent = stage.agent()
    assert isinstance(agent, JsAgent)
    async with agent:
        await agent.start_serving(invocation, program, identity=RUN)
        yield
        await agent.kill()


async def test_a_step_is_tried_again_after_its_process_was_killed(stage: Stage) -> None:
    async with stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        async with dying_agent(stage, run.invocation):
            for client in (alice, bob):
                await client.wait_for(reply="what nobody shall ")
        assert [seen["status"] for seen in await alice.runs()] == ["active"]

        closing: list[Json] = [
            {"do": "load"},
            {"do": "start"},
            {"do": "step", "stepId": "work", "script": streams.reply("all is well")},
            {"do": "end", "reason": "complete"},
        ]
        async with stage.agent("agent-2") as second:
            identity = {**RUN, "invocationId": "invocation-2"}
            adopted = await second.start_serving(run.invocation, closing, adopt=True, identity=identity)
            await adopted.result()
        for client in (alice, bob):
            await client.wait_for(status="complete")
        await _shows_one_answer(alice, bob)
        async with stage.other("carol") as carol:
            await carol.load_all()
            await _shows_one_answer(alice, carol)


async def test_a_run_whose_agent_was_killed_is_ended_for_everybody(stage: Stage) -> None:
    options = stage.server.python_options(client_id="reaper", use_binary_protocol=stage.binary)
    janitor = AblyRealtime(**options)
    async with stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        async with dying_agent(stage, run.invocation):
            for client in (alice, bob):
                await client.wait_for(reply="what nobody shall ")
        try:
            session = ClientSession(janitor, stage.channel, codec=LifecycleOnlyCodec())
            async with session, anyio.create_task_group() as tasks:
                session.on_error(lambda _: None)
                # The npm package announces nothing: its runs are lost when they have been silent.
                silence = 0.5 if stage.pairing.agent == "js" else None
                tasks.start_soon(partial(session.reap, grace=0, max_silence=silence))
                for client in (alice, bob):
                    await client.wait_for(status="error")
                tasks.cancel_scope.cancel()
        finally:
            await janitor.close()
        shown = await agree(alice, bob)
        assert texts(shown["messages"]) == ["hi", "what nobody shall remember"]
        state = await run.state()
        assert state["status"] == "error"
        assert state["error"]["code"] == ErrorCode.AGENT_LOST
        assert "lost" in state["error"]["message"]
        # The conversation goes on, with an agent that sees how far the lost one came.
        run = await alice.send("and now?")
        async with stage.agent("agent-2") as second:
            result = await second.serve(run.invocation, streams.reply("all is well"))
        for client in (alice, bob):
            await client.wait_for(ended=result["runId"])
        await agree(alice, bob)


async def _shows_one_answer(*clients: Client) -> None:
    shown = await agree(*clients)
    assert texts(shown["messages"]) == ["hi", "all is well"]
    [step] = shown["runs"][0]["steps"]
    assert (step["stepId"], step["status"], step["attemptCount"]) == ("work", "complete", 2)
