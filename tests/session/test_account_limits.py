"""Runs hold under the limits of an account: refused for rate is not lost, and an end always arrives."""

from collections.abc import AsyncIterator
from typing import Literal

import anyio
import pytest
from ably_ai_transport_vercel import UIMessageChunk

from ably_ai_transport import AgentSession, ClientSession, limit_publish_rate
from ably_ai_transport.local import LocalServer
from ably_ai_transport.local.options import Limits, LocalServerOptions
from tests.session.clients import realtime
from tests.session.stage import CODEC, NAME, reply, said, texts


async def words(count: int, pause: float) -> AsyncIterator[UIMessageChunk]:
    for chunk in reply(*(f"{number} " for number in range(count))):
        yield chunk
        await anyio.sleep(pause)


@pytest.mark.parametrize("rate", [0.001, 0.02])
async def test_runs_on_one_connection_share_what_the_account_allows(rate: float) -> None:
    limits = Limits.ably()
    with anyio.fail_after(60):
        async with (
            LocalServer(LocalServerOptions(limits=limits)) as server,
            realtime(server, "alice") as alice_client,
            realtime(server, "agent") as agent_client,
            anyio.create_task_group() as tasks,
        ):
            names = [f"{NAME}:{number}" for number in range(4)]

            async def converse(name: str) -> None:
                async with (
                    ClientSession(alice_client, name, codec=CODEC) as alice,
                    AgentSession(agent_client, name, codec=CODEC) as agent,
                ):
                    run = await alice.view.send(said("hi"))
                    async with agent.create_run(run.to_invocation()) as work:
                        result = await work.pipe(words(60, rate))
                    assert result.reason == "complete", result.error
                    assert await run.ended == "complete"
                    assert texts(alice.view.messages)[-1] == "".join(f"{number} " for number in range(60))

            for name in names:
                tasks.start_soon(converse, name)


@pytest.mark.parametrize("limit", ["connection", "channel"])
async def test_a_client_that_does_not_know_the_limit_learns_it_from_refusals(limit: str) -> None:
    limits = Limits(connection_rate=20) if limit == "connection" else Limits(channel_rate=20)
    with anyio.fail_after(60):
        async with (
            LocalServer(LocalServerOptions(limits=limits)) as server,
            realtime(server, "alice") as alice_client,
            realtime(server, "agent") as agent_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
            AgentSession(agent_client, NAME, codec=CODEC, append_interval=0.001) as agent,
        ):
            limit_publish_rate(agent_client, None)
            run = await alice.view.send(said("hi"))
            async with agent.create_run(run.to_invocation()) as work:
                result = await work.pipe(words(200, 0.002))
            assert result.reason == "complete", result.error
            assert await run.ended == "complete"
            assert texts(alice.view.messages)[-1] == "".join(f"{number} " for number in range(200))


@pytest.mark.parametrize("action", ["create", "append", "update"])
@pytest.mark.parametrize("code", [42911, 42913])
@pytest.mark.parametrize("skip", [0, 1, 4])
async def test_whatever_is_refused_for_rate_arrives_in_the_end(
    action: Literal["create", "append", "update"], code: int, skip: int
) -> None:
    with anyio.fail_after(60):
        async with (
            LocalServer() as server,
            realtime(server, "alice") as alice_client,
            realtime(server, "agent") as agent_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
            AgentSession(agent_client, NAME, codec=CODEC, append_interval=0.001) as agent,
        ):
            run = await alice.view.send(said("hi"))
            server.faults.nack(
                NAME,
                count=2,
                skip=skip,
                action=action,
                code=code,
                status=429,
                message="too fast",
            )
            async with agent.create_run(run.to_invocation()) as work:
                result = await work.pipe(words(30, 0.003))
            assert result.reason == "complete", result.error
            assert await run.ended == "complete"
            assert texts(alice.view.messages)[-1] == "".join(f"{number} " for number in range(30))
            async with (
                realtime(server, "late") as late_client,
                ClientSession(late_client, NAME, codec=CODEC) as late,
            ):
                await late.view.load_all()
                assert texts(late.view.messages) == texts(alice.view.messages)


async def test_a_lasting_refusal_delays_the_end_of_a_run_and_does_not_lose_it() -> None:
    with anyio.fail_after(60):
        async with (
            LocalServer() as server,
            realtime(server, "alice") as alice_client,
            realtime(server, "agent") as agent_client,
            ClientSession(alice_client, NAME, codec=CODEC) as alice,
            AgentSession(agent_client, NAME, codec=CODEC) as agent,
        ):
            run = await alice.view.send(said("hi"))
            work = agent.create_run(run.to_invocation())
            await work.start()
            server.faults.nack(NAME, count=4, code=42911, status=429, message="too fast")
            await work.end("complete")
            assert await run.ended == "complete"


async def test_the_rate_can_be_chosen_and_the_pace_switched_off() -> None:
    with anyio.fail_after(30):
        async with LocalServer() as server, realtime(server, "agent") as client:
            limit_publish_rate(client, 5)
            async with AgentSession(client, NAME, codec=CODEC):
                limit_publish_rate(client, None)
            for wrong in (0, -1, float("nan"), "5", True):
                with pytest.raises(ValueError, match="unable to limit publish rate"):
                    limit_publish_rate(client, wrong)  # pyright: ignore[reportArgumentType]
