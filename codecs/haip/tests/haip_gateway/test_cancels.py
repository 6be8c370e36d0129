"""Runs that end before, or without, an agent."""

import asyncio
from dataclasses import replace

import anyio
from ably_ai_transport_haip import HaipClient, HaipMessage
from ably_ai_transport_haip.protocol import HaipEventType, new_id
from ably_ai_transport_haip.server import HaipServerOptions
from ably_ai_transport_vercel import UIAgentRun, UIClientSession, UIMessageChunk

from ably_ai_transport import CancelRequest, RunHooks
from tests.session.stage import reply, stream
from tests.support.haip_bridge import Bridge, bridged
from tests.support.haip_stand import Inbox

ASKS: list[UIMessageChunk] = [
    {"type": "start"},
    {"type": "tool-input-start", "toolCallId": "call-1", "toolName": "now"},
    {"type": "tool-input-available", "toolCallId": "call-1", "toolName": "now", "input": {}},
    {"type": "finish"},
]


async def greet(run: UIAgentRun) -> None:
    await run.pipe(stream(reply("Hello")))


async def never(run: UIAgentRun) -> None:
    raise AssertionError("the agent must not be invoked")


def ends(inbox: Inbox) -> list[tuple[str | None, object]]:
    return [(end.envelope.run_id, end.payload["status"]) for end in inbox.of("RUN_FINISHED")]


async def test_a_run_without_a_text() -> None:
    async with bridged(never) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.cancel_run(run_id)
        await inbox.until(1, "RUN_FINISHED")
        assert ends(inbox) == [(run_id, "CANCELLED")]
        # A text that comes later is refused, and does not revive the run.
        await alice.send_text_message("USER", "Hello", run_id=run_id)
        [refused] = await inbox.until(1, "ERROR")
        assert refused.payload["code"] == "RUN_NOT_FOUND"


async def test_a_run_whose_text_is_incomplete() -> None:
    async with bridged(never) as bridge:
        alice = await bridge.haip("alice")
        carol = await bridge.person("carol")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        text: dict[str, object] = {"message_id": new_id()}
        await alice.send_message(_message("MESSAGE_START", text, run_id))
        await alice.send_message(_message("MESSAGE_PART", {**text, "text": "Hel"}, run_id))
        await alice.cancel_run(run_id)
        await inbox.until(1, "RUN_FINISHED")
        await alice.send_message(_message("MESSAGE_END", text, run_id))
        await inbox.until(1, "ERROR")
        assert ends(inbox) == [(run_id, "CANCELLED")]
        assert carol.view.messages == []


def _message(kind: str, payload: dict[str, object], run_id: str) -> HaipMessage:
    message = HaipMessage(HaipEventType(kind), payload)
    return replace(message, envelope=replace(message.envelope, channel="USER", run_id=run_id))


class Late:
    """An agent that comes when the test lets it."""

    def __init__(self) -> None:
        self._invoked = asyncio.Event()
        self.gate = asyncio.Event()

    async def __call__(self) -> None:
        self._invoked.set()
        await self.gate.wait()

    async def asked(self, client: HaipClient) -> str:
        """Start a run with a text, and wait until the agent is invoked; return the run."""
        run_id = await client.start_run("1")
        await client.send_text_message("USER", "Hello", run_id=run_id)
        await self._invoked.wait()
        return run_id


async def test_a_run_before_its_agent_comes() -> None:
    late = Late()
    states: list[bool] = []

    async def note(run: UIAgentRun) -> None:
        states.append(run.abort_signal.aborted)

    async with bridged(note, before=late) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await late.asked(alice)
        await alice.cancel_run(run_id)
        # The client does not wait for an agent that may never come.
        await inbox.until(1, "RUN_FINISHED")
        late.gate.set()
        await over(bridge)
        # The agent that comes learns of the cancel, and its run is no news for the client.
        assert states == [True]
        assert ends(inbox) == [(run_id, "CANCELLED")]
        assert len(inbox.of("RUN_STARTED")) == 1


async def over(bridge: Bridge) -> None:
    """Wait until the run on thread 1 has ended in the conversation."""
    carol = await bridge.person("carol")
    await carol.view.load_all()
    await until_status(carol, "cancelled")


async def until_status(session: UIClientSession, status: str) -> None:
    """Wait until all runs of a conversation have a status."""
    with anyio.fail_after(10):
        async for _ in session.view.updates():
            runs = session.view.runs()
            if runs and all(run.status == status for run in runs):
                return


async def test_a_run_whose_agent_missed_the_cancel() -> None:
    late, cancelled = Late(), anyio.Event()
    requests = 0

    def second(_: CancelRequest) -> bool:
        # As an agent that sees only what comes after it: the first request is lost.
        nonlocal requests
        requests += 1
        return requests > 1

    async def wait(run: UIAgentRun) -> None:
        with anyio.fail_after(10):
            await run.abort_signal.wait()
        cancelled.set()

    async with bridged(wait, before=late, hooks=RunHooks(on_cancel=second)) as bridge:
        alice = await bridge.haip("alice")
        run_id = await late.asked(alice)
        await alice.cancel_run(run_id)
        late.gate.set()
        await cancelled.wait()
        await over(bridge)


async def test_a_reply_that_comes_in_spite_of_the_cancel_is_a_run_of_others() -> None:
    late = Late()
    async with bridged(greet, before=late, hooks=RunHooks(on_cancel=lambda _: False)) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await late.asked(alice)
        await alice.cancel_run(run_id)
        await inbox.until(1, "RUN_FINISHED")
        late.gate.set()
        await inbox.until(2, "RUN_FINISHED")
        other = inbox.of("MESSAGE_START")[0].envelope.run_id
        assert ends(inbox) == [(run_id, "CANCELLED"), (other, "OK")]
        assert other != run_id
        assert inbox.texts() == ["Hello"]


async def test_a_suspended_run() -> None:
    async def ask(run: UIAgentRun) -> None:
        await run.pipe(stream(ASKS))
        await run.suspend()

    async with bridged(ask) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.send_text_message("USER", "Hello", run_id=run_id)
        await inbox.until(1, "TOOL_CALL")
        carol = await bridge.person("carol")
        await carol.view.load_all()
        await until_status(carol, "suspended")
        await alice.cancel_run(run_id)
        # No agent holds a suspended run, so nobody else would end it.
        await inbox.until(1, "RUN_FINISHED")
        assert ends(inbox) == [(run_id, "CANCELLED")]


async def test_a_run_that_was_cancelled_frees_its_place() -> None:
    async with bridged(never, HaipServerOptions(max_concurrent_runs=1)) as bridge:
        alice = await bridge.haip("alice", max_concurrent_runs=1)
        inbox = Inbox(alice)
        for number in range(1, 4):
            run_id = await alice.start_run("1")
            await alice.cancel_run(run_id)
            await inbox.until(number, "RUN_FINISHED")
        assert inbox.errors == []


async def test_a_run_whose_agent_cannot_be_called_is_over() -> None:
    async with bridged(greet, reachable=False) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await alice.start_run("1")
        await alice.send_text_message("USER", "Hello", run_id=run_id)
        await inbox.until(1, "RUN_ERROR")
        await alice.send_text_message("USER", "Hello?", run_id=run_id)
        [refused] = await inbox.until(1, "ERROR")
        assert refused.payload["code"] == "RUN_NOT_FOUND"


async def test_a_thread_that_cannot_be_entered_leaves_no_run_open() -> None:
    async with bridged(greet, HaipServerOptions(max_concurrent_runs=1)) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        for number in range(1, 4):
            await alice.send_text_message("USER", "Hello", thread_id="not/a thread")
            await inbox.until(number, "ERROR")
        assert inbox.of("RUN_STARTED") == []
        await alice.send_text_message("USER", "Hello", thread_id="1")
        await inbox.until(1, "RUN_FINISHED")
        assert inbox.texts() == ["Hello"]


async def test_a_run_that_its_client_finished_takes_no_more_texts() -> None:
    late = Late()
    async with bridged(greet, before=late) as bridge:
        alice = await bridge.haip("alice")
        inbox = Inbox(alice)
        run_id = await late.asked(alice)
        await alice.finish_run(run_id)
        await alice.send_text_message("USER", "Hello?", run_id=run_id)
        [refused] = await inbox.until(1, "ERROR")
        assert refused.payload["code"] == "RUN_NOT_FOUND"
        # The reply still comes in the run.
        late.gate.set()
        [end] = await inbox.until(1, "MESSAGE_END")
        assert end.envelope.run_id == run_id
