"""The cost of a token in a long conversation, and of loading one, against the npm package."""

import asyncio
import json
import tempfile
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport import ClientSession, InboundMessage
from benchmarks.measure import median_of, run_node, say, table
from integration_tests.differential.script import message_to_json
from tests.conversation.talk import Talk
from tests.support.scripted_channel import ScriptedChannel, ScriptedSource

LENGTHS = (10, 200, 1_000, 10_000)
TOKENS = 500
ROUNDS = 3
FORKS = 200


def conversation(messages: int, forks: int = 0) -> Talk:
    """Compose a conversation; half of its messages are replies, some are edited or regenerated."""
    talk = Talk()
    parent: str | None = None
    for turn in range(messages // 2):
        said = talk.say(f"question {turn}", parent)
        run = talk.answer(said, said, "an ", "answer ", "of ", "some ", "words")
        if turn < forks:
            if turn % 2:
                again = talk.ask_again(run.messages[0], said)
                run = talk.answer(again, said, "another ", "answer", regenerates=run.messages[0])
            else:
                edit = talk.say(f"better question {turn}", parent, edits=said)
                run = talk.answer(edit, edit, "a ", "better ", "answer")
        parent = run.messages[-1]
    return talk


def reply_to(talk: Talk) -> tuple[list[InboundMessage], list[list[InboundMessage]]]:
    """Return the start of a reply, and its tokens by round."""
    start = len(talk.live)
    said = talk.say("and now?", talk.runs[-1].messages[-1])
    run = talk.start(said, said)
    step = talk.step(run)
    message_id = "reply"
    talk.output(step, "start", message_id)
    talk.output(step, "start-step", message_id)
    serial = talk.stream(step, message_id)
    live = talk.live[start:]
    rounds: list[list[InboundMessage]] = []
    for _ in range(ROUNDS):
        place = len(talk.live)
        for i in range(TOKENS):
            talk.append(serial, f" token{i}")
        rounds.append(talk.live[place:])
    return live, rounds


async def ours(
    history: Sequence[InboundMessage],
    live: Sequence[InboundMessage],
    tokens: Sequence[Sequence[InboundMessage]],
    *,
    reads: bool,
) -> dict[str, Any]:
    """Load a conversation, and deliver tokens."""
    channel = ScriptedChannel("bench", client_id="alice")
    channel.history_walks.append(history)
    session = ClientSession(ScriptedSource(channel), "bench", codec=UIMessageCodec(), history_page_size=1000)
    read = 0
    rounds: list[float] = []

    async with session:
        began = time.perf_counter()
        await session.view.load_all()
        loading = (time.perf_counter() - began) * 1000
        channel.deliver(*live)

        def on_update() -> None:
            nonlocal read
            if reads:
                read += len(session.view.messages)

        session.view.on_update(on_update)
        for messages in tokens:
            began = time.perf_counter()
            for message in messages:
                channel.deliver(message)
            rounds.append((time.perf_counter() - began) * 1e6 / len(messages))
        last = session.view.messages[-1].message["parts"][-1].get("text")
        shown = len(session.view.messages)
    return {"loading": loading, "rounds": rounds, "read": read, "messages": shown, "last": last}


def theirs(
    history: Sequence[InboundMessage],
    live: Sequence[InboundMessage],
    tokens: Sequence[Sequence[InboundMessage]],
    *,
    reads: bool,
) -> dict[str, Any]:
    """Do the same with the npm package."""
    told = {
        "history": [message_to_json(message) for message in history],
        "live": [message_to_json(message) for message in live],
        "tokens": [[message_to_json(message) for message in messages] for messages in tokens],
        "reads": reads,
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "conversation.json"
        file.write_text(json.dumps(told), "utf-8")
        return run_node("bench-conversation.mjs", {"file": str(file)}, "--expose-gc")


def memory(history: Sequence[InboundMessage]) -> float:
    """Return the bytes that a session holds after loading a conversation."""

    async def load() -> int:
        channel = ScriptedChannel("bench", client_id="alice")
        channel.history_walks.append(history)
        source = ScriptedSource(channel)
        before, _ = tracemalloc.get_traced_memory()
        async with ClientSession(source, "bench", codec=UIMessageCodec(), history_page_size=1000) as session:
            await session.view.load_all()
            held, _ = tracemalloc.get_traced_memory()
        return held - before

    tracemalloc.start()
    try:
        return asyncio.run(load())
    finally:
        tracemalloc.stop()


def _row(length: int, *, reads: bool) -> list[str]:
    talk = conversation(length)
    history = talk.history[::-1]
    live, tokens = reply_to(talk)
    here = asyncio.run(ours(history, live, tokens, reads=reads))
    there = theirs(history, live, tokens, reads=reads)
    assert (here["messages"], here["last"]) == (there["messages"], there["last"])
    mine, other = median_of(here["rounds"]), median_of(there["rounds"])
    label = f"{length:,} messages" + (", read at each" if reads else "")
    return [label, f"{mine:.1f}", f"{other:.1f}", f"{mine / other:.2f}"]


def main() -> None:
    """Run the benchmark and print it."""
    rows = [["", "here, µs", "npm, µs", "ratio"]]
    for reads in (False, True):
        for length in LENGTHS:
            say(f"a token in a conversation of {length:,} messages")
            rows.append(_row(length, reads=reads))
    table(f"A token decoded, folded and shown: median of {ROUNDS} rounds of {TOKENS}", rows)

    say("loading a conversation")
    history = conversation(1_000, FORKS).history[::-1]
    here = [asyncio.run(ours(history, [], [], reads=False)) for _ in range(ROUNDS)]
    there = [theirs(history, [], [], reads=False) for _ in range(ROUNDS)]
    assert here[0]["messages"] == there[0]["messages"]
    took, took_there = (median_of([load["loading"] for load in loads]) for loads in (here, there))
    held, held_there = memory(history) / 1e6, there[0]["held"] / 1e6
    table(
        f"Loading {len(history):,} channel messages (1,000 shown, {FORKS} forks): median of {ROUNDS}",
        [
            ["", "here", "npm", "ratio"],
            ["milliseconds", f"{took:.0f}", f"{took_there:.0f}", f"{took / took_there:.2f}"],
            ["MB held", f"{held:.1f}", f"{held_there:.1f}", f"{held / held_there:.2f}"],
        ],
    )


if __name__ == "__main__":
    main()
