"""HAIP echoes a second: one text part to the server and back, for each pair of client and server.

The reference peers (TypeScript) take part where the environment variable ``HAIP_REFERENCE`` names a folder
with built copies of ``haip-sdk`` (with ws 7) and ``haip-server``. Its flow control is off, because it never
grants a credit again; its log is off, too.
"""

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import jwt
from ably_ai_transport_haip import (
    FlowControlConfig,
    HaipEnvelope,
    HaipEventType,
    HaipMessage,
    create_haip_client,
)
from ably_ai_transport_haip.client.config import TransportName
from ably_ai_transport_haip.protocol import new_id

from benchmarks.measure import median_of, process, say, table

JS: Final = Path(__file__).parent / "js"
ROUNDS: Final = 5
ONE, MANY = 1, 100
ECHOES: Final = {ONE: 5_000, MANY: 20_000}
PATHS: Final[dict[TransportName, str]] = {
    "websocket": "ws://127.0.0.1:{}/",
    "sse": "http://127.0.0.1:{}/haip/sse",
    "http-streaming": "http://127.0.0.1:{}/haip/stream",
}


def token() -> str:
    """Return a token for both servers; neither benchmark server looks at its signature."""
    said = {"sub": "bench", "userId": "bench", "exp": int(time.time()) + 3600}
    return cast("Any", jwt).encode(said, "a key that nobody checks, of enough bytes")


async def echo_ours(port: int, echoes: int, in_flight: int, transport: TransportName = "websocket") -> float:
    """Return the echoes a second of our client."""
    client = create_haip_client(
        url=PATHS[transport].format(port),
        token=token(),
        transport=transport,
        flow_control=FlowControlConfig(on_exhausted="wait"),
    )
    room = asyncio.Semaphore(in_flight)
    received = 0
    finished = asyncio.Event()

    def take(message: HaipMessage) -> None:
        nonlocal received
        if message.type is HaipEventType.MESSAGE_PART:
            received += 1
            room.release()
            if received == echoes:
                finished.set()

    client.on("message", take)
    text_id, envelope = new_id(), HaipEnvelope(channel="USER")
    async with client:
        began = time.perf_counter()
        for n in range(echoes):
            await room.acquire()
            payload = {"message_id": text_id, "text": f"word {n}"}
            await client.send_message(HaipMessage(HaipEventType.MESSAGE_PART, payload, envelope))
        await finished.wait()
        return echoes / (time.perf_counter() - began)


def echo_theirs(reference: str, port: int, echoes: int, in_flight: int) -> float:
    """Return the echoes a second of the reference client."""
    arguments = {
        "reference": reference,
        "url": PATHS["websocket"].format(port),
        "token": token(),
        "echoes": echoes,
        "inFlight": in_flight,
    }
    done = subprocess.run(
        ["node", str(JS / "haip-client.mjs"), json.dumps(arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the reference client failed: {done.stderr[-2000:]}")
    return echoes / json.loads(done.stdout.strip().splitlines()[-1])["seconds"]


@contextmanager
def reference_server(reference: str) -> Generator[int]:
    """Run the reference server; yields its port."""
    running = subprocess.Popen(
        ["node", str(JS / "haip-server.mjs"), reference],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdin is not None
    assert running.stdout is not None
    try:
        yield json.loads(running.stdout.readline())["port"]
    finally:
        running.stdin.close()
        running.wait()
        running.stdout.close()


def main() -> None:
    """Print the table."""
    reference = os.environ.get("HAIP_REFERENCE")
    rates: dict[tuple[str, int], list[float]] = {}
    with process("benchmarks.haip_server") as ours:
        for number in range(ROUNDS):
            say(f"haip, round {number + 1} of {ROUNDS}")
            for in_flight in (ONE, MANY):
                echoes = ECHOES[in_flight]

                def note(name: str, rate: float, in_flight: int = in_flight) -> None:
                    rates.setdefault((name, in_flight), []).append(rate)

                note("ours and ours", asyncio.run(echo_ours(ours["port"], echoes, in_flight)))
                for transport in ("sse", "http-streaming"):
                    few = echoes // 10
                    rate = asyncio.run(echo_ours(ours["port"], few, in_flight, transport))
                    note(f"ours and ours, {transport}", rate)
                if reference is None:
                    continue
                note("reference and ours", echo_theirs(reference, ours["port"], echoes, in_flight))
                with reference_server(reference) as port:
                    note("reference and reference", echo_theirs(reference, port, echoes, in_flight))
                    note("ours and reference", asyncio.run(echo_ours(port, echoes, in_flight)))
    table("HAIP echoes a second (client and server)", rows(rates, with_ratio=reference is not None))
    if reference is None:
        print("  The reference peers are left out: HAIP_REFERENCE names no folder with built copies.")


def rows(rates: dict[tuple[str, int], list[float]], *, with_ratio: bool) -> list[list[str]]:
    """Return the rows of the table, with the ratios to the reference pair of the same rounds."""
    lines = [
        ["pair", "one in flight", f"{MANY} in flight", *(["ratio to the reference"] if with_ratio else [])]
    ]
    for name in dict.fromkeys(name for name, _ in rates):
        medians = [median_of(rates[name, in_flight]) for in_flight in (ONE, MANY)]
        line = [name, *(f"{rate:,.0f}" for rate in medians)]
        if with_ratio:
            peers = [median_of(rates["reference and reference", in_flight]) for in_flight in (ONE, MANY)]
            line.append(" / ".join(f"{rate / peer:.2f}" for rate, peer in zip(medians, peers, strict=True)))
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()
