"""Agents that are killed in the middle of their replies: how many runs stay ``active``, and for how long.

Each agent is a process of its own that is killed with SIGKILL at a random moment of its first second. A
Python client and a client of the npm package follow each conversation. In the first half nobody reaps, until
the runs that are left have been counted; then two sessions reap at once. In the second half they reap all
along.

Arguments: the number of kills, 100 by default, the grace time of the reapers in seconds, 15 by default, and
how long the server counts a client as present after its connection broke, in seconds, 1 by default.
"""

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from ably_ai_transport_vercel import UIClientSession, UIMessageCodec, text_message

from ably_ai_transport import ClientSession, RunNode
from ably_ai_transport.codec import LifecycleOnlyCodec
from ably_ai_transport.local import LocalServer
from benchmarks.measure import client, percentile, say, table
from integration_tests.js_peer import JsClient

KILLS = 100
GRACE = 15.0
REMAINS = 1.0
AT_ONCE = 2
LONGEST_LIFE = 1.0
CODEC = UIMessageCodec()


async def kill_one(
    server: LocalServer, alice: UIClientSession, remains: float, life: float
) -> tuple[str, float]:
    """Let an agent begin a reply, and kill it.

    Args:
        server: The server.
        alice: Who asks.
        remains: How long the server counts the agent as present afterwards, in seconds.
        life: How long the agent lives once it is connected, in seconds.

    Returns:
        The message that the agent replied to, and the time of the kill.
    """
    asked = await alice.view.send(CODEC.create_user_message(text_message("Tell me a story")))
    options = server.python_options(
        "agent", transport_params={"remainPresentFor": str(round(remains * 1000))}
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.victim",
        json.dumps(options),
        json.dumps(asked.to_invocation().to_json()),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    await asyncio.sleep(life)
    process.kill()
    killed = time.monotonic()
    await process.wait()
    return asked.input_codec_message_id, killed


@asynccontextmanager
async def reaping(server: LocalServer, name: str, grace: float) -> AsyncGenerator[None]:
    """Reap in two sessions."""
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        reapers: list[asyncio.Task[None]] = []
        for i in range(2):
            ably = await stack.enter_async_context(client(server, f"reaper-{i}"))
            session = ClientSession(ably, name, codec=LifecycleOnlyCodec())
            await stack.enter_async_context(session)
            session.on_error(lambda _: None)
            reapers.append(tasks.create_task(session.reap(grace=grace)))
        yield
        for reaper in reapers:
            reaper.cancel()


def runs_of(alice: UIClientSession) -> list[RunNode[Any]]:
    """Return the runs of the conversation, on whatever branch."""
    return [node for node in alice.tree.nodes if isinstance(node, RunNode)]


async def active(alice: UIClientSession, js: JsClient) -> tuple[int, int, int]:
    """Return the number of runs, and how many are active for the Python and the JavaScript follower."""
    ours = [node.status for node in runs_of(alice)]
    theirs = [run["status"] for run in await js.runs()]
    return len(ours), ours.count("active"), theirs.count("active")


async def kill_many(
    server: LocalServer, alice: UIClientSession, kills: int, remains: float
) -> dict[str, float]:
    """Kill agents, some at once; return the time of the kill by the message that was replied to."""
    chance = random.Random(kills)  # noqa: S311 - to choose moments
    lives = iter([chance.random() * LONGEST_LIFE for _ in range(kills)])
    died: dict[str, float] = {}

    async def work() -> None:
        for life in lives:
            message_id, killed = await kill_one(server, alice, remains, life)
            died[message_id] = killed
            if len(died) % 10 == 0:
                say(f"kills: {len(died)} of {kills}")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(work())
    return died


async def measure(kills: int, grace: float, remains: float, *, all_along: bool) -> list[str]:
    """Kill agents in one conversation.

    Args:
        kills: How many.
        grace: The grace time of the reapers, in seconds.
        remains: How long the server counts a client as present after its connection broke, in seconds.
        all_along: Whether sessions reap from the beginning, or after the kills.

    Returns:
        A row of the table.
    """
    ended: dict[str, float] = {}
    async with (
        LocalServer() as server,
        client(server, "alice") as ably,
        JsClient(server, client_id="js", channel="story") as js,
        ClientSession(ably, "story", codec=CODEC) as alice,
        AsyncExitStack() as stack,
    ):
        alice.on_error(lambda _: None)
        alice.tree.on_run(
            lambda event: ended.setdefault(event.run_id, time.monotonic()) if event.type == "end" else None
        )
        if all_along:
            await stack.enter_async_context(reaping(server, "story", grace))
        died = await kill_many(server, alice, kills, remains)
        last = time.monotonic()
        await asyncio.sleep(remains + 1)
        runs, ours_before, theirs_before = await active(alice, js)
        if not all_along:
            await stack.enter_async_context(reaping(server, "story", grace))
            last = time.monotonic()
        for _ in range(round((remains + grace + 5) / 0.1)):
            if (await active(alice, js))[1:] == (0, 0):
                break
            await asyncio.sleep(0.1)
        _, ours, theirs = await active(alice, js)
        asked = {node.run_id: node.parent_codec_message_id or "" for node in runs_of(alice)}
        took = [at - (died[asked[run_id]] if all_along else last) for run_id, at in ended.items()]
    return [
        "all along" if all_along else "after the kills",
        str(kills),
        str(runs),
        "-" if all_along else f"{ours_before} / {theirs_before}",
        f"{ours} / {theirs}",
        f"{percentile(took, 0.5):.1f} / {percentile(took, 1.0):.1f}" if took else "-",
    ]


def main(kills: int = KILLS, grace: float = GRACE, remains: float = REMAINS) -> None:
    """Run the benchmark and print it."""
    measured = [
        asyncio.run(measure(kills // 2, grace, remains, all_along=all_along)) for all_along in (False, True)
    ]
    rows = [
        ["two sessions reap", "kills", "runs", "active before", "active in the end", "s p50 / max"],
        *measured,
    ]
    title = "Runs of agents that were killed, active for a Python / a JavaScript follower"
    table(f"{title}; grace {grace:g} s, present for {remains:g} s after the kill", rows)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(
        int(given[0]) if given else KILLS,
        float(given[1]) if len(given) > 1 else GRACE,
        float(given[2]) if len(given) > 2 else REMAINS,
    )
