"""Nothing is lost or doubled when an ack is lost, and the state of the connection with it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Literal

import anyio
import pytest
from ably import AblyRealtime
from ably_ai_transport_vercel import UIClientSession, UIMessageChunk

from ably_ai_transport import AgentSession, ClientSession
from ably_ai_transport.channel import open_channel
from ably_ai_transport.local import LocalServer
from ably_ai_transport.wire import OutboundMessage
from tests.session.clients import realtime
from tests.session.stage import CODEC, NAME, reply, said, texts

WORDS = [f"{number} " for number in range(10)]


async def lose_the_connection(server: LocalServer, client: AblyRealtime, client_id: str) -> None:
    """Lose a connection and the server's record of it; return when there is a new one."""
    again = asyncio.Event()

    def on_connected(_: object) -> None:
        again.set()

    client.connection.on("connected", on_connected)  # pyright: ignore[reportUnknownMemberType]
    server.faults.forget(client_id)
    server.faults.drop(client_id)
    await again.wait()
    client.connection.off("connected", on_connected)  # pyright: ignore[reportUnknownMemberType]


async def read_late(server: LocalServer) -> list[str]:
    """Read the conversation as a late joiner does: from history."""
    async with (
        realtime(server, "late") as client,
        ClientSession(client, NAME, codec=CODEC) as late,
    ):
        await late.view.load_all()
        return texts(late.view.messages)


async def show(view: UIClientSession, wanted: list[str]) -> None:
    async for messages in view.view.updates():
        if texts(messages) == wanted:
            return


@pytest.mark.parametrize("action", ["append", "create"])
@pytest.mark.parametrize("nth", [0, 1, 2, 3, 5, 8])
async def test_an_ack_and_the_connection_state_are_lost(
    action: Literal["append", "create"], nth: int
) -> None:
    with anyio.fail_after(30):
        async with (
            LocalServer() as server,
            realtime(server, "agent") as agent_client,
            realtime(server, "alice") as alice_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
            AgentSession(agent_client, NAME, codec=CODEC, merge_appends=False) as agent,
        ):
            run = await alice.view.send(said("hi"))
            server.faults.cut_before_ack(NAME, action=action, skip=nth, forget=True)

            async def source() -> AsyncIterator[UIMessageChunk]:
                for chunk in reply(*WORDS):
                    yield chunk

            async with agent.create_run(run.to_invocation()) as work:
                result = await work.pipe(source())
            assert result.reason == "complete"
            assert await run.ended == "complete"
            wanted = ["hi", "".join(WORDS)]
            await show(alice, wanted)
            assert await read_late(server) == wanted


async def test_acks_are_held_while_the_connection_state_is_lost() -> None:
    with anyio.fail_after(30):
        async with (
            LocalServer() as server,
            realtime(server, "agent") as agent_client,
            realtime(server, "alice") as alice_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
            AgentSession(agent_client, NAME, codec=CODEC, merge_appends=False) as agent,
        ):
            run = await alice.view.send(said("hi"))

            async def source() -> AsyncIterator[UIMessageChunk]:
                for chunk in reply(*WORDS):
                    if chunk.get("delta") == "5 ":
                        server.faults.hold_acks()
                    if chunk.get("delta") == "8 ":
                        await show(alice, ["hi", "".join(WORDS[:8])])
                        server.faults.release_acks()
                        server.faults.hold_acks()
                        await lose_the_connection(server, agent_client, "agent")
                        server.faults.release_acks()
                    yield chunk

            async with agent.create_run(run.to_invocation()) as work:
                result = await work.pipe(source())
            assert result.reason == "complete"
            wanted = ["hi", "".join(WORDS)]
            await show(alice, wanted)
            assert await read_late(server) == wanted


async def test_an_input_whose_ack_is_lost_is_there_once() -> None:
    with anyio.fail_after(30):
        async with (
            LocalServer() as server,
            realtime(server, "alice") as alice_client,
            realtime(server, "bob") as bob_client,
            ClientSession(bob_client, NAME, codec=CODEC) as bob,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
        ):
            serials: list[str | None] = []
            bob.tree.on_message(lambda message: serials.append(message.serial))
            server.faults.cut_before_ack(NAME, action="create", forget=True)
            await alice.view.send(said("pay 100 euro. "))
            await alice.view.send(said("thanks"))
            await show(bob, ["pay 100 euro. ", "thanks"])
            assert await read_late(server) == ["pay 100 euro. ", "thanks"]
            assert len(serials) == 2


async def test_a_batch_whose_ack_is_lost_is_there_once() -> None:
    with anyio.fail_after(30):
        async with (
            LocalServer() as server,
            realtime(server, "agent") as client,
            realtime(server, "late") as late_client,
        ):
            channel = open_channel(client, NAME)
            await channel.attach()
            server.faults.cut_before_ack(NAME, forget=True)
            serials = await channel.publish([OutboundMessage("part", str(number)) for number in range(3)])
            late = open_channel(late_client, NAME)
            await late.attach()
            page = await late.history()
            assert [(one.serial, one.data) for one in reversed(page.items)] == [
                (serial, str(number)) for number, serial in enumerate(serials)
            ]
            for one in (channel, late):
                one.release()


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("seed", range(3))
async def test_random_losses_of_acks_and_of_the_connection_state(seed: int, merge: bool) -> None:
    dice = random.Random(seed)  # noqa: S311
    words = [f"{number} " for number in range(400)]
    with anyio.fail_after(60):
        async with (
            LocalServer() as server,
            realtime(server, "agent") as agent_client,
            realtime(server, "alice") as alice_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
            AgentSession(
                agent_client, NAME, codec=CODEC, merge_appends=merge, append_interval=0.002
            ) as agent,
        ):
            run = await alice.view.send(said("hi"))
            faults = server.faults
            whole = "".join(words)
            shown: list[str] = []
            alice.view.on_update(lambda: shown.extend(texts(alice.view.messages)[1:]))

            def drop_and_forget() -> None:
                faults.forget("agent")
                faults.drop("agent")

            hurts: list[Callable[[], object]] = [
                lambda: faults.cut_before_ack(NAME, action="append", forget=True),
                lambda: faults.cut_before_ack(NAME, forget=True),
                lambda: faults.cut_before_ack(NAME),
                lambda: faults.drop("agent"),
                drop_and_forget,
            ]

            async def source() -> AsyncIterator[UIMessageChunk]:
                for number, chunk in enumerate(reply(*words)):
                    if number % 10 == 9:
                        dice.choice(hurts)()
                    yield chunk
                    if dice.random() < 0.1:
                        await asyncio.sleep(0)

            async with agent.create_run(run.to_invocation()) as work:
                result = await work.pipe(source())
            assert result.reason == "complete", result.error
            await show(alice, ["hi", whole])
            assert await read_late(server) == ["hi", whole]
            # No reader has ever seen a text with a gap, or one that shrank.
            assert [text for text in shown if not whole.startswith(text)] == []
            assert shown == sorted(shown, key=len)
