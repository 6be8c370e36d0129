"""Hooks and listeners: plain functions, coroutine functions, and their exceptions."""

import logging
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel
import pytest
from ably_ai_transport_vercel import UIMessageChunk

from ably_ai_transport import AITransportError, CancelRequest, RunHooks, Write
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import Gated, agent, client, reply, said, stream, texts

END: list[UIMessageChunk] = [{"type": "data-end", "data": "stopped"}]


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


def allow(_: CancelRequest) -> bool:
    return True


async def allow_later(_: CancelRequest) -> bool:
    await anyio.lowlevel.checkpoint()
    return True


def refuse(_: CancelRequest) -> bool:
    return False


async def refuse_later(_: CancelRequest) -> bool:
    await anyio.lowlevel.checkpoint()
    return False


def fail(*_: object) -> bool:
    raise RuntimeError("broken")


async def fail_later(*_: object) -> bool:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("on_cancel", "stops", "reports"),
    [
        (allow, True, 0),
        (allow_later, True, 0),
        (refuse, False, 0),
        (refuse_later, False, 0),
        (fail, False, 1),
        (fail_later, False, 1),
    ],
)
async def test_on_cancel(hub: MemoryHub, on_cancel: object, stops: bool, reports: int) -> None:
    errors: list[AITransportError] = []
    hooks = RunHooks[UIMessageChunk](on_cancel=on_cancel, on_error=errors.append)  # pyright: ignore[reportArgumentType]
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation(), hooks=hooks) as run:
            await asked.cancel()
            await hub.settle()
            assert run.abort_signal.aborted is stops
        assert [error.code for error in errors] == [104002] * reports
        await hub.settle()
        assert await asked.ended == ("cancelled" if stops else "complete")


@pytest.mark.parametrize("kind", ["plain", "coroutine", "raises", "raises later"])
async def test_on_cancelled(hub: MemoryHub, kind: str) -> None:
    called: list[str] = []
    errors: list[AITransportError] = []

    def plain(_: Write[UIMessageChunk]) -> None:
        called.append(kind)

    async def coroutine(write: Write[UIMessageChunk]) -> None:
        called.append(kind)
        for chunk in END:
            await write(chunk)

    def raises(_: Write[UIMessageChunk]) -> None:
        called.append(kind)
        fail()

    async def raises_later(_: Write[UIMessageChunk]) -> None:
        called.append(kind)
        fail()

    hook = {"plain": plain, "coroutine": coroutine, "raises": raises, "raises later": raises_later}[kind]
    hooks = RunHooks[UIMessageChunk](on_cancelled=hook, on_error=errors.append)
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        source = Gated("one", "two")
        async with anyio.create_task_group() as tasks:

            async def work() -> None:
                async with session.create_run(asked.to_invocation(), hooks=hooks) as run:
                    assert (await run.pipe(source.chunks())).reason == "cancelled"

            tasks.start_soon(work)
            await source.reached.wait()
            await asked.cancel()
        await hub.settle()
        assert called == [kind]
        assert [error.code for error in errors] == ([104002] if "raises" in kind else [])
        assert await asked.ended == "cancelled"
        parts = alice.view.messages[-1].message["parts"]
        assert ("data-end" in [part["type"] for part in parts]) is (kind == "coroutine")


async def test_coroutine_functions_run_as_listeners_and_hooks(hub: MemoryHub) -> None:
    called: set[str] = set()

    def note(name: str) -> object:
        async def listener(*_: object) -> None:
            await anyio.lowlevel.checkpoint()
            called.add(name)

        return listener

    hooks = RunHooks[UIMessageChunk](on_steer=note("on_steer"), on_error=note("on_error"))  # pyright: ignore[reportArgumentType]
    async with client(hub) as alice, agent(hub) as session:
        alice.on_error(note("session.on_error"))  # pyright: ignore[reportArgumentType]
        alice.view.on_update(note("view.on_update"))  # pyright: ignore[reportArgumentType]
        alice.view.on_run(note("view.on_run"))  # pyright: ignore[reportArgumentType]
        alice.view.on_message(note("view.on_message"))  # pyright: ignore[reportArgumentType]
        alice.tree.on_update(note("tree.on_update"))  # pyright: ignore[reportArgumentType]
        alice.tree.on_run(note("tree.on_run"))  # pyright: ignore[reportArgumentType]
        alice.tree.on_output(note("tree.on_output"))  # pyright: ignore[reportArgumentType]
        alice.tree.on_message(note("tree.on_message"))  # pyright: ignore[reportArgumentType]
        asked = await alice.view.send(said("hi"))

        async def broken() -> AsyncIterator[UIMessageChunk]:
            for chunk in reply("half ")[:4]:
                yield chunk
            raise ValueError("the model is gone")

        async with session.create_run(asked.to_invocation(), hooks=hooks) as run:
            asked.steer(said("shorter"))
            await hub.settle()
            await run.pipe(broken())
        assert await asked.ended == "error"
        await hub.settle()
    assert called == {
        *("on_steer", "on_error", "session.on_error", "view.on_update", "view.on_run", "view.on_message"),
        *("tree.on_update", "tree.on_run", "tree.on_output", "tree.on_message"),
    }


@pytest.mark.parametrize("hears", ["nobody", "session", "hook"])
async def test_a_failing_model_is_never_silent(
    hub: MemoryHub, hears: str, caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[AITransportError] = []

    async def broken() -> AsyncIterator[UIMessageChunk]:
        for chunk in reply("half ")[:4]:
            yield chunk
        raise ValueError("the model is gone")

    hooks = RunHooks[UIMessageChunk](on_error=errors.append if hears == "hook" else None)
    with caplog.at_level(logging.ERROR, "ably_ai_transport"):
        async with client(hub) as alice, agent(hub) as session:
            alice.on_error(lambda _: None)
            if hears == "session":
                session.on_error(errors.append)
            asked = await alice.view.send(said("hi"))
            async with session.create_run(asked.to_invocation(), hooks=hooks) as run:
                await run.pipe(broken())
            assert await asked.ended == "error"
    records = [record for record in caplog.records if record.levelno >= logging.ERROR]
    if hears == "nobody":
        assert [record.name for record in records] == ["ably_ai_transport.session"]
        assert "ValueError: the model is gone" in caplog.text
        assert vars(records[0])["session"] == "chat:1"
    else:
        assert not records
        assert [error.code for error in errors] == [104008]
        assert isinstance(errors[0].cause, ValueError)
        assert "the model is gone" not in errors[0].message


@pytest.mark.parametrize("in_step", [False, True], ids=["run", "step"])
async def test_raise_on_error_raises_what_the_model_raised(hub: MemoryHub, in_step: bool) -> None:
    async def broken() -> AsyncIterator[UIMessageChunk]:
        for chunk in reply("half ")[:4]:
            yield chunk
        raise ValueError("secret")

    async with client(hub) as alice, agent(hub) as session:
        session.on_error(lambda _: None)
        asked = await alice.view.send(said("hi"))

        async def work() -> None:
            async with session.create_run(asked.to_invocation()) as run:
                if in_step:
                    async with run.create_step() as step:
                        await step.pipe(broken(), raise_on_error=True)
                else:
                    await run.pipe(broken(), raise_on_error=True)

        with pytest.raises(ValueError, match="secret"):
            await work()
        assert await asked.ended == "error"
        assert asked.error is not None
        assert asked.error.message == "agent failed with ValueError"
        assert (await session.create_run((await alice.view.send(said("x"))).to_invocation()).start()) is None
        assert texts(alice.view.messages)[1] == "half "


async def test_a_pipe_that_works_raises_nothing(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            result = await run.pipe(stream(reply("fine")), raise_on_error=True)
        assert (result.reason, result.error) == ("complete", None)
