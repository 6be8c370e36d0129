"""Two questions at once, with clients and agents in JavaScript beside ours."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIAgentRun, UIAgentSession, UIMessageCodec

from ably_ai_transport import (
    AgentSession,
    ConcurrencyPolicy,
    DuplicateInvocationError,
    ErrorCode,
    Invocation,
    RunRejectedError,
    RunSteeredError,
)
from integration_tests import streams
from integration_tests.engines.server import Server
from integration_tests.js_peer import JsAgent, JsClient, JsRun
from integration_tests.stage import texts
from tests.session.stage import reply, stream


class Setting:
    """A server, with agents in Python whose processes are clients of their own."""

    def __init__(self, server: Server, channel: str, stack: AsyncExitStack) -> None:
        self.server = server
        self.channel = channel
        self._stack = stack

    async def agent(self, concurrency: ConcurrencyPolicy) -> UIAgentSession:
        realtime = AblyRealtime(**self.server.python_options(client_id="agent"))
        self._stack.push_async_callback(realtime.close)
        return await self._stack.enter_async_context(
            AgentSession(realtime, self.channel, codec=UIMessageCodec(), concurrency=concurrency)
        )

    def client(self) -> JsClient:
        return JsClient(self.server, client_id="alice", channel=self.channel)

    async def ask(self, alice: JsClient, text: str, session: UIAgentSession) -> tuple[JsRun, UIAgentRun]:
        asked = await alice.send(text)
        return asked, session.create_run(Invocation.from_json(asked.invocation))


@pytest.fixture
async def setting(server: Server, channel: str) -> AsyncIterator[Setting]:
    async with AsyncExitStack() as stack:
        yield Setting(server, channel, stack)


async def answer(run: UIAgentRun, words: str) -> None:
    async with run:
        await run.pipe(stream(reply(words)))


async def test_a_client_sees_one_run_after_the_other_and_why_one_was_rejected(setting: Setting) -> None:
    async with setting.client() as alice:
        queueing, rejecting = await setting.agent("queue"), await setting.agent("reject")
        _, first = await setting.ask(alice, "one", queueing)
        await first.start()
        second_asked, second = await setting.ask(alice, "two", queueing)
        third_asked, third = await setting.ask(alice, "three", rejecting)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer, second, "second")
            # Its start is its place in line.
            await second_asked.started()
            with pytest.raises(RunRejectedError) as rejected:
                await third.start()
            assert rejected.value.run_id == first.run_id
            await alice.wait_for(status="error")
            assert second.phase == "opening"
            await first.pipe(stream(reply("first")))
            await first.end()
        await alice.wait_for(ended=second.run_id)
        state = await third_asked.state()
        assert state["status"] == "error"
        assert state["error"]["code"] == ErrorCode.RUN_REJECTED
        assert first.run_id in state["error"]["message"]
        assert (await second_asked.state())["status"] == "complete"


async def test_an_invocation_that_arrives_twice_shows_one_run(setting: Setting) -> None:
    async with setting.client() as alice:
        sessions = [await setting.agent("concurrent") for _ in range(2)]
        asked = await alice.send("hi")
        refused: list[DuplicateInvocationError] = []

        async def serve(session: UIAgentSession) -> None:
            try:
                await answer(session.create_run(Invocation.from_json(asked.invocation)), "hello")
            except DuplicateInvocationError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            for session in sessions:
                tasks.start_soon(serve, session)
        await alice.wait_for(status="complete")
        assert texts(await alice.messages()) == ["hi", "hello"]
        assert [run["status"] for run in await alice.runs()] == ["complete"]
        assert len(refused) == 1


async def test_an_agent_in_javascript_is_interrupted(setting: Setting) -> None:
    async with setting.client() as alice, JsAgent(setting.server) as other:
        asked = await alice.send("one")
        endless = streams.text_stream(["to be ", {"gate": "middle"}, {"untilCancelled": True}])
        serving = await other.start_serving(asked.invocation, streams.answer_program(endless))
        await other.at_gate("middle")
        await other.open("middle")
        session = await setting.agent("interrupt")
        _, run = await setting.ask(alice, "two", session)
        await answer(run, "at your service")
        assert (await serving.result())["outcome"] == "cancelled"
        await alice.wait_for(ended=run.run_id)
        assert (await asked.state())["status"] == "cancelled"
        assert texts(await alice.messages()) == ["one", "to be ", "two", "at your service"]


async def test_an_agent_in_javascript_is_steered(setting: Setting) -> None:
    passes = [streams.text_stream(["first pass", {"gate": "pass"}]), streams.reply("second pass")]
    program = [
        {"do": "load"},
        {"do": "start"},
        {"do": "respond", "scripts": passes},
        {"do": "end"},
    ]
    async with setting.client() as alice, JsAgent(setting.server) as other:
        asked = await alice.send("write a poem")
        serving = await other.start_serving(asked.invocation, program)
        await other.at_gate("pass")
        await alice.wait_for(reply="first pass")
        session = await setting.agent("steer")
        _, run = await setting.ask(alice, "make it rhyme", session)
        refused: list[RunSteeredError] = []

        async def start() -> None:
            try:
                await run.start()
            except RunSteeredError as error:
                refused.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start)
            await other.steered()
            await other.open("pass")
        assert (await serving.result())["passes"] == 2
        await alice.wait_for(ended=run.run_id)
        poem = await asked.started()
        assert [error.run_id for error in refused] == [poem]
        # The question is shown where it was asked, and where it was answered.
        assert texts(await alice.messages()) == [
            "write a poem",
            "first pass",
            "make it rhyme",
            "second pass",
            "make it rhyme",
        ]
