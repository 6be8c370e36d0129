"""Every public coroutine is cancelled at each of its steps; no run is left open, nothing is said twice."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

import pytest
from ably_ai_transport_vercel import UIAgentSession, UIClientSession

from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from tests.session.cancelling import cancel_at
from tests.session.stage import NAME, agent, answer, client, reply, said, stream, texts

MOST_STEPS = 400


def count(hub: MemoryHub, name: str) -> int:
    return sum(message.name == name for message in hub.messages(NAME))


class Stage:
    """A client that has asked, and an agent."""

    def __init__(self, hub: MemoryHub, alice: UIClientSession, session: UIAgentSession) -> None:
        self.hub = hub
        self.alice = alice
        self.session = session

    async def ask(self) -> None:
        self.asked = await self.alice.view.send(said("hi"))
        self.run = self.session.create_run(self.asked.to_invocation())

    async def start(self) -> None:
        await self.ask()
        await self.run.start()

    async def start_step(self) -> None:
        await self.start()
        self.step = self.run.create_step()
        await self.step.start()
        await self.step.pipe(stream(reply("half ")[:4]))

    async def whole(self) -> None:
        async with self.session.create_run(self.asked.to_invocation()) as run:
            await run.view.load_all()
            async with run.create_step() as step:
                await step.pipe(stream(reply("one")))
                await step.send({"type": "data-x", "data": 1})
            await run.pipe(stream(reply("two")))


Act: TypeAlias = Callable[[Stage], Coroutine[Any, Any, object]]
Prepare: TypeAlias = Callable[[Stage], Awaitable[None]]

RUNS: dict[str, tuple[Prepare, Act]] = {
    "run.start": (Stage.ask, lambda s: s.run.start()),
    "run.pipe": (Stage.start, lambda s: s.run.pipe(stream(reply("a", "b", "c")))),
    "run.end": (Stage.start, lambda s: s.run.end()),
    "run.end with an open step": (Stage.start_step, lambda s: s.run.end()),
    "run.end with an error": (Stage.start_step, lambda s: s.run.end("error", error=ValueError("x"))),
    "run.suspend": (Stage.start, lambda s: s.run.suspend()),
    "step.start": (Stage.start, lambda s: s.run.create_step().start()),
    "step.pipe": (Stage.start_step, lambda s: s.step.pipe(stream(reply("a", "b")))),
    "step.send": (Stage.start_step, lambda s: s.step.send({"type": "data-x", "data": 1})),
    "step.end": (Stage.start_step, lambda s: s.step.end()),
    "session.end with an open step": (Stage.start_step, lambda s: s.session.end()),
    "session.end": (Stage.start, lambda s: s.session.end()),
    "a whole run": (Stage.ask, lambda s: s.whole()),
    "an adopted run": (
        Stage.start_step,
        lambda s: s.session.adopt_run(
            s.asked.to_invocation(), run_id=s.run.run_id, invocation_id="second"
        ).load(),
    ),
}


@pytest.mark.parametrize("name", RUNS)
async def test_a_run_that_was_started_ends(name: str) -> None:
    prepare, act = RUNS[name]
    for step in range(1, MOST_STEPS):
        hub = MemoryHub()
        async with client(hub) as alice, agent(hub) as session:
            stage = Stage(hub, alice, session)
            await prepare(stage)
            cancelled = await cancel_at(act(stage), step)
            await session.end()
            await hub.settle()
            started, ended = count(hub, names.RUN_START), count(hub, names.RUN_END)
            if name == "run.suspend" and count(hub, names.RUN_SUSPEND):
                assert stage.asked.status == "suspended", step
            else:
                assert started == ended, f"{name}, step {step}: {started} started, {ended} ended"
                if started:
                    assert stage.asked.ended.is_settled, step
                    assert count(hub, names.STEP_START) == count(hub, names.STEP_END), step
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, f"{name}, step {step}: {others}"
        if not cancelled:
            assert step > 1
            return
    pytest.fail(f"{name} did not end within {MOST_STEPS} steps")


CLIENTS: dict[str, Act] = {
    "view.send": lambda s: s.alice.view.send(said("more")),
    "view.edit": lambda s: s.alice.view.edit(s.asked.input_codec_message_id, said("better")),
    "view.regenerate": lambda s: s.alice.view.regenerate(s.alice.view.messages[-1].codec_message_id),
    "run.cancel": lambda s: s.asked.cancel(),
    "session.cancel": lambda s: s.alice.cancel("run"),
    "view.load_all": lambda s: s.alice.view.load_all(),
    "view.load_older": lambda s: s.alice.view.load_older(1),
    "view.load_until": lambda s: s.alice.view.load_until(lambda _: False),
    "session.close": lambda s: s.alice.close(),
    "session.connect": lambda s: client(s.hub, "bob").connect(),
}


@pytest.mark.parametrize("name", CLIENTS)
async def test_a_client_that_was_cancelled_goes_on(name: str) -> None:
    for step in range(1, MOST_STEPS):
        hub = MemoryHub()
        async with client(hub, history_page_size=1) as alice, agent(hub) as session:
            stage = Stage(hub, alice, session)
            await stage.ask()
            await answer(hub, session, stage.asked.to_invocation(), "hello")
            cancelled = await cancel_at(CLIENTS[name](stage), step)
            if name != "session.close":
                asked = await alice.view.send(said("still here?"))
                await answer(hub, session, asked.to_invocation(), "yes")
                assert texts(await alice.view.load_all())[-2:] == ["still here?", "yes"]
                assert await asked.ended == "complete"
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, f"{name}, step {step}: {others}"
        if not cancelled:
            return
    pytest.fail(f"{name} did not end within {MOST_STEPS} steps")
