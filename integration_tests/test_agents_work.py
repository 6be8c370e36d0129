"""Tests of work within a run: steering, retried steps, runs that another process continues."""

from integration_tests import streams
from integration_tests.js_process import Json
from integration_tests.stage import Stage, agree, texts

LOAD_AND_START: list[Json] = [{"do": "load"}, {"do": "start"}]


async def test_a_run_takes_in_what_is_said_meanwhile(stage: Stage) -> None:
    passes = [streams.text_stream(["first pass", {"gate": "pass"}]), streams.reply("second pass")]
    program = [*LOAD_AND_START, {"do": "respond", "scripts": passes}, {"do": "end"}]
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("write a poem")
        serving = await agent.start_serving(run.invocation, program)
        await agent.at_gate("pass")
        await run.started()
        steer = await run.steer("make it rhyme")
        await agent.steered()
        await agent.open("pass")
        result = await serving.result()
        for client in (alice, bob):
            await client.wait_for(status="complete")

        assert result["passes"] == 2
        assert (await steer.outcome())["consumed"] is True
        shown = await agree(alice, bob)
        assert texts(shown["messages"]) == ["write a poem", "first pass", "make it rhyme", "second pass"]


async def test_a_message_that_comes_too_late_is_not_taken_in(stage: Stage) -> None:
    script = streams.text_stream(["only pass", {"gate": "pass"}])
    program = [*LOAD_AND_START, {"do": "pipe", "script": script}, {"do": "end"}]
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("write a poem")
        serving = await agent.start_serving(run.invocation, program)
        await agent.at_gate("pass")
        steer = await run.steer("make it rhyme")
        await agent.steered()
        await agent.open("pass")
        await serving.result()
        for client in (alice, bob):
            await client.wait_for(status="complete")

        outcome = await steer.outcome()
        assert outcome == {"consumed": False, "runTerminalReason": "complete"}
        await agree(alice, bob)


async def test_a_step_that_is_tried_again_replaces_what_it_wrote(stage: Stage) -> None:
    failing = streams.text_stream(["nonsense", {"throw": "model overloaded"}])
    program = [
        *LOAD_AND_START,
        {"do": "step", "stepId": "answer", "script": failing},
        {"do": "step", "stepId": "answer", "script": streams.reply("sense")},
        {"do": "step", "stepId": "sign", "script": streams.reply("yours, agent")},
        {"do": "end"},
    ]
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        await (await agent.start_serving(run.invocation, program)).result()
        for client in (alice, bob):
            await client.wait_for(status="complete")

        shown = await agree(alice, bob)
        assert texts(shown["messages"]) == ["hi", "sense", "yours, agent"]
        [seen] = shown["runs"]
        assert [(step["stepId"], step["status"], step["attemptCount"]) for step in seen["steps"]] == [
            ("answer", "complete", 2),
            ("sign", "complete", 1),
        ]
        async with stage.other("carol") as carol:
            await carol.load_all()
            assert await carol.messages() == shown["messages"]
            assert await carol.runs() == shown["runs"]


async def test_a_step_sends_single_outputs(stage: Stage) -> None:
    sends = [{"type": "data-progress", "data": {"percent": 50}}]
    program = [
        *LOAD_AND_START,
        {"do": "step", "sends": sends, "script": streams.reply("done")},
        {"do": "end"},
    ]
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        await (await agent.start_serving(run.invocation, program)).result()
        for client in (alice, bob):
            await client.wait_for(status="complete")

        shown = await agree(alice, bob)
        assert len(shown["messages"]) == 3
        assert shown["messages"][1]["message"]["parts"][-1]["data"] == {"percent": 50}


async def test_another_process_goes_on_with_a_run(stage: Stage) -> None:
    identity = {"runId": "run-of-two", "invocationId": "invocation-1"}
    opening = [
        *LOAD_AND_START,
        {"do": "step", "stepId": "a", "script": streams.reply("one")},
        {"do": "detach"},
    ]
    closing = [
        {"do": "load"},
        {"do": "start"},
        {"do": "step", "stepId": "b", "script": streams.reply("two")},
        {"do": "end", "reason": "complete"},
    ]
    async with stage.agent() as first, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        await (await first.start_serving(run.invocation, opening, identity=identity)).result()
        await alice.wait_for(reply="one")
        assert [seen["status"] for seen in await alice.runs()] == ["active"]

        async with stage.agent("agent-2") as second:
            adopted = await second.start_serving(
                run.invocation, closing, adopt=True, identity={**identity, "invocationId": "invocation-2"}
            )
            await adopted.result()
        for client in (alice, bob):
            await client.wait_for(status="complete")

        shown = await agree(alice, bob)
        assert texts(shown["messages"]) == ["hi", "one", "two"]
        [seen] = shown["runs"]
        assert seen["runId"] == "run-of-two"
        assert seen["clientId"] == "alice"
