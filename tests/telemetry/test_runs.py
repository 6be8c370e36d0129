"""The spans of runs: where they hang, how they end, and how steers and cancels are tied to them."""

from collections.abc import AsyncIterator
from typing import Any, cast

import anyio
import pytest
from ably_ai_transport_vercel import UIMessageChunk
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from ably_ai_transport import AITransportError, InboundMessage, Invocation, OutboundMessage, RunHooks
from ably_ai_transport.telemetry import extract, instrument, uninstrument
from ably_ai_transport.telemetry.propagation import inject
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import Gated, agent, client, reply, said, stream
from tests.telemetry.seen import Seen, attributes, id_of, linked, trace_of


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


async def broken() -> AsyncIterator[UIMessageChunk]:
    yield {"type": "start"}
    raise ValueError("no model")


def reason(span: ReadableSpan) -> object:
    return attributes(span)["ably_ai_transport.run.reason"]


async def test_an_input_without_a_trace_makes_a_run_of_its_own(seen: Seen, hub: MemoryHub) -> None:
    uninstrument()
    alice = client(hub)
    seen.instrument()
    async with alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        with seen.tracer.start_as_current_span("request") as request:
            async with session.create_run(run.to_invocation()) as work:
                await work.pipe(stream(reply("hello")))
        async with session.create_run(run.to_invocation(), run_id="once more"):
            pass
    in_request, alone = seen.named("invoke_agent")
    assert in_request.parent == request.get_span_context()
    assert alone.parent is None
    for span in (in_request, alone):
        assert attributes(span)["ably_ai_transport.event.id"] == run.input_event_id
        assert attributes(span)["ably_ai_transport.input.id"] == run.input_codec_message_id
    assert seen.named("send") == []


async def test_a_run_may_only_link_to_its_sender(seen: Seen, hub: MemoryHub) -> None:
    seen.instrument(links_only=True)
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()):
            pass
    span = seen.one("invoke_agent")
    assert span.parent is None
    assert id_of(seen.one("send")) in linked(span)


async def test_a_cancelled_run_is_linked_to_the_cancel_and_is_no_failure(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, client(hub, "bob") as bob, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        source = Gated("never", "told")
        async with session.create_run(run.to_invocation()) as work, anyio.create_task_group() as tasks:
            tasks.start_soon(work.pipe, source.chunks())
            await source.reached.wait()
            await bob.cancel(work.run_id)
    span = seen.one("invoke_agent")
    assert id_of(seen.one("cancel")) in linked(span)
    assert [event.name for event in span.events] == ["cancel"]
    assert reason(span) == "cancelled"
    assert attributes(seen.one("pipe"))["ably_ai_transport.outcome"] == "cancelled"
    assert attributes(seen.one("step"))["ably_ai_transport.step.reason"] == "cancelled"
    assert {one.status.status_code for one in seen.spans} == {StatusCode.UNSET}


async def test_a_cancel_and_a_steer_from_before_the_run_was_open_are_linked(
    seen: Seen, hub: MemoryHub
) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        await hub.settle()
        work = session.create_run(run.to_invocation(), run_id="r1")
        await run.cancel()
        await alice.view.send(said("and"), run_id="r1")
        await hub.settle()
        async with work:
            assert work.abort_signal.aborted
    span = seen.one("invoke_agent")
    assert sorted(event.name for event in span.events) == ["cancel", "steer"]
    _, steer = seen.named("send")
    assert {id_of(seen.one("cancel")), id_of(steer)} <= set(linked(span))


async def test_inputs_of_other_runs_are_no_steers(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        await hub.settle()
        work = session.create_run(run.to_invocation(), run_id="r1")
        await alice.view.send(said("before"), run_id="another")
        await hub.settle()
        async with work:
            await alice.view.send(said("and"), run_id="another")
            await alice.view.send(said("more"))
            await hub.settle()
    assert seen.one("invoke_agent").events == ()


async def test_steers_from_before_the_input_of_a_resumed_run_belong_to_its_earlier_span(
    seen: Seen, hub: MemoryHub
) -> None:
    async with client(hub) as alice:
        run = await alice.view.send(said("hi"))
        async with agent(hub) as first:
            work = first.create_run(run.to_invocation(), run_id="r1")
            await work.start()
            await alice.view.send(said("shorter"), run_id="r1")
            await hub.settle()
            await work.suspend()
        await hub.settle()
        answer = await alice.view.send(said("yes"), run_id="r1")
        async with agent(hub) as second, second.create_run(answer.to_invocation()) as resumed:
            assert len(await resumed.view.load_all()) == 3
    suspended, resumed_span = seen.named("invoke_agent")
    assert [event.name for event in suspended.events] == ["steer"]
    assert resumed_span.events == ()


async def test_a_failed_pipe_fails_its_step_and_its_run(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        session.on_error(lambda _: None)
        alice.on_error(lambda _: None)
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(broken())
    pipe, step, span = seen.one("pipe"), seen.one("step"), seen.one("invoke_agent")
    assert attributes(pipe)["error.type"] == "ValueError"
    assert pipe.status.status_code is StatusCode.ERROR
    assert attributes(step)["ably_ai_transport.step.reason"] == "failed"
    assert reason(span) == "error"
    assert attributes(span)["error.type"] == "104008"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_body_that_raises_is_the_failure_of_its_run(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        alice.on_error(lambda _: None)
        run = await alice.view.send(said("hi"))
        with pytest.raises(KeyError):
            async with session.create_run(run.to_invocation()) as work, work.create_step(step_id="think"):
                raise KeyError("model")
    assert reason(seen.one("invoke_agent")) == "error"
    assert attributes(seen.one("step"))["ably_ai_transport.step.reason"] == "failed"


async def test_a_run_that_is_not_found_fails(seen: Seen, hub: MemoryHub) -> None:
    async with agent(hub) as session:
        run = session.create_run(Invocation(input_event_id="e", session_name="chat:1"))
        with pytest.raises(AITransportError):
            await run.start(timeout=0)
    span = seen.one("invoke_agent")
    assert attributes(span)["error.type"] == "104010"
    assert reason(span) == "error"


async def test_a_cancelled_start_ends_its_span(seen: Seen, hub: MemoryHub) -> None:
    async with agent(hub) as session:
        run = session.create_run(Invocation(input_event_id="e", session_name="chat:1"))
        with anyio.move_on_after(0):
            await run.start()
    assert reason(seen.one("invoke_agent")) == "cancelled"


async def test_a_run_that_was_not_started_has_no_span(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        session.create_run(run.to_invocation())
    assert seen.named("invoke_agent") == []


async def test_a_run_goes_on_in_another_process_in_the_same_trace(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice:
        run = await alice.view.send(said("hi"))
        first = agent(hub)
        await first.connect()
        await first.create_run(run.to_invocation(), run_id="r1").start()
        await first.detach()
        async with agent(hub) as second:
            adopted = second.adopt_run(run.to_invocation(), run_id="r1", invocation_id="i2")
            async with adopted:
                await adopted.pipe(stream(reply("hello")))
    left, adopting = seen.named("invoke_agent")
    assert (reason(left), reason(adopting)) == ("abandoned", "complete")
    send = seen.one("send")
    for span in (left, adopting):
        assert span.parent is not None
        assert span.parent.span_id == id_of(send)
    assert attributes(adopting)["ably_ai_transport.run.id"] == "r1"


async def test_a_run_that_somebody_else_ends_is_lost(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        session.on_error(lambda _: None)
        alice.on_error(lambda _: None)
        run = await alice.view.send(said("hi"))
        source = Gated("never", "told")
        async with session.create_run(run.to_invocation()) as work, anyio.create_task_group() as tasks:
            tasks.start_soon(work.pipe, source.chunks())
            await source.reached.wait()
            await alice.end_run(work.run_id)
    span = seen.one("invoke_agent")
    assert reason(span) == "lost"
    assert attributes(span)["error.type"] == "104051"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_suspended_run_is_resumed_in_the_trace_of_the_answer(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        work = session.create_run(run.to_invocation())
        await work.start()
        await work.suspend()
        await hub.settle()
        answer = await alice.view.send(said("yes"), run_id=work.run_id)
        async with session.create_run(answer.to_invocation()):
            pass
    suspended, resumed = seen.named("invoke_agent")
    asked, answered = seen.named("send")
    assert (reason(suspended), reason(resumed)) == ("suspended", "complete")
    assert trace_of(suspended) == trace_of(asked)
    assert trace_of(resumed) == trace_of(answered)
    assert [event.name for event in resumed.events] == []


async def test_a_pipe_without_outputs_and_single_outputs(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        async with session.create_run(run.to_invocation()) as work:
            await work.pipe(stream([]))
            async with work.create_step(step_id="one") as step:
                await step.send({"type": "start"})
    reasons = [attributes(step)["ably_ai_transport.step.reason"] for step in seen.named("step")]
    assert reasons == ["empty", "complete"]


async def test_a_steer_of_the_runs_own_client(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        run = await alice.view.send(said("hi"))
        arrived = anyio.Event()
        hooks = RunHooks[UIMessageChunk](on_steer=arrived.set)
        async with session.create_run(run.to_invocation(), hooks=hooks):
            await hub.settle()
            with seen.tracer.start_as_current_span("interjection"):
                steer = run.steer(said("shorter"))
            await steer.published
            await arrived.wait()
    assert seen.parent(seen.one("steer")) == "interjection"
    assert id_of(seen.one("steer")) in linked(seen.one("invoke_agent"))
    assert seen.one("steer").kind is SpanKind.PRODUCER


async def test_a_refused_send_is_a_failure(seen: Seen, hub: MemoryHub) -> None:
    async with client(hub) as alice:
        hub.faults.nack(count=1)
        with pytest.raises(AITransportError):
            await alice.view.send(said("hi"))
    assert seen.one("send").status.status_code is StatusCode.ERROR


async def test_the_headers_of_an_application_stay(seen: Seen, hub: MemoryHub) -> None:
    def mark(message: Any) -> None:  # noqa: ANN401
        message.extras["headers"] = {"mine": "1"}

    received: list[InboundMessage] = []
    async with client(hub) as alice, agent(hub) as session:
        alice.tree.on_message(received.append)
        run = await alice.view.send(said("hi"))
        hooks = RunHooks[UIMessageChunk](on_message=mark)
        async with session.create_run(run.to_invocation(), hooks=hooks) as work:
            await work.pipe(stream(reply("hello")))
        await hub.settle()
    outputs = [message for message in received if message.name == "ai-output"]
    assert outputs
    for message in outputs:
        assert cast("dict[str, object]", message.extras)["headers"] == {"mine": "1"}


def test_headers_that_a_message_has_stay_beside_its_trace(seen: Seen) -> None:
    message = OutboundMessage("ai-input", extras={"headers": {"mine": "1"}})
    with seen.tracer.start_as_current_span("sending"):
        inject(message)
    headers = cast("dict[str, str]", message.extras["headers"])
    assert headers["mine"] == "1"
    read = get_current_span(extract(InboundMessage(extras=message.extras))).get_span_context()
    assert read.span_id == id_of(seen.one("sending"))


TRACEPARENTS = st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True)
VALUES = TRACEPARENTS | st.text() | st.integers() | st.none() | st.lists(st.text() | st.integers())
HEADERS = st.fixed_dictionaries({}, optional={"traceparent": VALUES, "tracestate": VALUES, "other": VALUES})


@given(st.fixed_dictionaries({"headers": HEADERS}) | st.fixed_dictionaries({"headers": VALUES}) | VALUES)
@example({"headers": {"traceparent": 1}})
@example({"headers": {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": 1}})
def test_whatever_the_headers_are_they_can_be_read(extras: object) -> None:
    span = get_current_span(extract(InboundMessage(extras=extras))).get_span_context()
    assert span.is_valid or span.span_id == 0


async def test_without_an_sdk_nothing_is_added_to_messages(hub: MemoryHub) -> None:
    instrument()
    received: list[InboundMessage] = []
    try:
        async with client(hub) as alice, agent(hub) as session:
            alice.tree.on_message(received.append)
            run = await alice.view.send(said("hi"))
            async with session.create_run(run.to_invocation()) as work:
                await work.pipe(stream(reply("hello")))
            await hub.settle()
    finally:
        uninstrument()
    assert received
    assert all("headers" not in cast("dict[str, object]", message.extras) for message in received)
