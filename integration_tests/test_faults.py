"""Connections that break and publishes that are refused, in the middle of a reply."""

from typing import Literal

import pytest

from integration_tests import streams
from integration_tests.engines.network import Network
from integration_tests.stage import Stage, agree, texts
from integration_tests.streams import answer_program


def interrupted() -> tuple[list[streams.Json], str]:
    """Return a reply with a gate in its middle, and its text."""
    deltas = streams.long_deltas(80)
    return streams.text_stream([*deltas[:40], {"gate": "middle"}, *deltas[40:]]), "".join(deltas)


async def test_a_client_catches_up_with_what_it_missed(stage: Stage, network: Network) -> None:
    stage.server = network
    script, text = interrupted()
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(script))
        await agent.at_gate("middle")
        network.close("alice", "bob")
        await agent.open("middle")
        result = await serving.result()
        network.open("alice", "bob")
        for client in (alice, bob):
            await client.wait_for(ended=result["runId"])

        assert texts((await agree(alice, bob))["messages"]) == ["hi", text]


async def test_an_agent_goes_on_when_its_connection_is_back(stage: Stage, network: Network) -> None:
    stage.server = network
    script, text = interrupted()
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(script))
        await agent.at_gate("middle")
        network.cut("agent")
        await agent.open("middle")
        result = await serving.result()
        for client in (alice, bob):
            await client.wait_for(ended=result["runId"])

        assert result["outcome"] == "complete"
        assert texts((await agree(alice, bob))["messages"]) == ["hi", text]


async def test_answers_that_get_lost_double_nothing(stage: Stage) -> None:
    script, text = interrupted()
    stage.faults.cut_before_ack(stage.channel, action="append", skip=5)
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(script))
        await agent.open("middle")
        result = await serving.result()
        for client in (alice, bob):
            await client.wait_for(ended=result["runId"])

        assert result["outcome"] == "complete"
        assert texts((await agree(alice, bob))["messages"]) == ["hi", text]


@pytest.mark.parametrize("action", ["append", "create"])
async def test_an_ack_is_lost_and_the_state_of_the_connection_with_it(
    stage: Stage, action: Literal["append", "create"]
) -> None:
    """An agent of ours publishes everything once; one of the npm package doubles unacked text."""
    script, text = interrupted()
    stage.faults.cut_before_ack(stage.channel, action=action, skip=3, count=2, forget=True)
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(script))
        await agent.open("middle")
        result = await serving.result()
        for client in (alice, bob):
            await client.wait_for(ended=result["runId"])

        if stage.pairing.agent == "js":
            shown = texts(await alice.messages())[1]
            assert len(shown) > len(text) if action == "append" else shown == text
            return
        assert result["outcome"] == "complete"
        assert texts((await agree(alice, bob))["messages"]) == ["hi", text]
        async with stage.other("carol") as carol:
            await carol.load_all()
            assert texts(await carol.messages()) == ["hi", text]


async def test_a_refused_append_is_repaired(stage: Stage) -> None:
    """Late joiners and followers in Python read the whole text; followers in JS keep a gap."""
    script, text = interrupted()
    stage.faults.nack(stage.channel, action="append", skip=5, count=2)
    languages = (stage.pairing.client, stage.pairing.other)
    async with (
        stage.agent(may_have_unhandled=True) as agent,
        stage.client() as alice,
        stage.other() as bob,
    ):
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, answer_program(script))
        await agent.open("middle")
        result = await serving.result()
        for language, client in zip(languages, (alice, bob), strict=True):
            await client.wait_for(ended=result["runId"])
            if language == "python":
                assert texts(await client.messages()) == ["hi", text]

        async with stage.other("carol") as carol:
            await carol.load_all()
            assert texts(await carol.messages()) == ["hi", text]
            if stage.pairing.agent == "python":
                # Live followers have no gap either, in both languages.
                assert texts(await alice.messages()) == ["hi", text]


async def test_a_gap_is_reported_and_the_session_goes_on(stage: Stage) -> None:
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("one")
        await agent.serve(run.invocation, streams.reply("first"))
        for client in (alice, bob):
            await client.wait_for(status="complete")
        stage.faults.refuse_connections(on=True)
        stage.faults.drop("bob")
        run = await alice.send("two")
        stage.faults.trim(stage.channel)
        stage.faults.refuse_connections(on=False)
        await bob.reported(104006)
        await agent.serve(run.invocation, streams.reply("second"))
        await alice.wait_for(settled=2)
        run = await alice.send("three")
        result = await agent.serve(run.invocation, streams.reply("third"))
        for client in (alice, bob):
            await client.wait_for(ended=result["runId"])

        assert texts(await alice.messages())[-2:] == ["three", "third"]


async def test_a_cancel_that_comes_before_the_agent(stage: Stage) -> None:
    """The JS agent never learns of it; ours finds it in the history."""
    async with stage.agent() as agent, stage.client() as alice, stage.other() as bob:
        run = await alice.send("hi")
        await run.cancel()
        result = await agent.serve(run.invocation, streams.reply("too late"))
        expected = "complete" if stage.pairing.agent == "js" else "cancelled"
        assert result["outcome"] == expected
        for client in (alice, bob):
            await client.wait_for(status=expected)

        await agree(alice, bob)
