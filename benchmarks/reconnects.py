"""A stream while connections are cut: a thousand times, at random moments, on either side.

An agent pipes a text for as long as connections are cut; a client reads it. Nothing may be lost, duplicated
or reordered: each text that is shown must be a prefix of the whole. In half of the rounds the agent loses an
ack with each cut, and the server forgets its connection, so that it cannot resume. A client of the npm
package reads along, and must show the whole text at the end.
"""

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from typing import Any, cast

from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessageChunk, UIMessageCodec, text_message

from ably_ai_transport import AgentSession, ClientSession
from ably_ai_transport.local import LocalServer
from benchmarks.measure import client, percentile, say, table
from integration_tests.js_peer import JsClient
from integration_tests.stage import texts

RECONNECTS = 1000
PAUSE = 0.001
CODEC = UIMessageCodec()


class Story:
    """Yields numbers in order until it is stopped."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ends = False

    async def chunks(self) -> AsyncIterator[UIMessageChunk]:
        yield {"type": "start"}
        yield {"type": "text-start", "id": "t"}
        while not self.ends:
            self.told.append(f"{len(self.told)} ")
            yield {"type": "text-delta", "id": "t", "delta": self.told[-1]}
            await asyncio.sleep(PAUSE)
        yield {"type": "text-end", "id": "t"}
        yield {"type": "finish"}

    @property
    def whole(self) -> str:
        return "".join(self.told)


async def measure(*, binary: bool, forgets: bool, seed: int) -> tuple[int, int, list[float]]:
    """Cut connections while a story streams.

    Args:
        binary: Whether the connections speak msgpack.
        forgets: Whether the agent loses an ack and the server's record of the connection with each cut.
        seed: The seed of the moments.

    Returns:
        The length of the story, the number of views that were not a prefix of it, and the seconds of each
        reconnection.
    """
    chance = random.Random(seed)  # noqa: S311 - to choose moments
    story = Story()
    wrong = 0
    took: list[float] = []
    async with (
        LocalServer() as server,
        client(server, "agent", use_binary_protocol=binary) as agent_ably,
        client(server, "reader", use_binary_protocol=binary) as reader_ably,
        JsClient(server, client_id="js", channel="story", binary=binary) as js,
        ClientSession(reader_ably, "story", codec=CODEC) as reader,
        AgentSession(agent_ably, "story", codec=CODEC, append_interval=0) as agent,
    ):
        asked = await reader.view.send(CODEC.create_user_message(text_message("Tell me a story")))
        shown = [""]

        def look() -> None:
            nonlocal wrong
            text = "".join(
                str(part.get("text", ""))
                for entry in reader.view.messages[1:]
                for part in entry.message["parts"]
                if part["type"] == "text"
            )
            if not (text.startswith(shown[0]) and story.whole.startswith(text)):
                wrong += 1
            shown[0] = text

        reader.view.on_update(look)
        async with asyncio.TaskGroup() as tasks, agent.create_run(asked.to_invocation()) as run:
            piping = tasks.create_task(run.pipe(story.chunks()))
            sides = {"agent": agent_ably, "reader": reader_ably}
            for done in range(RECONNECTS):
                if done % 100 == 0:
                    say(f"reconnects: {done} of {RECONNECTS}")
                await asyncio.sleep(chance.uniform(0, 0.02))
                name, ably = ("agent", agent_ably) if forgets else chance.choice(list(sides.items()))
                began = time.perf_counter()
                lost = asyncio.ensure_future(until(ably, "disconnected"))
                if forgets:
                    # The next publish, or the one after it, is taken without an ack.
                    server.faults.cut_before_ack("story", skip=chance.randint(0, 1), forget=True)
                else:
                    cut = chance.choice(
                        (server.faults.drop, server.faults.cut_mid_frame, server.faults.disconnected)
                    )
                    cut(name)
                await lost
                await until(ably, "connected")
                took.append(time.perf_counter() - began)
            story.ends = True
            await piping
        await asked.ended
        look()
        wrong += shown[0] != story.whole
        await js.wait_for(ended=run.run_id)
        wrong += texts(await js.messages())[-1] != story.whole
    return len(story.told), wrong, took


async def until(ably: AblyRealtime, state: str) -> None:
    """Wait for a state of a connection."""
    connection = cast("Any", ably).connection
    if connection.state != state:
        await connection.once_async(state)


def main() -> None:
    """Run the benchmark and print it."""
    rows = [["", "reconnects", "numbers told", "wrong views", "p50 ms", "p99 ms"]]
    for forgets, binary in itertools.product((False, True), repeat=2):
        told, wrong, took = asyncio.run(measure(binary=binary, forgets=forgets, seed=1))
        rows.append(
            [
                ("msgpack" if binary else "JSON") + (", acks and state lost" if forgets else ""),
                str(len(took)),
                f"{told:,}",
                str(wrong),
                f"{percentile(took, 0.5) * 1000:.1f}",
                f"{percentile(took, 0.99) * 1000:.1f}",
            ]
        )
    table("A story told while connections are cut; a wrong view lost, doubled or misplaced something", rows)


if __name__ == "__main__":
    main()
