"""Late joiners see the same conversation, whether they join during a reply or long after it."""

from integration_tests import streams
from integration_tests.js_process import Json
from integration_tests.stage import Stage, agree, texts, without_doubled_steps
from integration_tests.streams import answer_program


def halves(count: int = 60) -> tuple[list[str], list[str]]:
    deltas = streams.long_deltas(count)
    return deltas[: count // 2], deltas[count // 2 :]


async def test_a_joiner_who_loads_history_at_once_sees_the_reply_so_far_and_its_rest(stage: Stage) -> None:
    first, second = halves()
    script = streams.text_stream([*first, {"gate": "middle"}, *second])
    async with stage.agent() as agent, stage.client() as alice:
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(script))
        await agent.at_gate("middle")
        await alice.wait_for(reply="".join(first))

        async with stage.other("carol") as carol:
            assert await carol.messages() == []
            assert await carol.load_all() == await alice.messages()
            assert await carol.runs() == await alice.runs()
            await agent.open("middle")
            await serving.result()
            for client in (alice, carol):
                await client.wait_for(status="complete")

            shown = await agree(alice, carol)
            assert texts(shown["messages"]) == ["hi", "".join([*first, *second])]


async def test_a_joiner_who_loads_history_at_the_end_has_seen_the_reply_from_its_beginning(
    stage: Stage,
) -> None:
    first, second = halves()
    script = streams.text_stream([*first, {"gate": "middle"}, *second])
    async with stage.agent() as agent, stage.client() as alice:
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(script))
        await agent.at_gate("middle")

        async with stage.other("carol") as carol:
            await agent.open("middle")
            result = await serving.result()
            for client in (alice, carol):
                await client.wait_for(ended=result["runId"])
            await carol.load_all()

            assert without_doubled_steps(await carol.messages()) == await alice.messages()
            assert await carol.runs() == await alice.runs()


async def talk(stage: Stage, turns: int) -> Json:
    """Have a conversation; return what the client shows at its end."""
    async with stage.agent() as agent, stage.client() as alice:
        for turn in range(1, turns + 1):
            run = await alice.send(f"question {turn}")
            await agent.serve(run.invocation, streams.reply(f"answer {turn} of several words"))
            await alice.wait_for(settled=turn)
        return await alice.show()


async def test_history_brings_the_whole_conversation(stage: Stage) -> None:
    shown = await talk(stage, turns=3)

    async with stage.other("carol") as carol:
        assert await carol.load_all() == shown["messages"]
        assert await carol.runs() == shown["runs"]
        assert not (await carol.show())["hasOlder"]


async def test_history_is_revealed_message_by_message(stage: Stage) -> None:
    shown = (await talk(stage, turns=3))["messages"]

    async with stage.other("carol") as carol:
        for count in range(1, len(shown) + 1):
            assert await carol.load_older(1) == [shown[-count]]
            assert await carol.messages() == shown[-count:]
        assert await carol.load_older(1) == []


async def test_history_of_small_pages_brings_the_same(stage: Stage) -> None:
    shown = await talk(stage, turns=3)

    async with stage.other("carol", historyPageSize=5) as carol:
        await carol.load_all(limit=2)

        assert without_doubled_steps(await carol.messages()) == shown["messages"]
        assert await carol.runs() == shown["runs"]


async def test_history_is_loaded_up_to_what_is_stored(stage: Stage) -> None:
    shown = (await talk(stage, turns=3))["messages"]
    seam = shown[2]["codecMessageId"]

    async with stage.other("carol") as carol:
        assert await carol.load_until(seam) == shown[3:]
        assert await carol.messages() == shown[3:]
        assert await carol.load_older(1) == [shown[2]]


async def test_what_one_view_has_loaded_is_there_for_the_next(stage: Stage) -> None:
    await talk(stage, turns=2)

    async with stage.other("carol") as carol:
        await carol.load_all()
        view = await carol.new_view()

        assert await carol.show(view=view) == await carol.show()
