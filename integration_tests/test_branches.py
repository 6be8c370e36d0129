"""Conversations that fork: regenerated replies and edited questions."""

from integration_tests import streams
from integration_tests.peers import Agent, Client, Run
from integration_tests.stage import Stage, agree, texts


async def turn(agent: Agent, run: Run, answer: str, *clients: Client) -> None:
    """Answer a run and wait until everybody has seen it end."""
    result = await agent.serve(run.invocation, streams.reply(answer))
    for client in clients:
        await client.wait_for(ended=result["runId"])


async def test_a_reply_is_regenerated(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        await turn(agent, await alice.send("tell me"), "first answer", alice, bob)
        reply = (await alice.messages())[1]["codecMessageId"]
        run = await alice.regenerate(reply)
        result = await agent.serve(run.invocation, streams.reply("second answer"))
        for client in (alice, bob):
            await client.wait_for(ended=result["runId"])

        assert texts(result["conversation"]) == ["tell me"]
        shown = await agree(alice, bob)
        assert texts(shown["messages"]) == ["tell me", "second answer"]
        newest = shown["messages"][1]["codecMessageId"]
        for client in (alice, bob):
            branch = await client.branch(newest)
            assert branch["hasSiblings"]
            assert branch["index"] == 1
            assert len(branch["siblings"]) == 2


async def test_a_reply_in_the_middle_is_regenerated(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        await turn(agent, await alice.send("one"), "first", alice, bob)
        await turn(agent, await alice.send("two"), "second", alice, bob)
        reply = (await alice.messages())[1]["codecMessageId"]
        await turn(agent, await alice.regenerate(reply), "another first", alice, bob)

        assert texts((await agree(alice, bob))["messages"]) == ["one", "another first"]
        anchor = (await alice.messages())[1]["codecMessageId"]
        await alice.select(anchor, 0)
        assert texts(await alice.messages()) == ["one", "first", "two", "second"]


async def test_a_question_is_edited(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        await turn(agent, await alice.send("one"), "first", alice, bob)
        await turn(agent, await alice.send("two"), "second", alice, bob)
        before = await alice.messages()
        question = before[2]["codecMessageId"]
        await turn(agent, await alice.edit(question, "rather two"), "better", alice, bob)

        assert texts(await alice.messages()) == ["one", "first", "rather two", "better"]
        await alice.select((await alice.messages())[2]["codecMessageId"], 0)
        assert await alice.messages() == before


async def test_who_comes_later_finds_every_branch(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice:
        await turn(agent, await alice.send("one"), "first", alice)
        await turn(agent, await alice.send("two"), "second", alice)
        question = (await alice.messages())[2]["codecMessageId"]
        await turn(agent, await alice.edit(question, "rather two"), "better", alice)
        reply = (await alice.messages())[3]["codecMessageId"]
        await turn(agent, await alice.regenerate(reply), "best", alice)
        shown = await alice.show()

        async with stage.other("carol") as carol:
            await carol.load_all()
            assert await carol.messages() == shown["messages"]
            assert await carol.runs() == shown["runs"]
            for message in shown["messages"]:
                here = await alice.branch(message["codecMessageId"])
                assert await carol.branch(message["codecMessageId"]) == here


async def test_views_choose_their_branches_on_their_own(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice:
        await turn(agent, await alice.send("tell me"), "first answer", alice)
        reply = (await alice.messages())[1]["codecMessageId"]
        await turn(agent, await alice.regenerate(reply), "second answer", alice)
        view = await alice.new_view()
        newest = (await alice.messages())[1]["codecMessageId"]
        await alice.select(newest, 0, view=view)

        assert texts(await alice.messages(view=view)) == ["tell me", "first answer"]
        assert texts(await alice.messages()) == ["tell me", "second answer"]
