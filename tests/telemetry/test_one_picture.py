"""A client's send, the agent's run and another client's steer are one picture, over the Ably SDK."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIAgentSession, UIClientSession, UIMessageChunk
from opentelemetry.trace import SpanKind, get_current_span

from ably_ai_transport import AgentSession, ClientSession, InboundMessage, MessageAction, RunHooks
from ably_ai_transport.local import LocalServer
from ably_ai_transport.telemetry import extract
from tests.session.stage import CODEC, NAME, reply, said, stream
from tests.telemetry.seen import Seen, attributes, id_of, linked, trace_of


@asynccontextmanager
async def conversation(
    *, binary: bool
) -> AsyncGenerator[tuple[UIClientSession, UIClientSession, UIAgentSession]]:
    async with LocalServer() as server:
        clients = [
            AblyRealtime(**server.python_options(client_id=name, use_binary_protocol=binary))
            for name in ("alice", "bob", "agent")
        ]
        try:
            async with (
                ClientSession(clients[0], NAME, codec=CODEC) as alice,
                ClientSession(clients[1], NAME, codec=CODEC) as bob,
                AgentSession(clients[2], NAME, codec=CODEC, append_interval=0) as agent,
            ):
                yield alice, bob, agent
        finally:
            for client in clients:
                await client.close()


def current() -> int:
    return get_current_span().get_span_context().span_id


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
async def test_a_run_with_a_steer_and_a_follower(seen: Seen, binary: bool) -> None:
    at: dict[str, int] = {}
    followed: list[InboundMessage] = []
    steered = anyio.Event()

    async def model() -> AsyncIterator[UIMessageChunk]:
        at["source"] = current()
        for chunk in reply("Hello", " there"):
            yield chunk

    with anyio.fail_after(20):
        async with conversation(binary=binary) as (alice, bob, agent):
            bob.tree.on_message(followed.append)
            with seen.tracer.start_as_current_span("question"):
                run = await alice.view.send(said("hi"))
            with seen.tracer.start_as_current_span("request"):
                hooks = RunHooks[UIMessageChunk](on_steer=steered.set)
                work = agent.create_run(run.to_invocation(), hooks=hooks)
                async with work:
                    at["body"] = current()
                    await work.pipe(model())
                    with seen.tracer.start_as_current_span("interjection"):
                        await bob.view.send(said("shorter"), run_id=work.run_id)
                    await steered.wait()
                    assert work.has_input()
                    async with work.create_step(step_id="again") as step:
                        at["step"] = current()
                        await step.pipe(stream(reply("Hi")))
                at["after"] = current()
            assert await run.ended == "complete"

    question, request = seen.one("question"), seen.one("request")
    alices, bobs = seen.named("send")
    agents_run = seen.one("invoke_agent")
    assert seen.parent(alices) == "question"
    assert seen.parent(agents_run) == "send"
    assert trace_of(agents_run) == trace_of(question)
    assert id_of(request) in linked(agents_run)
    assert id_of(bobs) in linked(agents_run)
    assert [event.name for event in agents_run.events] == ["steer"]
    assert at["body"] == id_of(agents_run)
    assert at["after"] == id_of(request)

    first, again = seen.named("step")
    first_pipe, second_pipe = seen.named("pipe")
    assert at["source"] == id_of(first_pipe)
    assert at["step"] == id_of(again)
    for pipe, step in ((first_pipe, first), (second_pipe, again)):
        assert pipe.parent is not None
        assert pipe.parent.span_id == id_of(step)
        assert step.parent is not None
        assert step.parent.span_id == id_of(agents_run)
        assert attributes(step)["ably_ai_transport.step.reason"] == "complete"
    assert attributes(first_pipe)["ably_ai_transport.stream.deltas"] == 2
    assert 1 <= attributes(first_pipe)["ably_ai_transport.stream.max_in_flight"] <= 3
    published = [(span.name, seen.parent(span)) for span in seen.spans if span.name.startswith("publish ")]
    assert published == [
        ("publish ai-run-start", "invoke_agent"),
        ("publish ai-step-start", "step"),
        ("publish ai-step-end", "step"),
        ("publish ai-step-start", "step"),
        ("publish ai-step-end", "step"),
        ("publish ai-run-end", "invoke_agent"),
    ]
    assert {span.kind for span in (alices, bobs)} == {SpanKind.PRODUCER}
    assert agents_run.kind is SpanKind.CONSUMER
    ours = [span for span in seen.spans if span not in (question, request, seen.one("interjection"))]
    assert {attributes(span)["gen_ai.conversation.id"] for span in ours} == {NAME}
    assert attributes(agents_run)["gen_ai.operation.name"] == "invoke_agent"
    assert attributes(agents_run)["ably_ai_transport.run.id"] == work.run_id
    assert attributes(agents_run)["ably_ai_transport.run.reason"] == "complete"
    assert attributes(agents_run)["ably_ai_transport.event.id"] == run.input_event_id
    assert {attributes(span)["messaging.client.id"] for span in (alices, agents_run)} == {"alice", "agent"}

    # A follower learns the run's span from the start of the run; no token carries it.
    told = {message.name: get_current_span(extract(message)).get_span_context() for message in followed}
    assert told["ai-run-start"].span_id == id_of(agents_run)
    appends = [message for message in followed if message.action is MessageAction.APPEND]
    assert appends
    for message in appends:
        assert "headers" not in cast("dict[str, object]", message.extras)


async def test_sessions_have_spans(seen: Seen) -> None:
    with anyio.fail_after(20):
        with seen.tracer.start_as_current_span("request"):
            async with conversation(binary=False) as (alice, _, _):
                await alice.view.send(said("hi"))
    sessions = seen.named("session")
    assert {seen.parent(session) for session in sessions} == {"request"}
    for session in sessions:
        assert [event.name for event in session.events] == ["connecting", "connected", "closed"]
    assert set(linked(seen.one("send"))) <= {id_of(session) for session in sessions}
    assert len(linked(seen.one("send"))) == 1
