"""Tokens per second from an agent's pipe into the server, against the bare SDK's pipelined appends."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

from ably import AblyRealtime
from ably.types.message import Message
from ably_ai_transport_vercel import UIMessageChunk, UIMessageCodec, text_message

from ably_ai_transport import AgentSession, ClientSession, limit_publish_rate
from ably_ai_transport.local import LocalServer
from benchmarks.measure import client, median_of, run_node, say, server_process, table

TOKENS = 4000
WINDOW = 32
ROUNDS = 5

HEADERS = {
    "role": "assistant",
    "codec-message-id": str(uuid.uuid4()),
    "run-id": str(uuid.uuid4()),
    "run-client-id": "alice",
    "parent": str(uuid.uuid4()),
    "invocation-id": str(uuid.uuid4()),
    "input-client-id": "alice",
    "input-codec-message-id": str(uuid.uuid4()),
    "step-id": f"{uuid.uuid4()}-step-0",
    "step-start-serial": "01795213682902-000@EfQeHQnvXY:000",
    "step-client-id": "alice",
    "stream": "true",
    "status": "streaming",
    "stream-id": "t",
}


def _ignore(_: object) -> None:
    """Receive the echo, as an agent does."""


async def bare_sdk(realtime: AblyRealtime) -> float:
    """Append with the Ably SDK alone, with a pipe's window in flight; return appends per second."""
    channel: Any = cast("Any", realtime.channels).get(f"bare:{uuid.uuid4()}")
    await channel.subscribe(_ignore)
    extras = {"ai": {"transport": HEADERS, "codec": {"kind": "text", "id": "t"}}}
    serial = (await channel.publish(Message(name="ai-output", data="", extras=extras))).serials[0]
    room = asyncio.Semaphore(WINDOW)

    async def append(text: str) -> None:
        try:
            await channel.append_message(Message(serial=serial, data=text, extras=extras))
        finally:
            room.release()

    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for i in range(TOKENS):
            await room.acquire()
            tasks.create_task(append(f" token{i}"))
    spent = time.perf_counter() - began
    await channel.detach()
    return TOKENS / spent


async def tokens(count: int) -> AsyncIterator[UIMessageChunk]:
    """Yield ``count`` tokens as fast as they are taken."""
    yield {"type": "start"}
    yield {"type": "text-start", "id": "t"}
    for i in range(count):
        yield {"type": "text-delta", "id": "t", "delta": f" token{i}"}
    yield {"type": "text-end", "id": "t"}
    yield {"type": "finish"}


async def pipe(agent: AblyRealtime, asker: AblyRealtime, *, merge: bool) -> float:
    """Pipe tokens through a session; return tokens per second."""
    name = f"pipe:{uuid.uuid4()}"
    codec = UIMessageCodec()
    async with ClientSession(asker, name, codec=codec) as session:
        run = await session.view.send(codec.create_user_message(text_message("Go")))
        invocation = run.to_invocation()
    async with (
        AgentSession(agent, name, codec=codec, append_window=WINDOW, merge_appends=merge) as session,
        session.create_run(invocation) as reply,
    ):
        began = time.perf_counter()
        result = await reply.pipe(tokens(TOKENS))
        spent = time.perf_counter() - began
        if result.reason != "complete":
            raise RuntimeError(f"the pipe ended with {result}")
    return TOKENS / spent


async def measure(server: LocalServer) -> None:
    """Run all contestants in turn, and print the medians."""
    rates: dict[str, list[float]] = {}
    for i in range(ROUNDS):
        say(f"throughput, round {i + 1} of {ROUNDS}")
        async with client(server, "agent") as agent, client(server, "alice") as asker:
            limit_publish_rate(agent, None)
            await cast("Any", agent.connection).once_async("connected")
            rates.setdefault("bare SDK, appends", []).append(await bare_sdk(agent))
            rates.setdefault("pipe, unmerged", []).append(await pipe(agent, asker, merge=False))
            rates.setdefault("pipe, merged", []).append(await pipe(agent, asker, merge=True))
        options = server.javascript_options(client_id="agent")
        told = run_node("bench.mjs", {"what": "throughput", "options": options, "tokens": TOKENS})
        rates.setdefault("@ably/ai-transport, pipe", []).append(told["rate"])
    base = median_of(rates["bare SDK, appends"])
    rows = [["", "tokens/s", "x bare SDK", "spread"]]
    for name, found in rates.items():
        rate = median_of(found)
        rows.append([name, f"{rate:,.0f}", f"{rate / base:.2f}", f"{min(found):,.0f} … {max(found):,.0f}"])
    table(f"Throughput: {TOKENS} tokens, {WINDOW} in flight, median of {ROUNDS} rounds, msgpack", rows)


def main() -> None:
    """Run the benchmark and print it."""
    with server_process() as server:
        asyncio.run(measure(server))


if __name__ == "__main__":
    main()
