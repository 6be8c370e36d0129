"""An agent is killed in the middle of a step; another process takes the run over and tries the step again."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

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
        options = json.dumps(stage.server.python_options(client_id="agent", use_binary_protocol=stage.binary))
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


async def _shows_one_answer(*clients: Client) -> None:
    shown = await agree(*clients)
    assert texts(shown["messages"]) == ["hi", "all is well"]
    [step] = shown["runs"][0]["steps"]
    assert (step["stepId"], step["status"], step["attemptCount"]) == ("work", "complete", 2)
