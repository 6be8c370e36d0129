"""On a dead network every wait honors the caller's time-out; the rest goes on in the session's tasks."""

from collections.abc import Awaitable, Callable

import anyio
import pytest

from ably_ai_transport import AgentSession, AITransportError
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from tests.session.stage import CODEC, NAME, agent, client, reply, said, stream
from tests.session.test_cancelled_anywhere import Stage

WAITS: dict[str, tuple[Callable[[Stage], Awaitable[None]], Callable[[Stage], Awaitable[object]]]] = {
    "run.start": (Stage.ask, lambda s: s.run.start()),
    "run.pipe": (Stage.start, lambda s: s.run.pipe(stream(reply("a", "b")))),
    "run.end": (Stage.start, lambda s: s.run.end()),
    "run.end with an open step": (Stage.start_step, lambda s: s.run.end()),
    "step.end": (Stage.start_step, lambda s: s.step.end()),
    "step.pipe": (Stage.start_step, lambda s: s.step.pipe(stream(reply("a", "b")))),
    "session.end": (Stage.start_step, lambda s: s.session.end()),
}


@pytest.mark.parametrize("name", WAITS)
async def test_a_time_out_takes_effect_at_once_and_the_run_ends_later(name: str) -> None:
    prepare, wait = WAITS[name]
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        stage = Stage(hub, alice, session)
        await prepare(stage)
        await hub.settle()
        hub.faults.hold_acks()
        with anyio.fail_after(5):
            with anyio.move_on_after(0.01) as scope:
                await wait(stage)
            assert scope.cancelled_caught
        hub.faults.release_acks()
        await session.end()
        await hub.settle()
        assert stage.asked.ended.is_settled
        assert sum(message.name == names.RUN_END for message in hub.messages(NAME)) == 1


@pytest.mark.parametrize("ends", ["error", "cancel"])
async def test_leaving_a_session_waits_for_acks_up_to_its_time_out(ends: str) -> None:
    hub = MemoryHub()
    told: list[AITransportError] = []

    async def work() -> None:
        async with AgentSession(hub.client("agent"), NAME, codec=CODEC, close_timeout=0.05) as session:
            session.on_error(told.append)
            run = session.create_run(asked.to_invocation())
            await run.start()
            await hub.settle()
            hub.faults.hold_acks()
            if ends == "error":
                raise ConnectionError
            await anyio.sleep_forever()

    async with client(hub) as alice:
        asked = await alice.view.send(said("hi"))
        with anyio.fail_after(5):
            if ends == "error":
                with pytest.raises(ConnectionError):
                    await work()
            else:
                with anyio.move_on_after(0.2):
                    await work()
        hub.faults.release_acks()
        await hub.settle()
    assert any("no ack within 0.05 s" in error.message for error in told)
    assert any("before the channel acked its end" in error.message for error in told)


async def test_an_end_that_was_cut_off_and_then_refused_is_reported_and_can_be_retried() -> None:
    hub = MemoryHub()
    told: list[AITransportError] = []
    async with client(hub) as alice, agent(hub) as session:
        session.on_error(told.append)
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        await hub.settle()
        hub.faults.nack()
        hub.faults.hold_acks()
        with anyio.move_on_after(0.01):
            await run.end()
        hub.faults.release_acks()
        await hub.settle()
        assert [error.code for error in told] == [104003]
        assert run.is_open
        await run.end()
        await hub.settle()
        assert await asked.ended == "complete"
