"""Telemetry that fails breaks no session, and telemetry that is off costs nothing and is not there."""

import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from types import FrameType
from typing import Literal, TypeAlias, get_args

import pytest
from ably_ai_transport_vercel import UIMessageChunk
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import INVALID_SPAN, get_current_span

from ably_ai_transport import AITransportError
from ably_ai_transport.session.telemetry import NO_RUN, NO_SESSION, Operation, observe_session
from ably_ai_transport.telemetry import instrument, uninstrument
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import InboundMessage, OutboundMessage
from tests.session.stage import agent, client, reply, said, stream, texts
from tests.telemetry.seen import Seen


class BrokenExporter(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise OSError("no collector")


class BrokenAtStart(SpanProcessor):
    def on_start(self, span: Span, parent_context: object = None) -> None:
        raise RuntimeError("broken")


class BrokenAtEnd(SpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("broken")


PROCESSORS = {
    "exporter": SimpleSpanProcessor(BrokenExporter()),
    "start": BrokenAtStart(),
    "end": BrokenAtEnd(),
}


@pytest.mark.parametrize("broken", PROCESSORS)
async def test_a_session_goes_on(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    tracers = TracerProvider()
    tracers.add_span_processor(PROCESSORS[broken])
    instrument(tracer_provider=tracers, meter_provider=MeterProvider())
    hub = MemoryHub()
    try:
        async with client(hub) as alice, agent(hub) as session:
            run = await alice.view.send(said("hi"))
            async with session.create_run(run.to_invocation()) as work:
                await work.pipe(stream(reply("hello")))
            await hub.settle()
            assert await run.ended == "complete"
            assert texts(alice.view.messages) == ["hi", "hello"]
    finally:
        uninstrument()
    assert get_current_span() is INVALID_SPAN
    assert [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_sessions_are_observed_only_while_it_is_switched_on(seen: Seen) -> None:
    hub = MemoryHub()
    async with client(hub):
        pass
    uninstrument()
    async with client(hub) as alice:
        await alice.view.send(said("hi"))
        channel = hub.client("bob").open_channel("chat:1")
        assert observe_session(channel) is NO_SESSION
        assert NO_SESSION.run() is NO_RUN
        channel.release()
    assert [span.name for span in seen.spans] == ["session"]


MODULES = ("ably_ai_transport.telemetry.", "ably_ai_transport.session.telemetry")
Before: TypeAlias = Literal["nothing", "a refused send", "a reply without text"]


async def calls_while_piping(count: int, before: Before) -> int:
    """Return how often telemetry is called while a reply of so many words is piped."""
    hub = MemoryHub()
    calls = 0

    def on_call(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        module: str = frame.f_globals["__name__"]
        calls += event == "call" and module.startswith(MODULES)

    async def delivered() -> AsyncIterator[UIMessageChunk]:
        for chunk in reply(*["word "] * count):
            yield chunk
            await hub.settle()

    async with client(hub) as alice, agent(hub) as session:
        if before == "a refused send":
            hub.faults.nack(count=1)
            with pytest.raises(AITransportError):
                await alice.view.send(said("hi"))
        elif before == "a reply without text":
            run = await alice.view.send(said("hi"))
            async with session.create_run(run.to_invocation()):
                pass
            await hub.settle()
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            sys.setprofile(on_call)
            try:
                await work.pipe(delivered())
            finally:
                sys.setprofile(None)
    return calls


@pytest.mark.parametrize("before", get_args(Before))
async def test_a_token_costs_no_call(seen: Seen, before: Before) -> None:
    assert await calls_while_piping(10, before) == await calls_while_piping(40, before) > 0


MOMENTS = st.lists(
    st.sampled_from(
        ["begin", "received", "failed", "ending", "step", "step end", "pipe", "pipe end", "enter", "leave"]
    )
    | st.sampled_from(["opening", "open", "closing", "closed"]),
    max_size=30,
)


@given(MOMENTS)
async def test_in_whatever_order_moments_come_each_span_ends_and_the_context_is_restored(
    moments: list[str],
) -> None:
    seen = Seen()
    seen.instrument()
    try:
        hub = MemoryHub()
        channel = hub.client("agent").open_channel("chat:1")
        run = observe_session(channel).run()
        pipes: list[Operation] = []
        entered = 0
        for number, moment in enumerate(moments):
            match moment:
                case "begin":
                    run.begin("r", "i")
                case "received":
                    run.received(InboundMessage(serial=f"{number}"))
                case "failed":
                    run.failed(ValueError("x"))
                case "ending":
                    run.ending("complete")
                case "step":
                    run.step_starting(f"s{number % 2}")
                case "step end":
                    run.step_ended("complete")
                case "pipe":
                    pipes.append(run.piping("s0").__enter__())
                case "pipe end" if pipes:
                    pipes.pop().__exit__(None, None, None)
                case "enter" if not pipes:
                    run.enter()
                    entered += 1
                case "leave" if entered and not pipes:
                    run.leave()
                    entered -= 1
                case phase if phase in ("opening", "open", "closing", "closed"):
                    run.moved(phase, "r", "i")
                case _:
                    pass
        with run.publishing(OutboundMessage("ai-run-start")):
            pass
        for pipe in reversed(pipes):
            pipe.__exit__(None, None, None)
        for _ in range(entered):
            run.leave()
        run.moved("opening", "r", "i")
        run.moved("closed", "r", "i")
        channel.release()
    finally:
        uninstrument()
    assert get_current_span() is INVALID_SPAN
    assert seen.open_spans == []


def printed(code: str) -> str:
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


def test_the_library_does_not_import_it() -> None:
    code = "import sys, ably_ai_transport; print('opentelemetry' in sys.modules)"
    assert printed(code) == "False"


def test_without_the_package_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "try:\n    import ably_ai_transport.telemetry\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    assert printed(code) == (
        'unable to import telemetry; no opentelemetry-api (pip install "ably-ai-transport[otel]")'
    )
