"""A reply streams from an agent to everybody on the channel."""

import pytest

from integration_tests import streams
from integration_tests.js_process import Json
from integration_tests.stage import Stage, agree, roles, texts

PACES = {False: 0.0, True: 0.04}
"""Seconds between two appends: each token over JSON, Ably's pace over msgpack."""


async def play(stage: Stage, script: list[Json]) -> Json:
    """Let the agent answer with a script; return what everybody shows."""
    async with (
        stage.agent(append_interval=PACES[stage.binary]) as agent,
        stage.client() as alice,
        stage.other() as bob,
    ):
        run = await alice.send("hi")
        result = await agent.serve(run.invocation, script)
        for client in (alice, bob):
            await client.wait_for(status="complete")

        assert result["outcome"] == "complete"
        assert texts(result["conversation"]) == ["hi"]
        return await agree(alice, bob)


async def test_everybody_sees_a_long_reply_to_the_last_character(stage: Stage) -> None:
    script = streams.long_stream()

    shown = await play(stage, script)

    assert roles(shown["messages"]) == ["user", "assistant"]
    assert texts(shown["messages"]) == ["hi", streams.text_of(script)]
    [run] = shown["runs"]
    assert run["clientId"] == "alice"
    assert [step["status"] for step in run["steps"]] == ["complete"]


@pytest.mark.parametrize("stream", streams.all_streams())
async def test_everybody_sees_whatever_models_stream(stage: Stage, stream: str) -> None:
    script = streams.stream(stream)

    shown = await play(stage, script)

    assert texts(shown["messages"]) == ["hi", streams.text_of(script)]


async def test_the_text_appears_while_it_is_streamed(stage: Stage) -> None:
    script = streams.text_stream(["Hello", {"gate": "middle"}, " world"])
    async with (
        stage.agent(append_interval=PACES[stage.binary]) as agent,
        stage.client() as alice,
        stage.other() as bob,
    ):
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, streams.answer_program(script))
        await agent.at_gate("middle")
        for client in (alice, bob):
            await client.wait_for(reply="Hello")
            assert [run["status"] for run in await client.runs()] == ["active"]
        await agent.open("middle")
        await serving.result()
        for client in (alice, bob):
            await client.wait_for(status="complete")

        assert texts((await agree(alice, bob))["messages"]) == ["hi", "Hello world"]


async def test_an_agent_reads_the_conversation_before_it_answers(stage: Stage) -> None:
    async with (
        stage.agent(append_interval=PACES[stage.binary]) as agent,
        stage.client() as alice,
        stage.other() as bob,
    ):
        for turn in range(1, 4):
            run = await alice.send(f"question {turn}")
            result = await agent.serve(run.invocation, streams.reply(f"answer {turn}"))
            await alice.wait_for(settled=turn)
            await bob.wait_for(settled=turn)
            shown = await agree(alice, bob)
            assert result["conversation"] == shown["messages"][:-1]

        assert texts(await alice.messages()) == [
            "question 1", "answer 1", "question 2", "answer 2", "question 3", "answer 3",
        ]  # fmt: skip


async def test_two_runs_stream_side_by_side(stage: Stage) -> None:
    async with (
        stage.agent(append_interval=PACES[stage.binary]) as agent,
        stage.client() as alice,
        stage.other() as bob,
    ):
        first = await alice.send("to both")
        second = await bob.send("from bob", options={"parent": first.input_codec_message_id})
        servings = [
            await agent.start_serving(
                run.invocation,
                streams.answer_program(streams.text_stream([f"{name}-1 ", {"gate": name}, f"{name}-2"])),
            )
            for name, run in (("a", first), ("b", second))
        ]
        for name in ("a", "b"):
            await agent.at_gate(name)
        for name in ("b", "a"):
            await agent.open(name)
        results = [await serving.result() for serving in servings]

        assert [result["outcome"] for result in results] == ["complete", "complete"]
        assert [texts_of_run(result) for result in results] == [
            ["to both", "a-1 a-2"],
            ["from bob", "b-1 b-2"],
        ]


def texts_of_run(result: Json) -> list[str]:
    return texts({"message": message} for message in result["messages"])
