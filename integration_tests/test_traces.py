"""Trace context crosses the channel beside sessions in JavaScript, which carry it and ignore it."""

from collections.abc import Iterator

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIMessageCodec
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id, get_current_span

from ably_ai_transport import ClientSession, InboundMessage
from ably_ai_transport.telemetry import extract, instrument, uninstrument
from integration_tests import streams
from integration_tests.engines.server import Server
from integration_tests.plain_clients.js_ably import JsAbly, JsChannel
from integration_tests.stage import Pairing, Stage, agree, texts

SCRIPT = streams.text_stream(["Hello", " world"])


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    instrument(tracer_provider=tracers)
    yield exporter
    uninstrument()


def traceparent(span: SpanContext) -> str:
    return f"00-{format_trace_id(span.trace_id)}-{format_span_id(span.span_id)}-{span.trace_flags:02x}"


@pytest.mark.parametrize(
    "pairing",
    [Pairing("js", "python", "js"), Pairing("python", "js", "js"), Pairing("python", "python", "js")],
    ids=str,
)
async def test_a_traced_conversation_with_javascript(stage: Stage, spans: InMemorySpanExporter) -> None:
    async with (
        JsAbly(stage.server, binary=stage.binary) as process,
        stage.agent() as agent,
        stage.client() as alice,
        stage.other() as bob,
    ):
        await process.connect("plain")
        plain = JsChannel(process, "plain", stage.channel)
        await plain.subscribe()
        run = await alice.send("hi")
        result = await agent.serve(run.invocation, SCRIPT)
        for client in (alice, bob):
            await client.wait_for(status="complete")
        assert result["outcome"] == "complete"
        shown = await agree(alice, bob)
        assert texts(shown["messages"]) == ["hi", "Hello world"]
        heard: dict[str, object] = {}
        name = ""
        while name != "ai-run-end":
            [message] = await plain.heard()
            name = message["name"]
            if "headers" in message["extras"]:
                heard[name] = message["extras"]["headers"]

    found = {span.name: span.context for span in spans.get_finished_spans() if span.context is not None}
    expected = {
        name: {"traceparent": traceparent(span)}
        for name, span in (("ai-input", found.get("send")), ("ai-run-start", found.get("invoke_agent")))
        if span is not None
    }
    assert heard == expected
    assert len(expected) == [stage.pairing.agent, stage.pairing.client].count("python")
    for span in spans.get_finished_spans():
        if span.name == "invoke_agent":
            parent = None if span.parent is None else span.parent.span_id
            sent = found.get("send")
            assert parent == (None if sent is None else sent.span_id)
            assert (span.attributes or {})["ably_ai_transport.event.id"] == run.invocation["inputEventId"]


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
async def test_the_context_of_a_message_from_javascript_can_be_read(
    server: Server, binary: bool, channel: str, spans: InMemorySpanExporter
) -> None:
    received: list[InboundMessage] = []
    arrived = anyio.Event()

    def take(message: InboundMessage) -> None:
        received.append(message)
        arrived.set()

    ably = AblyRealtime(**server.python_options("alice", use_binary_protocol=binary))
    try:
        async with (
            JsAbly(server, binary=binary) as process,
            ClientSession(ably, channel, codec=UIMessageCodec()) as alice,
        ):
            alice.tree.on_message(take)
            await process.connect("plain")
            plain = JsChannel(process, "plain", channel)
            await plain.subscribe()
            sent = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "v=1"}
            await plain.publish({"name": "ai-input", "extras": {"headers": sent}})
            with anyio.fail_after(10):
                await arrived.wait()
    finally:
        await ably.close()
    context = get_current_span(extract(received[0])).get_span_context()
    assert format_span_id(context.span_id) == "b" * 16
    assert context.trace_state.to_header() == "v=1"
