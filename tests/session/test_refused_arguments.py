"""Bad arguments are refused at once, with the reason, and nothing is published."""

from collections.abc import Callable
from typing import cast

import pytest
from ably_ai_transport_vercel import UIMessageCodec

from ably_ai_transport import (
    AgentSession,
    AITransportError,
    ClientSession,
    InvalidArgumentError,
    Invocation,
    RunHooks,
)
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from tests.session.stage import CODEC, NAME, agent, answer, client, reply, said, stream, texts


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


OPENINGS: dict[str, Callable[[MemoryHub], object]] = {
    "whole number, 1 to 1000, got 0": lambda h: ClientSession(
        h.client(), NAME, codec=CODEC, history_page_size=0
    ),
    "whole number, 1 to 1000, got 5000": lambda h: AgentSession(
        h.client(), NAME, codec=CODEC, history_page_size=5000
    ),
    "got True": lambda h: ClientSession(h.client(), NAME, codec=CODEC, history_page_size=True),
    "append_window must be": lambda h: AgentSession(h.client(), NAME, codec=CODEC, append_window=0),
    "reorder_window_ms must be": lambda h: AgentSession(h.client(), NAME, codec=CODEC, reorder_window_ms=-1),
    "UIMessageCodec is a class": lambda h: ClientSession(
        h.client(), NAME, codec=cast("UIMessageCodec", UIMessageCodec)
    ),
    "str is not a Codec": lambda h: ClientSession(h.client(), NAME, codec=cast("UIMessageCodec", "vercel")),
    "is not a logger": lambda h: ClientSession(h.client(), NAME, codec=CODEC, logger=print),  # pyright: ignore[reportArgumentType]
}


@pytest.mark.parametrize("reason", OPENINGS)
async def test_options_of_sessions(hub: MemoryHub, reason: str) -> None:
    with pytest.raises(InvalidArgumentError, match=reason) as caught:
        OPENINGS[reason](hub)
    assert isinstance(caught.value, ValueError)


async def test_an_option_that_does_not_exist(hub: MemoryHub) -> None:
    with pytest.raises(TypeError, match="histroy_page_size"):
        ClientSession(hub.client(), NAME, codec=CODEC, histroy_page_size=5)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("limit", [1.5, "3", True, None])
async def test_a_limit_that_is_no_number_leaves_the_view_usable(hub: MemoryHub, limit: object) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        await answer(hub, session, asked.to_invocation(), "hello")
    async with client(hub, "bob") as bob:
        with pytest.raises(InvalidArgumentError):
            await bob.view.load_older(limit)  # pyright: ignore[reportArgumentType]
        assert texts(await bob.view.load_older(1)) == ["hello"]
        assert texts(await bob.view.load_all()) == ["hi", "hello"]


async def test_a_closed_view_loads_nothing(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        await alice.view.send(said("hi"))
        view = alice.create_view()
        view.close()
        assert await view.load_older() == []
        assert await view.load_all() == []
        assert await view.load_until(lambda _: False) == []
        assert texts(alice.view.messages) == ["hi"]


@pytest.mark.parametrize("invocation", [{"inputEventId": "e", "sessionName": NAME}, None, "e"])
async def test_an_invocation_that_is_none(hub: MemoryHub, invocation: object) -> None:
    async with agent(hub) as session:
        with pytest.raises(InvalidArgumentError, match=r"Invocation\.from_json"):
            session.create_run(cast("Invocation", invocation))


@pytest.mark.parametrize("reason", ["suspend", None, 3, "failed", ""])
async def test_a_run_ends_for_a_reason_that_exists(hub: MemoryHub, reason: object) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        run = session.create_run(asked.to_invocation())
        await run.start()
        before = len(hub.messages(NAME))
        with pytest.raises(InvalidArgumentError, match="complete, cancelled, error"):
            await run.end(reason)  # pyright: ignore[reportArgumentType]
        assert len(hub.messages(NAME)) == before
        assert run.is_open
        await run.end()
        await hub.settle()
        assert await asked.ended == "complete"


@pytest.mark.parametrize("reason", ["error", "suspend", 3])
async def test_a_step_ends_for_a_reason_that_exists(hub: MemoryHub, reason: object) -> None:
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            step = run.create_step()
            await step.start()
            with pytest.raises(InvalidArgumentError, match="complete, failed, cancelled"):
                await step.end(reason)  # pyright: ignore[reportArgumentType]
            assert not [m for m in hub.messages(NAME) if m.name == names.STEP_END]
            await step.pipe(stream(reply("still open")))
            await step.end()
        await hub.settle()
        assert texts(alice.view.messages) == ["hi", "still open"]


async def test_a_user_message_with_another_role(hub: MemoryHub) -> None:
    async with client(hub) as alice, agent(hub) as session:
        with pytest.raises(InvalidArgumentError, match="role 'system'"):
            await alice.view.send(said("hi"), role="system")
        assert alice.view.messages == []
        asked = await alice.view.send(said("hi"))
        await answer(hub, session, asked.to_invocation(), "hello")
        assert texts(alice.view.messages) == ["hi", "hello"]


async def test_regenerating_a_users_message_says_what_it_is(hub: MemoryHub) -> None:
    async with client(hub) as alice:
        asked = await alice.view.send(said("hi"))
        with pytest.raises(InvalidArgumentError, match="is a user's message"):
            await alice.view.regenerate(asked.input_codec_message_id)
        with pytest.raises(InvalidArgumentError, match="not found in tree"):
            await alice.view.regenerate("nowhere")


async def test_hooks_that_are_none(hub: MemoryHub) -> None:
    async def change(_: object) -> None: ...

    bad: list[object] = [
        cast("object", RunHooks[object](on_message=change)),  # pyright: ignore[reportArgumentType]
        cast("object", RunHooks[object](on_steer="no function")),  # pyright: ignore[reportArgumentType]
        cast("object", {"on_cancel": change}),
    ]
    async with agent(hub) as session:
        invocation = Invocation(input_event_id="e", session_name=NAME)
        for hooks in bad:
            with pytest.raises(InvalidArgumentError):
                session.create_run(invocation, hooks=hooks)  # pyright: ignore[reportArgumentType]


def test_trio_is_refused_with_the_reason() -> None:
    import anyio

    async def connect() -> None:
        await ClientSession(MemoryHub().client(), NAME, codec=CODEC).connect()

    with pytest.raises(AITransportError, match="asyncio"):
        anyio.run(connect, backend="trio")
