"""Tools that clients answer: the run suspends, and goes on when somebody has answered."""

from integration_tests import streams
from integration_tests.js_process import Json
from integration_tests.stage import Stage, agree, texts

LOAD_AND_START: list[Json] = [{"do": "load"}, {"do": "start"}]


def tool_call(tool: str, call: str, value: Json) -> list[Json]:
    """Return a reply that asks for a tool."""
    return [
        {"type": "start"},
        {"type": "start-step"},
        {"type": "tool-input-start", "toolCallId": call, "toolName": tool},
        {"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": '{"city":'},
        {"type": "tool-input-delta", "toolCallId": call, "inputTextDelta": '"Lisboa"}'},
        {"type": "tool-input-available", "toolCallId": call, "toolName": tool, "input": value},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "tool-calls"},
    ]


def asking(script: list[Json]) -> list[Json]:
    """Return the program that streams a script and suspends."""
    return [*LOAD_AND_START, {"do": "pipe", "script": script}, {"do": "suspend"}]


def tool_part(shown: Json, call: str) -> Json:
    """Return the newest part of a tool call."""
    parts = [part for entry in shown["messages"] for part in entry["message"]["parts"]]
    return [part for part in parts if part.get("toolCallId") == call][-1]


async def test_a_tool_is_answered_in_a_run_of_its_own(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("how is the weather?")
        program = asking(tool_call("weather", "call-1", {"city": "Lisboa"}))
        asked = await (await agent.start_serving(run.invocation, program)).result()
        for client in (alice, bob):
            await client.wait_for(status="suspended")
        assert tool_part(await agree(alice, bob), "call-1")["state"] == "input-available"

        answer = await alice.answer_tool(asked["runId"], "call-1", output={"degrees": 21})
        answered = await agent.serve(answer.invocation, streams.reply("21 degrees"))
        for client in (alice, bob):
            await client.wait_for(ended=answered["runId"])

        shown = await agree(alice, bob)
        part = tool_part(shown, "call-1")
        assert (part["state"], part["output"]) == ("output-available", {"degrees": 21})
        assert texts(shown["messages"])[-1] == "21 degrees"
        assert tool_part({"messages": answered["conversation"]}, "call-1") == part


async def test_a_tool_is_answered_and_the_run_goes_on(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("how is the weather?")
        program = asking(tool_call("weather", "call-1", {"city": "Lisboa"}))
        asked = await (await agent.start_serving(run.invocation, program)).result()
        for client in (alice, bob):
            await client.wait_for(status="suspended")

        message = (await bob.messages())[-1]["codecMessageId"]
        answer = await bob.resume_with_tool(asked["runId"], message, "call-1", output="21°C ☀️")
        answered = await agent.serve(answer.invocation, streams.reply("sunny"))
        for client in (alice, bob):
            await client.wait_for(status="complete")

        assert answered["runId"] == asked["runId"]
        shown = await agree(alice, bob)
        assert tool_part(shown, "call-1")["output"] == "21°C ☀️"
        assert texts(shown["messages"])[-1] == "sunny"
        [seen] = shown["runs"]
        assert seen["status"] == "complete"


async def test_a_tool_that_failed_is_reported(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("how is the weather?")
        program = asking(tool_call("weather", "call-1", {"city": "Lisboa"}))
        asked = await (await agent.start_serving(run.invocation, program)).result()
        await alice.wait_for(status="suspended")

        answer = await alice.answer_tool(asked["runId"], "call-1", errorMessage="no network")
        answered = await agent.serve(answer.invocation, streams.reply("I could not find out"))
        for client in (alice, bob):
            await client.wait_for(ended=answered["runId"])

        part = tool_part(await agree(alice, bob), "call-1")
        assert (part["state"], part["errorText"]) == ("output-error", "no network")


async def test_a_tool_is_approved_by_another_client(stage: Stage) -> None:
    script = [
        *tool_call("rm", "call-1", {"path": "leftovers"})[:-2],
        {"type": "tool-approval-request", "approvalId": "approval-1", "toolCallId": "call-1"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "tool-calls"},
    ]
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("clean up")
        asked = await (await agent.start_serving(run.invocation, asking(script))).result()
        for client in (alice, bob):
            await client.wait_for(status="suspended")
        message = (await bob.messages())[-1]["codecMessageId"]

        approval = await bob.approve_tool(asked["runId"], message, "call-1", approved=True, reason="go ahead")
        done = [
            {"type": "start"},
            {"type": "tool-output-available", "toolCallId": "call-1", "output": "removed"},
            *streams.reply("done")[1:],
        ]
        answered = await agent.serve(approval.invocation, done)
        for client in (alice, bob):
            await client.wait_for(status="complete")

        assert answered["runId"] == asked["runId"]
        shown = await agree(alice, bob)
        approved = tool_part({"messages": answered["conversation"]}, "call-1")
        assert approved["state"] == "approval-responded"
        assert approved["approval"] == {"id": "approval-1", "approved": True, "reason": "go ahead"}
        assert tool_part(shown, "call-1")["output"] == "removed"
        assert texts(shown["messages"])[-1] == "done"
