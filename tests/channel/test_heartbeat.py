"""Connections that are open but dead."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport import (
    InvalidArgumentError,
    OutboundMessage,
    limit_publish_rate,
    set_heartbeat_interval,
)
from ably_ai_transport.channel import AblyPool, open_channel
from ably_ai_transport.channel.ably.heartbeat import Silence, Verdict
from ably_ai_transport.testing.memory import MemoryHub
from tests.channel.clients import Seen, realtime, sdk
from tests.channel.fake_ably import ATTACH, HEARTBEAT, MESSAGE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ably_ai_transport.local import LocalServer
    from tests.channel.fake_ably import FakeAbly

INTERVAL = 0.2
HELLO = OutboundMessage(data="hello")


class TestBlackHole:
    """The socket stays open, and everything that either side sends is lost."""

    async def test_a_publish_is_acked_once_and_arrives_once(self, ably_server: LocalServer) -> None:
        async with (
            realtime(ably_server.python_options(client_id="agent")) as agent,
            realtime(ably_server.python_options(client_id="reader")) as reader,
        ):
            set_heartbeat_interval(agent, INTERVAL)
            channel, reading = open_channel(agent, "c"), open_channel(reader, "c")
            seen = Seen(reading)
            await reading.attach()
            await channel.attach()
            connection_id = sdk(agent).connection.connection_manager.connection_id
            ably_server.faults.black_hole("agent")
            serials = [await channel.publish([OutboundMessage(data=text)]) for text in ("a", "b")]
            assert [[message.serial] for message in await seen.first(2)] == serials
            assert [message.data for message in seen.messages] == ["a", "b"]
            assert sdk(agent).connection.connection_manager.connection_id == connection_id

    async def test_a_silent_reader_gets_what_it_missed(self, ably_server: LocalServer) -> None:
        async with (
            realtime(ably_server.python_options(client_id="agent")) as agent,
            realtime(ably_server.python_options(client_id="reader")) as reader,
        ):
            channel, reading = open_channel(agent, "c"), open_channel(reader, "c")
            await reading.attach()
            seen = Seen(reading)
            set_heartbeat_interval(reader, INTERVAL)
            ably_server.faults.black_hole("reader")
            await channel.publish([HELLO])
            [message] = await seen.first(1)
            assert message.data == "hello"
            assert (await seen.change("attached")).resumed

    async def test_closing_does_not_wait_for_the_handshake(self, ably_server: LocalServer) -> None:
        async with realtime(ably_server.python_options(client_id="agent")) as agent:
            channel = open_channel(agent, "c")
            set_heartbeat_interval(agent, INTERVAL)
            await channel.attach()
            ably_server.faults.black_hole("agent")
            async with asyncio.timeout(5):
                await sdk(agent).close()

    async def test_a_publish_while_closing_is_refused(self, ably_server: LocalServer) -> None:
        async with realtime(ably_server.python_options(client_id="agent")) as agent:
            channel = open_channel(agent, "c")
            set_heartbeat_interval(agent, INTERVAL)
            await channel.attach()
            ably_server.faults.black_hole("agent")
            ack = channel.publish([HELLO])
            await sdk(agent).close()
            assert ack.exception() is not None


class TestProbes:
    async def test_no_answer_ends_the_connection(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            set_heartbeat_interval(client, INTERVAL)
            await channel.attach()
            ably.holds_acks = True
            ably.silent.add(HEARTBEAT)
            ack = channel.publish([HELLO])
            await ably.until(lambda: len(ably.links) == 2)
            ably.holds_acks = False
            assert len(await ack) == 1
            assert ably.links[1].query["resume"] == "connection-1!key"
            [lost], [sent] = ably.links[0].sent(MESSAGE), ably.links[1].sent(MESSAGE)
            assert lost["msgSerial"] == sent["msgSerial"] == 0
            ids = [frame["id"] for frame in ably.links[0].sent(HEARTBEAT)]
            assert len(ids) == len(set(ids)) == 1

    async def test_a_slow_ack_does_not(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            set_heartbeat_interval(client, INTERVAL)
            await channel.attach()
            ably.holds_acks = True
            ack = channel.publish([HELLO])
            await ably.received(HEARTBEAT, 3)
            assert len(ably.links) == 1
            await ably.link.ack(0, ably.serial())
            assert len(await ack) == 1

    async def test_any_frame_is_an_answer(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            seen = Seen(channel)
            set_heartbeat_interval(client, INTERVAL)
            await channel.attach()
            ably.silent.add(HEARTBEAT)
            for count in (1, 2, 3):
                await ably.received(HEARTBEAT, count)
                await ably.deliver("c", {"data": count})
            await seen.first(3)
            assert len(ably.links) == 1

    async def test_an_attach_without_a_session_counts(self, ably: FakeAbly) -> None:
        """The connection is watched from the start, and again after each reconnection."""
        async with realtime(ably.options()) as client:
            set_heartbeat_interval(client, INTERVAL)
            channel = open_channel(client, "c")
            await channel.attach()
            ably.silent.add(HEARTBEAT)
            for links in (2, 3):
                await ably.until(lambda links=links: len(ably.links) == links)
                await ably.received(ATTACH, 1)
            ably.silent.clear()
            assert len(await channel.publish([HELLO])) == 1


@pytest.mark.parametrize("seconds", [0, -1, 0.05, float("nan"), float("inf"), True, "1", None])
async def test_a_bad_interval_is_refused(ably: FakeAbly, seconds: object) -> None:
    async with realtime(ably.options()) as client:
        with pytest.raises(InvalidArgumentError, match=r"number of seconds of at least 0\.1"):
            set_heartbeat_interval(client, cast("float", seconds))


@pytest.mark.parametrize(
    "client", [MemoryHub().client(), AblyPool(lambda: cast("Any", None), size=1)], ids=["memory", "pool"]
)
@pytest.mark.parametrize("choose", [set_heartbeat_interval, limit_publish_rate])
def test_only_ably_clients_have_connections(client: object, choose: Callable[[Any, float], None]) -> None:
    with pytest.raises(InvalidArgumentError, match=r"is no ably\.AblyRealtime"):
        choose(client, 1)


HEARD = "heard"


@given(
    st.lists(st.sampled_from([HEARD, True, False]), max_size=60),
    st.one_of(st.integers(1, 9), st.just(float("inf"))),
    st.integers(1, 9),
    st.integers(1, 4),
)
def test_only_silence_ends_a_connection(
    events: list[str | bool], idle: float, unacked: int, answer: int
) -> None:
    silence = Silence(idle=idle, unacked=unacked, answer=answer)
    silent = waiting = 0
    probed: int | None = None
    for event in events:
        if isinstance(event, str):
            silence.heard()
            silent, waiting, probed = 0, 0, None
            continue
        verdict = silence.tick(has_unacked=event)
        silent, waiting = silent + 1, waiting + 1 if event else 0
        if probed is not None:
            assert (verdict is Verdict.CUT) == (silent - probed >= answer)
        else:
            assert (verdict is Verdict.PROBE) == (silent >= idle or waiting >= unacked)
            probed = silent if verdict is Verdict.PROBE else None
