"""Tool calls of agents, and the answers of HAIP clients."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from ably_ai_transport_haip import HaipClient
from ably_ai_transport_haip.gateway.approvals import mark_of, read_decision
from ably_ai_transport_haip.gateway.vocabulary import Approval
from ably_ai_transport_haip.protocol import FinishStatus, HaipProtocolError
from ably_ai_transport_vercel import UIAgentRun, UIClientSession, UIMessageChunk
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport import AgentSession, RunPolicy
from tests.session.stage import reply, stream
from tests.support.haip_bridge import CODEC, bridged, said
from tests.support.haip_stand import Inbox
from tests.support.haip_tools import PAY, call, has_tools, pay

OWNERS = RunPolicy.owner_only()


def parts_of(session: UIClientSession) -> list[Mapping[str, Any]]:
    """Return the parts of all messages that are tool calls."""
    parts = [cast("Mapping[str, Any]", p) for entry in session.view.messages for p in entry.message["parts"]]
    return [part for part in parts if "toolCallId" in part]


async def asked_alice(alice: HaipClient, inbox: Inbox) -> str:
    """Let the agent ask Alice; return the id of the call."""
    await alice.start_run("1")
    await alice.send_text_message("USER", "Please")
    [asked] = await inbox.until(1, "TOOL_CALL")
    return str(asked.payload["call_id"])


@pytest.mark.parametrize(
    ("fields", "params"),
    [
        ({}, None),
        ({"input": None}, None),
        ({"input": {}}, {}),
        ({"input": {"city": "Porto"}}, {"city": "Porto"}),
        ({"input": "Porto"}, {"input": "Porto"}),
        ({"input": 0}, {"input": 0}),
        ({"input": ["Porto"]}, {"input": ["Porto"]}),
    ],
    ids=repr,
)
async def test_the_input_of_a_call(fields: dict[str, object], params: object) -> None:
    async def ask(run: UIAgentRun) -> None:
        if await has_tools(run):
            await run.pipe(stream(reply("Thank you.")))
        else:
            await run.pipe(stream(call("call-1", "now", **fields)))
            await run.suspend()

    async with bridged(ask) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol")
        inbox = Inbox(alice)
        call_id = await asked_alice(alice, inbox)
        [asked] = inbox.of("TOOL_CALL")
        assert (asked.payload["tool"], asked.payload.get("params")) == ("now", params)
        # An answer without a result is an answer.
        await alice.complete_tool("USER", call_id)
        await inbox.until(1, "RUN_FINISHED")
        assert [done.payload["call_id"] for done in inbox.of("TOOL_DONE")] == [call_id]
        assert inbox.text() == "Thank you."
        assert inbox.errors == []
        [part] = parts_of(carol)
        assert (part["state"], part.get("output")) == ("output-available", None)


async def test_a_call_that_failed_before_its_input_was_complete() -> None:
    failed = cast(
        "UIMessageChunk",
        {"type": "tool-input-error", "toolCallId": "call-1", "toolName": "now", "errorText": "no input"},
    )

    async def ask(run: UIAgentRun) -> None:
        await run.pipe(
            stream(
                [
                    {"type": "start"},
                    {"type": "tool-input-start", "toolCallId": "call-1", "toolName": "now"},
                    failed,
                    *reply("Sorry.")[1:],
                ]
            )
        )

    async with bridged(ask) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        await asked_alice(alice, inbox)
        await inbox.until(1, "RUN_FINISHED")
        [asked], [done] = inbox.of("TOOL_CALL"), inbox.of("TOOL_DONE")
        assert asked.payload["call_id"] == done.payload["call_id"]
        assert (done.payload["status"], done.payload["result"]) == ("ERROR", "no input")
        assert inbox.errors == []


async def test_calls_with_the_same_short_id_are_different_calls() -> None:
    async def ask(run: UIAgentRun) -> None:
        if len(await run.view.load_all()) < 3:
            await run.pipe(stream(call("call-1", "first", input={})))
        else:
            await run.pipe(stream(call("call-1", "second", input={})))
            await run.suspend()

    async with bridged(ask) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        await asked_alice(alice, inbox)
        await inbox.until(1, "RUN_FINISHED")
        await alice.start_run("1")
        await alice.send_text_message("USER", "Again")
        first, second = await inbox.until(2, "TOOL_CALL")
        assert (first.payload["tool"], second.payload["tool"]) == ("first", "second")
        assert first.payload["call_id"] != second.payload["call_id"]


def decided(approved: object, approval_id: object = "a1", **more: object) -> dict[str, object]:
    return {"approval": {"id": approval_id, "approved": approved, **more}}


async def test_a_request_for_approval_is_marked_and_answered() -> None:
    async with bridged(pay, policy=OWNERS) as bridge:
        alice, bob = await bridge.haip("alice"), await bridge.haip("bob")
        inbox, heard = Inbox(alice), Inbox(bob)
        await bob.start_run("1")
        call_id = await asked_alice(alice, inbox)
        [asked] = await inbox.until(1, "TOOL_UPDATE")
        assert asked.payload == {
            "call_id": call_id,
            "status": "QUEUED",
            "partial": {"approval": {"id": "a1"}},
        }
        await alice.complete_tool("USER", call_id, "OK", decided(approved=True))
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.text() == "pay {'eur': 1} for alice"
        # Bob learns that nobody waits for him any more, and what came of the call.
        _, answered = await heard.until(2, "TOOL_UPDATE")
        assert answered.payload["partial"] == decided(approved=True)
        assert answered.payload["status"] == "RUNNING"
        [done] = await heard.until(1, "TOOL_DONE")
        assert (done.payload["call_id"], done.payload["result"]) == (call_id, "paid")
        assert inbox.errors == heard.errors == []


@pytest.mark.parametrize(
    ("status", "result"),
    [
        ("OK", None),
        ("OK", {"paid": True}),
        ("OK", {"approved": True}),
        ("OK", "approved"),
        ("OK", decided(approved=True, approval_id="a0")),
        ("OK", decided(approved="yes")),
        ("OK", {"approval": True}),
        ("ERROR", decided(approved=True)),
        ("ERROR", "unknown tool"),
    ],
)
async def test_an_answer_of_another_meaning_approves_nothing(status: FinishStatus, result: object) -> None:
    async with bridged(pay) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol")
        inbox = Inbox(alice)
        call_id = await asked_alice(alice, inbox)
        await inbox.until(1, "TOOL_UPDATE")
        await alice.complete_tool("USER", call_id, status, result)
        [refused] = await inbox.until(1, "ERROR")
        assert refused.payload["code"] == "INVALID_MESSAGE"
        assert cast("Any", refused.payload["detail"]) == {"call_id": call_id}
        assert parts_of(carol)[0]["state"] == "approval-requested"
        # The request still waits.
        await alice.complete_tool("USER", call_id, "OK", decided(approved=True))
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.text() == "pay {'eur': 1} for alice"


@pytest.mark.parametrize("way", ["denied", "cancelled", "call cancelled"])
async def test_a_call_is_denied(way: str) -> None:
    async with bridged(pay) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol")
        inbox = Inbox(alice)
        call_id = await asked_alice(alice, inbox)
        await inbox.until(1, "TOOL_UPDATE")
        match way:
            case "denied":
                await alice.complete_tool("USER", call_id, "OK", decided(approved=False, reason="too much"))
            case "cancelled":
                await alice.complete_tool("USER", call_id, "CANCELLED")
            case _:
                await alice.cancel_tool("USER", call_id, "too much")
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.text() == "Not paid."
        [done] = inbox.of("TOOL_DONE")
        assert done.payload["status"] == "CANCELLED"
        assert parts_of(carol)[0]["state"] == "output-denied"


async def test_only_the_owner_approves_where_the_policy_says_so() -> None:
    async with bridged(pay, policy=OWNERS) as bridge:
        alice, bob = await bridge.haip("alice"), await bridge.haip("bob")
        inbox, heard = Inbox(alice), Inbox(bob)
        await bob.start_run("1")
        call_id = await asked_alice(alice, inbox)
        await heard.until(1, "TOOL_UPDATE")
        await bob.complete_tool("USER", call_id, "OK", decided(approved=True))
        # Everybody sees Bob's answer, and the agent refuses it.
        await inbox.until(2, "TOOL_UPDATE")
        assert inbox.of("TOOL_DONE", "RUN_FINISHED") == []
        await alice.complete_tool("USER", call_id, "OK", decided(approved=True))
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.text() == "pay {'eur': 1} for alice"
        assert [error.client_id for error in bridge.refused] == ["bob"]


async def test_an_answered_call_is_not_answered_again() -> None:
    answered = asyncio.Event()

    async def slowly(run: UIAgentRun) -> None:
        if await has_tools(run):
            await answered.wait()
        await pay(run)

    async with bridged(slowly) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol")
        inbox = Inbox(alice)
        call_id = await asked_alice(alice, inbox)
        await inbox.until(1, "TOOL_UPDATE")
        await alice.complete_tool("USER", call_id, "OK", decided(approved=True))
        await inbox.until(2, "TOOL_UPDATE")
        # The agent pays now. A client must not put a result of its own in the place of the agent's.
        await alice.complete_tool("USER", call_id, "OK", "stolen")
        [refused] = await inbox.until(1, "ERROR")
        assert refused.payload["code"] == "INVALID_MESSAGE"
        answered.set()
        await inbox.until(1, "RUN_FINISHED")
        assert parts_of(carol)[0]["output"] == "paid"


async def test_a_call_of_a_run_that_has_ended_is_not_answered() -> None:
    invoked = 0

    async def ask(run: UIAgentRun) -> None:
        nonlocal invoked
        invoked += 1
        await run.pipe(stream(PAY))

    async with bridged(ask) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        call_id = await asked_alice(alice, inbox)
        await inbox.until(1, "RUN_FINISHED")
        await alice.complete_tool("USER", call_id, "OK", decided(approved=True))
        [refused] = await inbox.until(1, "ERROR")
        assert refused.payload["code"] == "RUN_NOT_FOUND"
        assert invoked == 1


async def test_a_tool_of_the_provider_is_not_answered() -> None:
    async def search(run: UIAgentRun) -> None:
        await run.pipe(stream(call("call-1", "search", input={}, providerExecuted=True)))
        await run.suspend()

    async with bridged(search) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        call_id = await asked_alice(alice, inbox)
        await alice.complete_tool("USER", call_id, "OK", "found")
        [refused] = await inbox.until(1, "ERROR")
        assert refused.payload["code"] == "PROTOCOL_VIOLATION"


async def test_what_a_stranger_publishes_as_an_agent_is_left_out() -> None:
    async def greet(run: UIAgentRun) -> None:
        await run.pipe(stream(reply("Hello")))

    async with bridged(greet, session_options={"trusted_agents": {"agent"}}) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.send_text_message("USER", "Hello", run_id=run_id)
        await inbox.until(1, "RUN_FINISHED")
        carol = await bridge.person("carol")
        asked = await carol.view.send(said("Hello"))
        async with (
            AgentSession(bridge.hub.client("mallory"), "haip:1", codec=CODEC) as session,
            session.create_run(asked.to_invocation()) as run,
        ):
            await run.pipe(stream(PAY))
        [error] = await inbox.until(1, "ERROR")
        assert "'mallory' is no trusted agent" in str(error.payload["message"])
        assert inbox.of("TOOL_CALL", "TOOL_UPDATE") == []


ANSWERS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["approval", "id", "approved"]), inner)
    ),
)


@given(st.sampled_from(["OK", "ERROR", "CANCELLED"]), ANSWERS, st.text(min_size=1, max_size=5))
def test_nothing_but_the_decision_approves(status: FinishStatus, result: object, approval_id: str) -> None:
    try:
        decision = read_decision("call", Approval(approval_id), status, result)
    except HaipProtocolError:
        return
    if decision.approved:
        said_ = cast("Any", result)["approval"]
        assert (status, said_["id"], said_["approved"]) == ("OK", approval_id, True)


@given(st.text(max_size=5), st.booleans())
def test_a_decision_repeats_the_mark(approval_id: str, approved: bool) -> None:
    asked = Approval(approval_id)
    mark = cast("Any", mark_of(asked))
    mark["approval"]["approved"] = approved
    assert read_decision("call", asked, "OK", mark).approved is approved
    assert mark == mark_of(Approval(approval_id, approved))
