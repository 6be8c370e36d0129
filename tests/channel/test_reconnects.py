"""Frames of any size arrive, and a connection that ends again and again is not made again without a pause."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from ably_ai_transport.channel import ChannelState, open_channel
from ably_ai_transport.channel.ably import reconnects
from ably_ai_transport.local import Limits, LocalServer, LocalServerOptions
from ably_ai_transport.wire import OutboundMessage
from tests.channel.clients import Seen, realtime

if TYPE_CHECKING:
    from tests.channel.fake_ably import FakeAbly

PIECE = "é" * 30_000
LARGE = LocalServerOptions(limits=Limits(max_accumulated_size=2**23))


@pytest.mark.parametrize("binary", [False, True])
async def test_a_message_of_more_than_a_mebibyte_reaches_a_late_joiner(*, binary: bool) -> None:
    async with (
        LocalServer(LARGE) as server,
        realtime(server.python_options(client_id="agent", use_binary_protocol=binary)) as agent,
        realtime(server.python_options(client_id="late", use_binary_protocol=binary)) as late,
    ):
        channel, following = open_channel(agent, "c"), open_channel(late, "c")
        await channel.attach()
        [serial] = await channel.publish([OutboundMessage(data="")])
        assert serial is not None
        acks = [channel.append(OutboundMessage(data=PIECE, serial=serial)) for _ in range(40)]
        await asyncio.gather(*acks)
        await following.attach()
        seen = Seen(following)
        connections = server.stats.connections_opened
        await channel.append(OutboundMessage(data="!", serial=serial))
        [message] = await seen.first(1)
        assert message.data == PIECE * 40 + "!"
        page = await following.history(limit=1)
        assert page.items[0].data == message.data
        assert server.stats.connections_opened == connections


async def test_a_frame_that_cannot_be_received_is_reported_and_asked_for_with_pauses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "ably_ai_transport.channel")
    monkeypatch.setattr(reconnects, "MAX_FRAME_RECEIVED", 50_000)
    async with (
        LocalServer(LARGE) as server,
        realtime(server.python_options(client_id="agent")) as agent,
        realtime(server.python_options(client_id="late")) as late,
    ):
        following, channel = open_channel(late, "c"), open_channel(agent, "c")
        await following.attach()
        seen = Seen(following)
        connections = server.stats.connections_opened
        await channel.publish([OutboundMessage(data=PIECE)])
        change = await seen.change("suspended")
        assert change.reason is not None
        assert change.reason.code == 40009
        assert "50000 bytes" in change.reason.message
        await asyncio.sleep(2)  # the pauses are real time: 0.1, 0.2, 0.4, 0.8 s
        assert 4 <= server.stats.connections_opened - connections <= 10
        assert {record.levelname for record in caplog.records} == {"ERROR"}
        assert "more than 50000 bytes" in caplog.text


async def test_the_first_reconnects_come_at_once_and_later_ones_with_pauses(
    ably: FakeAbly, caplog: pytest.LogCaptureFixture
) -> None:
    async with realtime(ably.options()) as client:
        channel = open_channel(client, "c")
        await channel.attach()
        loop = asyncio.get_running_loop()
        pauses: list[float] = []
        for number in range(1, 7):
            cut_at = loop.time()
            ably.link.cut()
            await ably.until(lambda number=number: len(ably.links) > number)
            pauses.append(loop.time() - cut_at)
            await ably.received(10, 1)
        assert max(pauses[:3]) < 0.1 < pauses[3] < pauses[4] < pauses[5] < 2
        assert "4 connections in a row" in caplog.text
        ack = channel.publish([OutboundMessage(data="a")])
        assert len(await ack) == 1
        assert channel.state is ChannelState.ATTACHED
