"""Pools of Ably clients."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from ably import AblyRealtime
from ably.types.connectionstate import ConnectionState
from ably_ai_transport_vercel import UIMessageCodec, text_message
from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport import (
    AblyPool,
    AgentSession,
    AITransportError,
    ClientSession,
    InvalidArgumentError,
    OutboundMessage,
)
from ably_ai_transport.channel import ChannelState, open_channel
from tests.channel.clients import sdk

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from ably_ai_transport_vercel import UIMessageChunk

    from ably_ai_transport.channel import Channel
    from ably_ai_transport.local import LocalServer
    from tests.channel.fake_ably import FakeAbly

HELLO = OutboundMessage(data="hello")
CODEC = UIMessageCodec()


def maker(server: LocalServer, **options: object) -> Callable[[], AblyRealtime]:
    """Return a factory; its clients are named 0, 1, … for faults."""
    numbers = iter(range(99))

    def make() -> AblyRealtime:
        params = {"conn": str(next(numbers))}
        return AblyRealtime(
            **server.python_options(**cast("Any", {"client_id": "agent", **options}), transport_params=params)
        )

    return make


@asynccontextmanager
async def pool_of(make: Callable[[], AblyRealtime], size: int, **options: int) -> AsyncGenerator[AblyPool]:
    """Make a pool and close it; no task of ours and no open client may be left then."""
    before = asyncio.all_tasks()
    async with AblyPool(make, size=size, **options) as pool:
        yield pool
        clients = pool.clients
    assert [str.__str__(sdk(client).connection.state) for client in clients] == ["closed"] * len(clients)
    left = asyncio.all_tasks() - before
    for task in left:
        if "/ably/" in cast("Any", task.get_coro()).cr_code.co_filename:
            task.cancel()
    await asyncio.gather(*(task for task in left if task.cancelling()), return_exceptions=True)
    names = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not any(name.startswith("ably ") for name in names), names


def client_of(pool: AblyPool, channel: Channel) -> int:
    """Return the number of the client that a channel was opened on."""
    [number] = [n for n, c in enumerate(pool.clients) if cast("Any", channel)._realtime is c]
    return number


class TestSpreading:
    async def test_sessions_of_both_kinds_share_a_pool(self, ably_server: LocalServer) -> None:
        async def answer() -> AsyncIterator[UIMessageChunk]:
            yield {"type": "start"}
            yield {"type": "text-start", "id": "t"}
            yield {"type": "text-delta", "id": "t", "delta": "hello"}
            yield {"type": "text-end", "id": "t"}
            yield {"type": "finish"}

        async with (
            pool_of(maker(ably_server), 2) as pool,
            ClientSession(pool, "chat", codec=CODEC) as client,
            AgentSession(pool, "chat", codec=CODEC) as agent,
        ):
            assert len(pool.clients) == 2
            asked = await client.view.send(CODEC.create_user_message(text_message("hi")))
            async with agent.create_run(asked.to_invocation()) as run:
                await run.pipe(answer())
            await asked.ended
            assert [part["type"] for part in client.view.messages[1].message["parts"]][-1] == "text"
            assert agent.presence is not None
            assert "chat" in repr(agent)
            members = await client.presence.get()
            assert {member.client_id for member in members} <= {"agent"}

    async def test_the_least_loaded_client_comes_first(self, ably_server: LocalServer) -> None:
        async with pool_of(maker(ably_server), 3) as pool:
            channels = [open_channel(pool, f"c{number}") for number in range(7)]
            assert [client_of(pool, channel) for channel in channels] == [0, 1, 2, 0, 1, 2, 0]
            channels[1].release()
            channels[4].release()
            channels[5].release()
            assert [client_of(pool, open_channel(pool, name)) for name in "abcde"] == [1, 1, 2, 1, 2]

    async def test_clients_are_made_when_they_are_needed(self, ably_server: LocalServer) -> None:
        async with pool_of(maker(ably_server), 3) as pool:
            assert pool.clients == ()
            assert repr(pool) == "<AblyPool of 0/3 clients>"
            for _ in range(4):
                open_channel(pool, "c").release()
            assert repr(pool) == "<AblyPool of 1/3 clients>"

    async def test_one_channel_may_be_on_several_clients(self, ably_server: LocalServer) -> None:
        async with pool_of(maker(ably_server), 2) as pool:
            one, other = open_channel(pool, "c"), open_channel(pool, "c")
            assert client_of(pool, one) != client_of(pool, other)
            heard: asyncio.Queue[object] = asyncio.Queue()
            for channel in (one, other):
                await channel.attach()
                channel.subscribe(lambda message: heard.put_nowait(message.data))
            await one.publish([HELLO])
            assert [await heard.get(), await heard.get()] == ["hello", "hello"]

    @given(st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=40))
    @settings(deadline=None, max_examples=20)
    def test_no_client_is_ever_two_ahead(self, steps: list[int | None]) -> None:
        """Opening keeps the loads even; each session goes to one of the clients with the fewest."""

        async def run() -> None:
            pool = AblyPool(lambda: AblyRealtime("a.b:c", auto_connect=False), size=3)
            loads, opened = [0, 0, 0], list[tuple[int, Any]]()
            for step in steps:
                if step is None or not opened:
                    channel = open_channel(pool, f"c{len(opened)}")
                    number = client_of(pool, channel)
                    assert number == loads.index(min(loads))
                    loads[number] += 1
                    opened.append((number, channel))
                else:
                    number, channel = opened.pop(step % len(opened))
                    channel.release()
                    loads[number] -= 1
            await pool.close()

        asyncio.run(run())


class TestLimits:
    async def test_channels_a_client(self, ably_server: LocalServer) -> None:
        async with pool_of(maker(ably_server), 2, max_channels_per_client=2) as pool:
            channels = [open_channel(pool, name) for name in "abcd"]
            with pytest.raises(AITransportError, match="each client of the pool has 2 channels") as caught:
                open_channel(pool, "e")
            assert caught.value.code == 90010
            assert client_of(pool, open_channel(pool, "a")) == 0, "it has the channel already"
            await channels[1].attach()
            await channels[1].detach()
            channels[1].release()
            assert client_of(pool, open_channel(pool, "e")) == 1

    async def test_a_channel_counts_until_it_is_detached(self, ably: FakeAbly) -> None:
        """The server counts it until then, too."""
        make = maker_of(ably)
        async with pool_of(make, 1, max_channels_per_client=1) as pool:
            channel = open_channel(pool, "a")
            await channel.attach()
            ably.silent.add(12)
            detaching = asyncio.ensure_future(channel.detach())
            await ably.received(12, 1)
            channel.release()
            with pytest.raises(AITransportError, match="each client of the pool has 1 channels"):
                open_channel(pool, "b")
            await ably.link.send({"action": 13, "channel": "a"})
            await detaching
            open_channel(pool, "b")

    @pytest.mark.parametrize("size", [0, -1, True, 1.5, "2", None])
    def test_bad_sizes(self, size: object) -> None:
        with pytest.raises(InvalidArgumentError, match="size must be an integer of at least 1"):
            AblyPool(lambda: cast("Any", None), size=cast("int", size))
        with pytest.raises(InvalidArgumentError, match="max_channels_per_client must be"):
            AblyPool(lambda: cast("Any", None), size=1, max_channels_per_client=cast("int", size))


def maker_of(ably: FakeAbly, **options: object) -> Callable[[], AblyRealtime]:
    """Return a factory for clients of the scripted server."""
    return lambda: AblyRealtime(**ably.options(**options))


class TestFactories:
    async def test_a_client_itself_is_no_factory(self, ably: FakeAbly) -> None:
        with pytest.raises(InvalidArgumentError, match="takes a function that makes an Ably client, not str"):
            AblyPool(cast("Any", "key"), size=1)

    async def test_no_client(self) -> None:
        async with AblyPool(lambda: cast("Any", "client"), size=1) as pool:
            with pytest.raises(InvalidArgumentError, match="made no Ably client, but str"):
                open_channel(pool, "c")

    async def test_a_coroutine_function(self) -> None:
        async def make() -> AblyRealtime:
            return cast("Any", None)

        async with AblyPool(cast("Any", make), size=1) as pool:
            with pytest.raises(InvalidArgumentError, match="coroutine function"):
                open_channel(pool, "c")

    async def test_the_same_client_twice(self, ably: FakeAbly) -> None:
        client = AblyRealtime(**ably.options())
        async with AblyPool(lambda: client, size=2) as pool:
            open_channel(pool, "c")
            with pytest.raises(InvalidArgumentError, match="same client again"):
                open_channel(pool, "d")
            assert len(pool.clients) == 1

    async def test_a_factory_that_raises(self, ably: FakeAbly) -> None:
        async with AblyPool(lambda: cast("Any", {}["key"]), size=2) as pool:
            with pytest.raises(KeyError):
                open_channel(pool, "c")
            assert pool.clients == ()

    async def test_other_client_ids_are_refused(self, ably_server: LocalServer) -> None:
        names = iter(["alice", "bob", "alice"])

        def make() -> AblyRealtime:
            return AblyRealtime(**ably_server.python_options(client_id=next(names)))

        async with pool_of(make, 2) as pool:
            open_channel(pool, "c")
            with pytest.raises(InvalidArgumentError, match="same client id, got 'alice' and 'bob'"):
                open_channel(pool, "d")
            assert client_of(pool, open_channel(pool, "d")) == 1

    async def test_client_ids_of_tokens_are_compared_once_they_are_known(self, ably: FakeAbly) -> None:
        ids = iter(["alice", "bob"])

        def make() -> AblyRealtime:
            ably.details = {"clientId": next(ids)}
            return AblyRealtime(**ably.options())

        async with pool_of(make, 2) as pool:
            one = open_channel(pool, "c")
            await one.attach()
            two = open_channel(pool, "d")
            await two.attach()
            with pytest.raises(InvalidArgumentError, match="same client id, got 'alice' and 'bob'"):
                open_channel(pool, "e")
            assert len(pool.clients) == 2, "sessions go on"


class TestFailures:
    async def test_one_failed_client_leaves_the_others_alone(self, ably_server: LocalServer) -> None:
        async with pool_of(maker(ably_server), 2) as pool:
            failing, fine = open_channel(pool, "a"), open_channel(pool, "b")
            failed = asyncio.Event()
            failing.on_state(lambda change: failed.set() if change.current == "failed" else None)
            await failing.attach()
            await fine.attach()
            ably_server.faults.error("0", code=40101)
            await failed.wait()
            for attempt in (failing.publish([HELLO]), failing.attach()):
                with pytest.raises(AITransportError) as caught:
                    await attempt
                assert caught.value.code == 40101
            assert failing.error_reason is not None
            assert failing.error_reason.code == 40101
            assert fine.state is ChannelState.ATTACHED
            assert len(await fine.publish([HELLO])) == 1
            assert client_of(pool, open_channel(pool, "c")) == 1, "although it has more sessions"

    async def test_a_failed_client_is_replaced_once_it_has_no_sessions(self, ably: FakeAbly) -> None:
        async with pool_of(maker_of(ably), 1) as pool:
            ably.connect_error = (40101, "invalid key")
            channel = open_channel(pool, "a")
            with pytest.raises(AITransportError, match="key refused"):
                await channel.attach()
            with pytest.raises(AITransportError, match="each client of the pool has failed") as caught:
                open_channel(pool, "b")
            assert "key refused" in caught.value.message
            assert caught.value.code == 40101
            ably.connect_error = None
            channel.release()
            again = open_channel(pool, "b")
            await again.attach()
            assert len(pool.clients) == 1

    async def test_a_client_that_the_application_closed_is_replaced(self, ably_server: LocalServer) -> None:
        async with pool_of(maker(ably_server), 1) as pool:
            open_channel(pool, "a").release()
            [first] = pool.clients
            await sdk(first).close()
            channel = open_channel(pool, "a")
            await channel.attach()
            assert pool.clients != (first,)

    async def test_a_client_that_has_been_without_a_connection_for_long_comes_last(
        self, ably_server: LocalServer
    ) -> None:
        async with pool_of(maker(ably_server), 2) as pool:
            suspended, _ = open_channel(pool, "a"), open_channel(pool, "b")
            await suspended.attach()
            sdk(pool.clients[0]).connection.connection_manager.notify_state(ConnectionState.SUSPENDED)
            assert client_of(pool, open_channel(pool, "c")) == 1
            assert client_of(pool, open_channel(pool, "d")) == 1


class TestClosing:
    async def test_a_cancelled_exit_closes_the_clients_as_well(self, ably_server: LocalServer) -> None:
        pool = AblyPool(maker(ably_server), size=1)
        await open_channel(pool, "a").attach()
        [client] = pool.clients
        with anyio.CancelScope() as scope:
            async with pool:
                scope.cancel()
                await anyio.sleep_forever()
        assert sdk(client).connection.state == "closed"

    async def test_nothing_is_opened_afterwards(self, ably_server: LocalServer) -> None:
        pool = AblyPool(maker(ably_server), size=2)
        channel = open_channel(pool, "a")
        await channel.attach()
        await pool.close()
        await pool.close()
        with pytest.raises(AITransportError, match="the pool is closed"):
            open_channel(pool, "b")
        with pytest.raises(AITransportError, match="connection is closed"):
            await channel.publish([HELLO])

    async def test_one_client_that_cannot_be_closed_keeps_no_other_open(
        self, ably_server: LocalServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        pool = AblyPool(maker(ably_server), size=2)
        for name in "ab":
            await open_channel(pool, name).attach()
        broken, fine = pool.clients
        close = sdk(broken).close

        async def fail() -> None:
            await close()
            raise RuntimeError("no")

        sdk(broken).close = fail
        await pool.close()
        assert sdk(fine).connection.state == "closed"
        assert "Closing a client of a pool raised RuntimeError" in caplog.text
