"""Latency of a token from the agent's source to a follower, at 100 tokens per second."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import cast

from ably_ai_transport_vercel import UIMessageChunk, UIMessageCodec, VercelInput, text_message
from websockets.asyncio.client import connect

from ably_ai_transport import AgentSession, ClientSession, OutputFolded, limit_publish_rate
from ably_ai_transport.local import LocalServer
from benchmarks.measure import client, percentile, process, run_node, say, server_process, table

TOKENS = 1000
INTERVAL = 0.01


async def raw_echo(port: int) -> list[float]:
    """Send messages of the size of an append to a WebSocket echo server."""
    async with connect(f"ws://127.0.0.1:{port}", compression=None) as socket:
        sent: list[float] = []
        took: list[float] = []

        async def receive() -> None:
            for i in range(TOKENS):
                await socket.recv()
                took.append(time.perf_counter() - sent[i])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(receive())
            for i in range(TOKENS):
                sent.append(time.perf_counter())
                await socket.send(f"{i}".ljust(740))
                await asyncio.sleep(INTERVAL)
        return took


async def follow(server: LocalServer, *, interval: float) -> list[float]:
    """Pipe tokens at a steady pace, and record when a follower's conversation holds each.

    Args:
        server: The server.
        interval: Seconds between two appends.
    """
    name = f"latency:{uuid.uuid4()}"
    codec = UIMessageCodec()
    sent: list[float] = []
    took: list[float] = []

    async def paced() -> AsyncIterator[UIMessageChunk]:
        yield {"type": "start"}
        yield {"type": "text-start", "id": "t"}
        for i in range(TOKENS):
            sent.append(time.perf_counter())
            yield {"type": "text-delta", "id": "t", "delta": f" {i}"}
            await asyncio.sleep(INTERVAL)
        yield {"type": "text-end", "id": "t"}
        yield {"type": "finish"}

    def received(outputs: OutputFolded[VercelInput, UIMessageChunk]) -> None:
        now = time.perf_counter()
        for event in outputs.events:
            if event["type"] == "text-delta":
                delta = cast("str", event.get("delta", ""))
                took.extend(now - sent[int(word)] for word in delta.split())

    async with (
        client(server, "agent") as agent,
        client(server, "alice") as alice,
        ClientSession(alice, name, codec=codec) as session,
    ):
        limit_publish_rate(agent, None)
        session.tree.on_output(received)
        run = await session.view.send(codec.create_user_message(text_message("Go")))
        async with (
            AgentSession(agent, name, codec=codec, append_interval=interval) as agents,
            agents.create_run(run.to_invocation()) as reply,
        ):
            await reply.pipe(paced())
        await run.ended
    if len(took) != TOKENS:
        raise RuntimeError(f"{len(took)} of {TOKENS} tokens arrived")
    return took


async def measure(server: LocalServer, echo_port: int) -> None:
    """Run all contestants and print their percentiles."""
    say("latency: raw WebSocket echo")
    raw = await raw_echo(echo_port)
    say("latency: Python agent and follower")
    ours = await follow(server, interval=0)
    say("latency: Python agent at Ably's pace, and follower")
    paced = await follow(server, interval=0.04)
    say("latency: JavaScript agent and follower")
    options = server.javascript_options()
    told = run_node("bench.mjs", {"what": "latency", "options": options, "tokens": TOKENS, "interval": 10})
    theirs = [value / 1000 for value in told["took"]]
    rows = [["", "p50 ms", "p99 ms", "p50 x raw", "p99 x raw"]]
    for name, took in (
        ("raw WebSocket echo", raw),
        ("Python → Python", ours),
        ("JS → JS", theirs),
        ("Python → Python, one append in 40 ms", paced),
    ):
        p50, p99 = percentile(took, 0.5), percentile(took, 0.99)
        ratios = [f"{p50 / percentile(raw, 0.5):.2f}", f"{p99 / percentile(raw, 0.99):.2f}"]
        rows.append([name, f"{p50 * 1000:.2f}", f"{p99 * 1000:.2f}", *ratios])
    table(f"Latency: {TOKENS} tokens at {1 / INTERVAL:.0f} a second, source to follower", rows)


def main() -> None:
    """Run the benchmark and print it."""
    with server_process() as server, process("benchmarks.echo_server") as echo:
        asyncio.run(measure(server, echo["port"]))


if __name__ == "__main__":
    main()
