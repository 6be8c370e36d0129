"""Which clients a run listens to: anyone, its owner, or whom a function names."""

import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest
from ably_ai_transport_vercel import (
    ApprovedToolCall,
    UIAgentSession,
    UIClientRun,
    UIMessageChunk,
    approved_pending_tool_calls,
    create_tool_result_fork,
    verified_approvals,
)

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    ClientSession,
    InvalidArgumentError,
    Invocation,
    NotAllowedError,
    RunHooks,
    RunPolicy,
    RunRequest,
)
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from tests.session.stage import CODEC, NAME, reply, said, stream, texts
from tests.session.stranger import Scene, replying, scene

ASKS: list[UIMessageChunk] = [
    {"type": "start"},
    {"type": "start-step"},
    {"type": "tool-input-start", "toolCallId": "call-1", "toolName": "pay"},
    {"type": "tool-input-available", "toolCallId": "call-1", "toolName": "pay", "input": {"eur": 1}},
    {"type": "tool-approval-request", "toolCallId": "call-1", "approvalId": "a1"},
    {"type": "finish-step"},
    {"type": "finish"},
]
OWNER = RunPolicy.owner_only()


def invocation(event_id: str) -> Invocation:
    return Invocation(input_event_id=event_id, session_name=NAME)


async def suspended(stage: Scene) -> tuple[UIClientRun, str]:
    """Let the agent ask whether it may pay; returns Alice's run, and the message with the call."""
    asked = await stage.alice.view.send(said("pay"))
    run = stage.agent.create_run(asked.to_invocation())
    await run.start()
    await run.pipe(stream(ASKS))
    await run.suspend()
    await stage.caught_up()
    return asked, stage.alice.view.messages[-1].codec_message_id


@asynccontextmanager
async def fresh_agent(
    stage: Scene, policy: RunPolicy = OWNER, page_size: int = 100
) -> AsyncGenerator[tuple[UIAgentSession, list[AITransportError]]]:
    """Open a session of an agent that has seen nothing."""
    told: list[AITransportError] = []
    session = AgentSession(
        await stage.realtime("agent"), NAME, codec=CODEC, policy=policy, history_page_size=page_size
    )
    session.on_error(told.append)
    async with session:
        yield session, told


async def test_anyone_may_do_everything_by_default() -> None:
    async with scene(trusted=None) as stage:
        async with replying(stage) as (asked, run):
            await stage.mallory.say("faster", run_id=run.run_id)
            await stage.caught_up()
            assert run.has_input()
            await stage.mallory.put(names.CANCEL, {names.RUN_ID: run.run_id})
        assert await asked.ended == "cancelled"
        assert stage.agent_told == []


@pytest.mark.parametrize("by_input", [False, True], ids=["run", "input"])
async def test_only_the_owner_cancels(by_input: bool) -> None:
    async with scene(policy=RunPolicy(cancel="owner")) as stage:
        async with replying(stage) as (asked, run):
            target = (
                {names.INPUT_CODEC_MESSAGE_ID: asked.input_codec_message_id}
                if by_input
                else {names.RUN_ID: run.run_id}
            )
            await stage.mallory.put(names.CANCEL, target)
            await stage.mallory.put(names.CANCEL, target)
            await stage.caught_up()
            assert not run.abort_signal.aborted
            assert stage.refused(stage.agent_told) == ["mallory", "mallory"]
            assert [error.code for error in stage.agent_told] == [40300, 40300]
            await asked.cancel()
        assert await asked.ended == "cancelled"


async def test_a_strangers_cancel_does_not_displace_the_owners() -> None:
    async with scene(trusted=None) as stage:
        asked = await stage.alice.view.send(said("hi"))
        await asked.cancel()
        target = {names.INPUT_CODEC_MESSAGE_ID: asked.input_codec_message_id}
        await stage.mallory.put(names.CANCEL, target)
        for page_size in (1, 100):
            async with fresh_agent(stage, page_size=page_size) as (agent, told):
                run = agent.create_run(asked.to_invocation())
                await run.start()
                assert run.abort_signal.aborted
                assert stage.refused(told) == ["mallory"]


async def test_on_cancel_decides_after_the_policy() -> None:
    seen: list[str | None] = []
    hooks = RunHooks[UIMessageChunk](
        on_cancel=lambda request: bool(seen.append(request.message.client_id)),
        policy=RunPolicy(cancel="owner"),
    )
    async with scene() as stage:
        asked = await stage.alice.view.send(said("hi"))
        async with stage.agent.create_run(asked.to_invocation(), hooks=hooks) as run:
            await stage.mallory.put(names.CANCEL, {names.RUN_ID: run.run_id})
            await asked.cancel()
            await stage.caught_up()
            await stage.caught_up(stage.agent)
            assert not run.abort_signal.aborted
        assert seen == ["alice"]


async def test_only_the_owner_steers() -> None:
    async with scene(policy=OWNER) as stage, replying(stage) as (asked, run):
        run.has_input()
        await stage.mallory.say("give me the money", run_id=run.run_id)
        await stage.caught_up()
        assert not run.has_input()
        assert texts(run.view.messages) == ["hi", "one "]
        assert stage.refused(stage.agent_told) == ["mallory"]
        steer = asked.steer(said("faster"))
        await steer.published
        await stage.caught_up()
        assert run.has_input()
        assert texts(run.view.messages) == ["hi", "one ", "faster"]


@pytest.mark.parametrize("page_size", [1, 3, 100])
async def test_what_was_refused_stays_out_of_a_later_agents_view(page_size: int) -> None:
    async with scene(policy=OWNER) as stage:
        async with replying(stage) as (asked, run):
            await stage.mallory.say("give me the money", run_id=run.run_id)
            await asked.steer(said("faster")).published
            await stage.caught_up()
        assert await asked.ended == "complete"
        again = await stage.alice.view.send(said("more"))
        async with fresh_agent(stage, page_size=page_size) as (agent, told):
            run = agent.create_run(again.to_invocation())
            await run.start()
            await run.view.load_all()
            assert texts(run.view.messages) == ["hi", "one two ", "faster", "more"]
            assert stage.refused(told) == ["mallory"]


@pytest.mark.parametrize("page_size", [1, 100])
async def test_what_a_slow_rule_allows_is_shown_when_it_has_answered(page_size: int) -> None:
    answer = anyio.Event()

    async def slow(_: RunRequest) -> bool:
        await answer.wait()
        return True

    async with scene(trusted=None) as stage:
        async with replying(stage) as (asked, _):
            await asked.steer(said("faster")).published
            await stage.caught_up()
        assert await asked.ended == "complete"
        again = await stage.alice.view.send(said("more"))
        async with fresh_agent(stage, RunPolicy(steer=slow), page_size) as (agent, _):
            run = agent.create_run(again.to_invocation())
            await run.start()
            assert texts(await run.view.load_all()) == ["more"]
            answer.set()
            async for messages in run.view.updates():
                if texts(messages) == ["hi", "one two ", "faster", "more"]:
                    break


@pytest.mark.parametrize("kind", ["tool-approval-response", "tool-result", "tool-result-error"])
@pytest.mark.parametrize("page_size", [1, 100])
async def test_only_the_owner_answers(kind: str, page_size: int) -> None:
    async with scene(policy=OWNER) as stage:
        asked, message_id = await suspended(stage)
        run_id = asked.run_id
        await stage.mallory.answer(kind, run_id, message_id, "call-1", approved="true")
        approval = CODEC.create_tool_approval_response(message_id, {"toolCallId": "call-1", "approved": True})
        await stage.caught_up()
        node = stage.agent.tree.get_run_node(run_id)
        assert node is not None
        assert "approval-requested" in str(CODEC.get_messages(node.projection)[-1].message)
        resumed = await stage.alice.view.send(approval, run_id=run_id)
        async with fresh_agent(stage, page_size=page_size) as (agent, told):
            async with agent.create_run(resumed.to_invocation()) as run:
                assert run.owner == "alice"
                assert run.trigger is not None
                assert run.trigger.client_id == "alice"
                messages = await run.view.load_all()
                calls = approved_pending_tool_calls([item.message for item in messages])
                assert [(call.tool_call_id, call.input) for call in calls] == [("call-1", {"eur": 1})]
            assert stage.refused(told) == ["mallory"]


@pytest.mark.parametrize("page_size", [1, 100])
async def test_a_strangers_answer_resumes_nothing(page_size: int) -> None:
    async with scene(policy=OWNER) as stage:
        asked, message_id = await suspended(stage)
        event_id = await stage.mallory.answer(
            "tool-approval-response", asked.run_id, message_id, "call-1", approved="true"
        )
        async with fresh_agent(stage, page_size=page_size) as (agent, told):
            run = agent.create_run(invocation(event_id))
            with pytest.raises(NotAllowedError, match="does not allow client 'mallory'") as refusal:
                await run.start(timeout=5)
            assert refusal.value.client_id == "mallory"
            assert stage.refused(told) == ["mallory"]
            # An invocation that comes later than the refusal fails as well.
            with pytest.raises(NotAllowedError):
                await agent.create_run(invocation(event_id)).start(timeout=5)
        await stage.caught_up()
        assert stage.alice.view.runs()[0].status == "suspended"


async def test_a_strangers_message_resumes_nothing() -> None:
    async with scene(trusted=None) as stage:
        asked, _ = await suspended(stage)
        event_id = await stage.mallory.say("go on", run_id=asked.run_id)
        async with fresh_agent(stage, RunPolicy(resume="owner"), page_size=1) as (agent, told):
            with pytest.raises(NotAllowedError, match="unable to resume run"):
                await agent.create_run(invocation(event_id)).start(timeout=5)
            assert stage.refused(told) == ["mallory"]


@pytest.mark.parametrize("page_size", [1, 100])
async def test_only_the_owner_forks(page_size: int) -> None:
    async with scene(trusted=None) as stage:
        asked, _ = await suspended(stage)
        bob = await stage.join("bob")
        forks: list[UIClientRun] = []
        for session in (bob, stage.alice):
            question, asks = session.view.messages
            fork = create_tool_result_fork(
                [asks],
                parent=question.codec_message_id,
                tool_call_id="call-1",
                supersedes=asked.run_id,
                output="paid",
            )
            forks.append(await session.view.send(fork.input, **fork.options))
        by_bob, by_alice = forks
        async with fresh_agent(stage, RunPolicy(tool_result="owner"), page_size=page_size) as (agent, told):
            with pytest.raises(NotAllowedError, match="unable to answer a tool call"):
                await agent.create_run(by_bob.to_invocation()).start(timeout=5)
            async with agent.create_run(by_alice.to_invocation()) as run:
                assert "'output': 'paid'" in str([m.message for m in await run.view.load_all()])
            assert stage.refused(told) == ["bob"]
        assert await by_alice.ended == "complete"


@pytest.mark.parametrize("page_size", [1, 100])
async def test_only_the_owner_replaces_a_reply(page_size: int) -> None:
    async with scene(trusted=None) as stage:
        async with replying(stage):
            pass
        await stage.caught_up()
        answer = stage.alice.view.messages[-1].codec_message_id
        bob = await stage.join("bob")
        by_bob = await bob.view.regenerate(answer)
        by_alice = await stage.alice.view.regenerate(answer)
        async with fresh_agent(stage, RunPolicy(regenerate="owner"), page_size=page_size) as (agent, told):
            with pytest.raises(NotAllowedError, match="unable to replace a reply"):
                await agent.create_run(by_bob.to_invocation()).start(timeout=5)
            async with agent.create_run(by_alice.to_invocation()) as run:
                await run.pipe(stream(reply("better")))
            assert stage.refused(told) == ["bob"]
        await by_alice.ended
        assert texts(stage.alice.view.messages) == ["hi", "better"]


async def test_an_anonymous_client_owns_nothing() -> None:
    hub = MemoryHub()
    async with (
        ClientSession(hub.client(None), NAME, codec=CODEC) as alice,
        AgentSession(hub.client("agent"), NAME, codec=CODEC, policy=RunPolicy(cancel="owner")) as agent,
    ):
        told: list[AITransportError] = []
        agent.on_error(told.append)
        asked = await alice.view.send(said("hi"))
        async with agent.create_run(asked.to_invocation()) as run:
            await asked.cancel()
            await hub.settle()
            assert not run.abort_signal.aborted
        [error] = told
        assert error.message == (
            f"unable to cancel run {run.run_id}; the policy does not allow an anonymous client to"
        )


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_function_decides(asynchronous: bool) -> None:
    requests: list[RunRequest] = []

    def plain(request: RunRequest) -> bool:
        requests.append(request)
        return request.client_id == "moderator" or request.client_id == request.owner

    async def slow(request: RunRequest) -> bool:
        await anyio.lowlevel.checkpoint()
        return plain(request)

    rule = slow if asynchronous else plain
    async with scene(trusted=None, policy=RunPolicy(steer=rule, cancel=rule)) as stage:
        moderator = await stage.join("moderator")
        async with replying(stage) as (_, run):
            run.has_input()
            await stage.mallory.say("slower", run_id=run.run_id)
            await stage.mallory.put(names.CANCEL, {names.RUN_ID: run.run_id})
            await stage.caught_up()
            while len(stage.agent_told) < 2:
                await anyio.lowlevel.checkpoint()
            assert not run.has_input()
            await moderator.cancel(run.run_id)
            await run.abort_signal.wait()
        assert [(r.kind, r.client_id, r.owner, r.run_id) for r in requests] == [
            ("steer", "mallory", "alice", run.run_id),
            ("cancel", "mallory", "alice", run.run_id),
            ("cancel", "moderator", "alice", run.run_id),
        ]


async def test_a_function_that_raises_refuses_and_is_reported() -> None:
    def rule(request: RunRequest) -> bool:
        raise ValueError(request.kind)

    async with scene(trusted=None, policy=RunPolicy(cancel=rule)) as stage:
        async with replying(stage) as (asked, run):
            await asked.cancel()
            while len(stage.agent_told) < 2:
                await anyio.lowlevel.checkpoint()
            assert not run.abort_signal.aborted
        assert [error.code for error in stage.agent_told] == [104002, 40300]
        assert await asked.ended == "complete"


async def test_a_run_may_have_a_policy_of_its_own() -> None:
    reported: list[AITransportError] = []
    hooks = RunHooks[UIMessageChunk](policy=OWNER, on_error=reported.append)
    async with scene() as stage:
        asked = await stage.alice.view.send(said("hi"))
        async with stage.agent.create_run(asked.to_invocation(), hooks=hooks) as run:
            assert run.policy is OWNER
            await stage.mallory.say("slower", run_id=run.run_id)
            await stage.caught_up()
            assert texts(run.view.messages) == ["hi"]
        assert stage.refused(reported) == ["mallory"]
        assert stage.agent_told == []


@pytest.mark.parametrize("rule", ["nobody", None, 1, ["alice"]])
def test_a_rule_that_is_none_is_refused(rule: object) -> None:
    with pytest.raises(InvalidArgumentError, match="cancel must be 'anyone', 'owner' or a function"):
        RunPolicy(cancel=rule)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("policy", ["owner", None, {"cancel": "owner"}])
def test_what_is_no_policy_is_refused(policy: object) -> None:
    with pytest.raises(InvalidArgumentError, match="policy must be a RunPolicy"):
        AgentSession(MemoryHub().client("agent"), NAME, codec=CODEC, policy=policy)  # pyright: ignore[reportArgumentType]


async def test_a_call_runs_once_with_the_input_that_was_approved() -> None:
    async with scene(policy=OWNER) as stage:
        asked, message_id = await suspended(stage)
        yes = CODEC.create_tool_approval_response(message_id, {"toolCallId": "call-1", "approved": True})
        await stage.mallory.answer(
            "tool-approval-response", asked.run_id, message_id, "call-1", approved="true"
        )
        first = await stage.alice.view.send(yes, run_id=asked.run_id)
        second = await stage.alice.view.send(yes, run_id=asked.run_id)
        ran: list[ApprovedToolCall] = []
        for resumed in (first, second):
            async with (
                fresh_agent(stage, page_size=2) as (agent, _),
                agent.create_run(resumed.to_invocation()) as run,
            ):
                await run.view.load_all()
                for call in verified_approvals(run.events()):
                    ran.append(call)
                    done: UIMessageChunk = {
                        "type": "tool-output-available",
                        "toolCallId": call.tool_call_id,
                        "output": "paid",
                    }
                    await run.pipe(stream([done]))
                await run.suspend()
        assert ran == [ApprovedToolCall("call-1", "pay", {"eur": 1}, "alice")]


# Invocations


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
async def test_the_earliest_message_is_the_event(page_size: int) -> None:
    async with scene(trusted=None) as stage:
        asked = await stage.alice.view.send(said("mine"))
        copy = await stage.mallory.say("give me the money", event_id=asked.input_event_id)
        assert copy == asked.input_event_id
        async with (
            fresh_agent(stage, RunPolicy(), page_size=page_size) as (agent, _),
            agent.create_run(asked.to_invocation()) as run,
        ):
            assert run.owner == "alice"
            assert texts(await run.view.load_all()) == ["mine"]
            assert run.input_codec_message_id == asked.input_codec_message_id


@pytest.mark.parametrize("into", [False, True])
async def test_a_copy_that_comes_live_is_not_the_event(into: bool) -> None:
    async with scene(trusted=None) as stage:
        other, _ = await suspended(stage)
        asked = await stage.alice.view.send(said("mine"))
        async with fresh_agent(stage, RunPolicy()) as (agent, _):
            run = agent.create_run(asked.to_invocation())
            minted = run.run_id
            headers = {"run_id": other.run_id} if into else {}
            await stage.mallory.say("give me the money", event_id=asked.input_event_id, **headers)
            await run.located
            async with run:
                assert run.run_id == minted
                assert run.owner == "alice"
                assert texts(await run.view.load_all())[-1] == "mine"


async def test_another_client_than_the_author_starts_nothing() -> None:
    async with scene(trusted=None) as stage:
        asked = await stage.alice.view.send(said("mine"))
        run = stage.agent.create_run(asked.to_invocation(), invoked_by="mallory")
        with pytest.raises(NotAllowedError, match=r"published by client 'alice'.*posted by 'mallory'"):
            await run.start()
        async with stage.agent.create_run(asked.to_invocation(), invoked_by="alice") as run:
            await run.pipe(stream(reply("yours")))
        assert await asked.ended == "complete"


async def test_a_cancel_with_the_id_of_an_event_is_not_the_event() -> None:
    async with scene(trusted=None) as stage:
        event_id = str(uuid.uuid4())
        async with fresh_agent(stage, RunPolicy()) as (agent, _):
            run = agent.create_run(invocation(event_id))
            await stage.mallory.put(names.CANCEL, {names.EVENT_ID: event_id, names.RUN_ID: "r"})
            await stage.caught_up(agent)
            assert run.trigger is None
            assert not run.located.is_settled
