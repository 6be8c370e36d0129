"""Runs side by side within the limits of an Ably account: deaths, exact texts, latency of tokens."""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessageChunk, UIMessageCodec, VercelInput, text_message

from ably_ai_transport import AblyPool, AgentSession, ClientSession, OutputFolded
from benchmarks.measure import Address, client, percentile, run_node, say, server_process, table

RUNS = (1, 10, 100)
SECONDS = 30
PER_SECOND = 50
POOL = 8
GAP = 0.1
"""Seconds between the starts of two runs."""


@dataclass
class Figures:
    """The figures of one contestant.

    Attributes:
        died: Runs that did not end ``complete``.
        exact: Runs whose text is exact.
        took: Seconds from a token's source to its follower.
    """

    died: int = 0
    exact: int = 0
    took: list[float] = field(default_factory=list[float])


async def tokens(sent: list[float]) -> AsyncIterator[UIMessageChunk]:
    """Yield the tokens of one reply at their pace, and note when."""
    yield {"type": "start"}
    yield {"type": "text-start", "id": "t"}
    began = time.perf_counter()
    for i in range(SECONDS * PER_SECOND):
        sent.append(time.perf_counter())
        yield {"type": "text-delta", "id": "t", "delta": f" {i}"}
        await asyncio.sleep(max(0.0, began + (i + 1) / PER_SECOND - time.perf_counter()))
    yield {"type": "text-end", "id": "t"}
    yield {"type": "finish"}


async def converse(agent: AblyPool, asker: AblyRealtime, figures: Figures) -> None:
    """Ask one question, and measure its reply."""
    name, codec = f"limits:{uuid.uuid4()}", UIMessageCodec()
    sent: list[float] = []

    def received(outputs: OutputFolded[VercelInput, UIMessageChunk]) -> None:
        now = time.perf_counter()
        for event in outputs.events:
            if event["type"] == "text-delta":
                figures.took.extend(
                    now - sent[int(word)] for word in cast("str", event.get("delta", "")).split()
                )

    async with (
        ClientSession(asker, name, codec=codec) as session,
        AgentSession(agent, name, codec=codec) as agents,
    ):
        session.tree.on_output(received)
        run = await session.view.send(codec.create_user_message(text_message("Go")))
        async with agents.create_run(run.to_invocation()) as reply:
            await reply.pipe(tokens(sent))
        figures.died += await run.ended != "complete"
        text = "".join(part.get("text", "") for part in session.view.messages[-1].message["parts"])
        figures.exact += text == "".join(f" {i}" for i in range(SECONDS * PER_SECOND))


async def ours(server: Address, runs: int, connections: int) -> Figures:
    """Let runs stream side by side on some connections of the agent."""
    figures = Figures()
    async with (
        AblyPool(lambda: AblyRealtime(**server.python_options("agent")), size=connections) as agents,
        client(server, "alice") as asker,
        asyncio.TaskGroup() as tasks,
    ):
        for _ in range(runs):
            tasks.create_task(converse(agents, asker, figures))
            await asyncio.sleep(GAP)
    return figures


def theirs(server: Address, runs: int) -> Figures:
    """Let runs of the npm package stream side by side on one connection."""
    told = run_node(
        "bench-limits.mjs",
        {
            "options": server.javascript_options(),
            "runs": runs,
            "tokens": SECONDS * PER_SECOND,
            "interval": 1000 / PER_SECOND,
            "gap": GAP * 1000,
        },
    )
    ended = [outcome["ended"] for outcome in told["outcomes"]]
    return Figures(
        died=sum(one != "complete" for one in ended),
        exact=sum(outcome["exact"] for outcome in told["outcomes"]),
        took=[value / 1000 for value in told["took"]],
    )


def row(name: str, runs: int, figures: Figures) -> Sequence[str]:
    """Write the figures of one contestant."""
    took = figures.took
    return (
        name,
        f"{runs}",
        f"{figures.died}",
        f"{figures.exact}",
        f"{percentile(took, 0.5) * 1000:.0f}",
        f"{percentile(took, 0.99) * 1000:.0f}",
    )


def main(counts: Sequence[int] = RUNS) -> None:
    """Run the benchmark and print it."""
    rows: list[Sequence[str]] = [["", "runs", "died", "texts exact", "p50 ms", "p99 ms"]]
    with server_process(limits="ably") as server:
        for runs in counts:
            for connections in (1, POOL):
                name = "one connection" if connections == 1 else f"a pool of {connections}"
                say(f"account limits: {runs} runs on {name}")
                rows.append(row(name, runs, asyncio.run(ours(server, runs, connections))))
            say(f"account limits: {runs} runs of the npm package")
            rows.append(row("@ably/ai-transport, one connection", runs, theirs(server, runs)))
    table(f"Runs of {PER_SECOND} tokens a second for {SECONDS} s within Ably's published limits", rows)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or RUNS)
