"""Tests of runs that are cancelled or fail."""

from integration_tests import streams
from integration_tests.stage import Stage, agree, texts
from integration_tests.streams import answer_program

ENDLESS = streams.text_stream(["to be ", "continued", {"gate": "middle"}, {"untilCancelled": True}])


async def test_a_client_cancels_its_run(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(ENDLESS))
        await agent.at_gate("middle")
        await agent.open("middle")
        await run.cancel()
        result = await serving.result()
        for client in (alice, bob):
            await client.wait_for(status="cancelled")

        assert result["outcome"] == "cancelled"
        assert (await run.state())["status"] == "cancelled"
        assert texts((await agree(alice, bob))["messages"]) == ["hi", "to be continued"]


async def test_anybody_cancels_a_run_by_its_id(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(ENDLESS))
        await agent.at_gate("middle")
        await agent.open("middle")
        await bob.cancel(await run.started())
        result = await serving.result()
        for client in (alice, bob):
            await client.wait_for(status="cancelled")

        assert result["outcome"] == "cancelled"
        await agree(alice, bob)


async def test_a_run_is_cancelled_before_it_has_begun(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        session = await agent.open_session(stage.channel)
        run = await alice.send("hi")
        await run.cancel()
        await agent.heard_cancel()
        result = await (
            await agent.start_serving(run.invocation, answer_program(ENDLESS), session=session)
        ).result()
        for client in (alice, bob):
            await client.wait_for(status="cancelled")
        await agent.close_session(session)

        assert result["outcome"] == "cancelled"
        assert texts((await agree(alice, bob))["messages"]) == ["hi"]


async def test_an_agent_may_refuse_to_be_cancelled(stage: Stage) -> None:
    script = streams.text_stream(["still ", {"gate": "middle"}, "here"])
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        serving = await agent.start_serving(
            run.invocation, answer_program(script), hooks={"refuseCancel": True}
        )
        await agent.at_gate("middle")
        await run.cancel()
        await agent.refused()
        await agent.open("middle")
        result = await serving.result()
        for client in (alice, bob):
            await client.wait_for(status="complete")

        assert result["outcome"] == "complete"
        assert texts((await agree(alice, bob))["messages"]) == ["hi", "still here"]


async def test_an_agent_has_the_last_word_when_it_is_cancelled(stage: Stage) -> None:
    last_words = [{"type": "data-note", "data": {"said": "I was not done"}}]
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        serving = await agent.start_serving(
            run.invocation, answer_program(ENDLESS), hooks={"lastWords": last_words}
        )
        await agent.at_gate("middle")
        await agent.open("middle")
        await run.cancel()
        await serving.result()
        for client in (alice, bob):
            await client.wait_for(status="cancelled")

        shown = await agree(alice, bob)
        assert shown["messages"][-1]["message"]["parts"][-1] == last_words[0]


async def test_a_stream_that_fails_ends_the_run_in_error(stage: Stage) -> None:
    script = streams.text_stream(["partial", {"throw": "model overloaded"}])
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        result = await agent.serve(run.invocation, script)
        for client in (alice, bob):
            await client.wait_for(status="error")

        assert result["outcome"] == "error"
        shown = await agree(alice, bob)
        assert texts(shown["messages"]) == ["hi", "partial"]
        [seen] = shown["runs"]
        assert [step["status"] for step in seen["steps"]] == ["failed"]
        assert "model overloaded" in seen["error"]["message"]
        state = await run.state()
        assert state["status"] == "error"
        assert state["error"] == seen["error"]


async def test_an_agent_says_why_a_run_failed(stage: Stage) -> None:
    error = {"code": 42910, "message": "unable to answer; out of credit 💸", "statusCode": 429}
    program = answer_program(streams.reply("half an answer"), reason="error", error=error)
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        await (await agent.start_serving(run.invocation, program)).result()
        for client in (alice, bob):
            await client.wait_for(status="error")

        [seen] = (await agree(alice, bob))["runs"]
        assert seen["error"]["code"] == 42910
        assert seen["error"]["message"] == error["message"]


async def test_ending_a_session_cancels_the_runs_that_are_open(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        program = [{"do": "load"}, {"do": "start"}, {"do": "pipe", "script": streams.reply("so far")}]
        await (await agent.start_serving(run.invocation, program)).result()
        for client in (alice, bob):
            await client.wait_for(status="cancelled")

        assert texts((await agree(alice, bob))["messages"]) == ["hi", "so far"]
