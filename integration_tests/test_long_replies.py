"""Replies that are about as long as one message can be reach everybody, also those who join later."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from ably_ai_transport.codec.contract import EncoderOptions
from ably_ai_transport.local import Limits, LocalServer
from integration_tests import streams
from integration_tests.stage import Stage, agree, texts, without_doubled_steps

if TYPE_CHECKING:
    from integration_tests.js_process import Json

MOST = EncoderOptions().max_stream_size
PIECE = 20_000
NEAR = 500
PACES = {"python": 0.04, "js": 0.0}
"""Seconds between two appends: the server limits the rates of agents in Python."""


def deltas(size: int) -> list[str]:
    """Return pieces of a text of about so many bytes, at most, in many scripts."""
    pieces: list[str] = []
    for phrase in itertools.cycle(["".join(streams.PHRASES) * (PIECE // 300)]):
        size -= len(phrase.encode())
        if size < 0:
            return pieces
        pieces.append(phrase)
    return pieces


async def test_a_reply_near_the_limit_of_a_stream(stage: Stage, local_server: LocalServer) -> None:
    await play(stage, local_server, [*deltas(MOST - NEAR), "."])


async def test_a_reply_near_the_limit_of_the_server(stage: Stage, local_server: LocalServer) -> None:
    """Agents in JavaScript know no limit of their own."""
    if stage.pairing.agent == "python":
        pytest.skip("agents in Python stop earlier")
    count = (Limits().max_accumulated_size - NEAR) // PIECE
    await play(stage, local_server, ["x" * PIECE] * count)


async def test_a_reply_beyond_the_limit_of_a_stream_ends_in_error_and_keeps_its_text(stage: Stage) -> None:
    if stage.pairing.agent == "js":
        pytest.skip("agents in JavaScript know no limit")
    pieces = deltas(MOST + 2 * PIECE)
    script = streams.text_stream(pieces)
    async with (
        stage.agent(append_interval=PACES["python"]) as agent,
        stage.client() as alice,
        stage.other() as bob,
    ):
        run = await alice.send("hi")
        result = await agent.serve(run.invocation, script)
        for client in (alice, bob):
            await client.wait_for(status="error")

        assert result["outcome"] == "error"
        shown = await agree(alice, bob)
        [seen] = shown["runs"]
        assert "start another stream" in seen["error"]["message"]
        kept: list[str] = []
        for piece in pieces:
            if len("".join([*kept, piece]).encode()) > MOST:
                break
            kept.append(piece)
        assert texts(shown["messages"]) == ["hi", "".join(kept)]


async def play(stage: Stage, server: LocalServer, pieces: list[str]) -> None:
    """Stream a reply to everybody, and let somebody join at its end and in the middle."""
    middle = len(pieces) - 2
    script: list[Json] = streams.text_stream([*pieces[:middle], {"gate": "middle"}, *pieces[middle:]])
    text = "".join(pieces)
    async with (
        stage.agent(append_interval=PACES[stage.pairing.agent]) as agent,
        stage.client() as alice,
        stage.other() as bob,
    ):
        run = await alice.send("hi")
        serving = await agent.start_serving(run.invocation, streams.answer_program(script))
        await agent.at_gate("middle")
        connections = server.stats.connections_opened
        async with stage.other("carol") as carol, stage.client("dave") as dave:
            for client in (carol, dave):
                await client.load_all()
            await agent.open("middle")
            await serving.result()
            for client in (alice, bob, carol, dave):
                await client.wait_for(status="complete")
            shown = await agree(alice, bob)
            assert texts(shown["messages"]) == ["hi", text]
            for client in (carol, dave):
                assert without_doubled_steps(await client.messages()) == shown["messages"]
                assert await client.runs() == shown["runs"]
        assert server.stats.connections_opened - connections == 2, "nobody had to reconnect"
