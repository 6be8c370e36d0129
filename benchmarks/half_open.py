"""Half-open connections: how long a publish waits for its ack after a connection has become a black hole.

The socket stays open, but everything that either side sends is lost. New connections are possible at once, as
after the loss of one NAT entry or of one server. Measured with the defaults, with `set_heartbeat_interval`,
and, when asked, with the SDK alone.
"""

import asyncio
import statistics
import sys
import time
from typing import Any, cast

from ably_ai_transport import OutboundMessage, set_heartbeat_interval
from ably_ai_transport.channel import open_channel
from ably_ai_transport.local import LocalServer
from benchmarks.measure import client, say, table

INTERVAL = 1.0
ROUNDS = 10
SILENT_ROUNDS = 5


async def publishing(interval: float | None) -> float:
    """Return the seconds from the hole to the ack of a publish that was made in it."""
    async with LocalServer() as server, client(server, "agent") as ably:
        channel = open_channel(ably, "c")
        if interval is not None:
            set_heartbeat_interval(ably, interval)
        await channel.attach()
        await channel.publish([OutboundMessage(data="before")])
        server.faults.black_hole("agent")
        began = time.perf_counter()
        await channel.publish([OutboundMessage(data="after")])
        return time.perf_counter() - began


async def listening(interval: float | None) -> float:
    """Return the seconds from the hole to a message for a client that publishes nothing."""
    async with LocalServer() as server, client(server, "agent") as ably, client(server, "reader") as reading:
        channel, listener = open_channel(ably, "c"), open_channel(reading, "c")
        if interval is not None:
            set_heartbeat_interval(reading, interval)
        await listener.attach()
        arrived = asyncio.Event()
        listener.subscribe(lambda _: arrived.set())
        server.faults.black_hole("reader")
        began = time.perf_counter()
        await channel.publish([OutboundMessage(data="lost at first")])
        await arrived.wait()
        return time.perf_counter() - began


async def bare() -> float:
    """Return the same as `publishing`, for the SDK alone."""
    async with LocalServer() as server, client(server, "agent") as ably:
        channel = cast("Any", ably).channels.get("c")
        await channel.attach()
        server.faults.black_hole("agent")
        began = time.perf_counter()
        await channel.publish("name", "after")
        return time.perf_counter() - began


async def measure() -> list[list[str]]:
    """Return the rows of the table."""
    rows = [["", "rounds", "median s", "slowest s", "at most"]]
    say("half-open connections: publishing and listening")
    for title, function, interval, count, most in (
        ("publishing, default", publishing, None, ROUNDS, 20),
        ("listening, default", listening, None, SILENT_ROUNDS, 20),
        (f"publishing, {INTERVAL:g} s", publishing, INTERVAL, ROUNDS, 3),
        (f"listening, {INTERVAL:g} s", listening, INTERVAL, ROUNDS, 3),
    ):
        # All rounds at a time: they mostly wait.
        took = await asyncio.gather(*(function(interval) for _ in range(count)))
        assert max(took) <= most, (title, took)
        rows.append([title, str(count), f"{statistics.median(took):.1f}", f"{max(took):.1f}", str(most)])
    return rows


def main() -> None:
    """Run the benchmark and print it; with `bare`, the SDK alone, which takes up to a minute."""
    rows = asyncio.run(measure())
    if "bare" in sys.argv[1:]:
        took = asyncio.run(bare())
        rows.append(["the SDK alone, publishing", "1", f"{took:.1f}", f"{took:.1f}", ""])
    table("From the moment a connection becomes a black hole until the message is through", rows)


if __name__ == "__main__":
    main()
