"""The cost of telemetry for each token of a reply: off, without an SDK, and with one."""

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from types import FrameType

from ably_ai_transport_vercel import UIMessageChunk, UIMessageCodec, text_message
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from ably_ai_transport import AgentSession, ClientSession
from ably_ai_transport.telemetry import instrument, uninstrument
from ably_ai_transport.testing import MemoryHub

CODEC = UIMessageCodec()
TOKENS = 3000
ROUNDS = 15


async def reply(tokens: int) -> AsyncIterator[UIMessageChunk]:
    yield {"type": "start"}
    yield {"type": "text-start", "id": "t"}
    for _ in range(tokens):
        yield {"type": "text-delta", "id": "t", "delta": "word "}
        await asyncio.sleep(0)
    yield {"type": "text-end", "id": "t"}
    yield {"type": "finish"}


async def pipe(tokens: int, profile: Callable[[FrameType, str, object], None] | None = None) -> float:
    """Return the seconds that a pipe takes, from an agent to a client in memory."""
    hub = MemoryHub()
    async with (
        AgentSession(hub.client("agent"), "story", codec=CODEC, append_interval=0) as agent,
        ClientSession(hub.client("alice"), "story", codec=CODEC) as alice,
    ):
        run = await alice.view.send(CODEC.create_user_message(text_message("hi")))
        async with agent.create_run(run.to_invocation()) as work:
            if profile is not None:
                sys.setprofile(profile)
            began = time.perf_counter()
            await work.pipe(reply(tokens))
            took = time.perf_counter() - began
            sys.setprofile(None)
    return took


def calls(tokens: int) -> int:
    """Return the calls of Python functions while a reply is piped."""
    count = 0

    def on_event(frame: FrameType, event: str, argument: object) -> None:  # noqa: ARG001
        nonlocal count
        count += event == "call"

    asyncio.run(pipe(tokens, on_event))
    return count


def measure() -> tuple[float, float]:
    """Return the calls and the median of the microseconds for each further token."""
    further = (calls(2 * TOKENS) - calls(TOKENS)) / TOKENS
    times = [asyncio.run(pipe(TOKENS)) for _ in range(ROUNDS)]
    return further, statistics.median(times) / TOKENS * 1e6


def main() -> None:
    def with_sdk() -> None:
        reader = InMemoryMetricReader()
        instrument(tracer_provider=TracerProvider(), meter_provider=MeterProvider([reader]))

    print("telemetry, for each token:")
    for label, switch in (("off", uninstrument), ("no SDK", instrument), ("SDK", with_sdk)):
        switch()
        try:
            count, micros = measure()
        finally:
            uninstrument()
        print(f"  {label:8} {count:6.1f} calls  {micros:6.1f} µs")


if __name__ == "__main__":
    main()
