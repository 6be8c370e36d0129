"""Tests of the lifetime of the channel's tasks, and of its logs."""

from __future__ import annotations

import asyncio
import gc
import logging
import warnings
from typing import TYPE_CHECKING

from ably_ai_transport.channel import ChannelState, open_channel
from ably_ai_transport.wire import AITransportError, OutboundMessage
from tests.channel.clients import Seen, realtime, sdk
from tests.channel.fake_ably import MESSAGE, NACK

if TYPE_CHECKING:
    import pytest

    from tests.channel.fake_ably import FakeAbly

LOGGER = "ably_ai_transport.channel"


def writers() -> set[asyncio.Task[object]]:
    return {task for task in asyncio.all_tasks() if task.get_name() == "ably publishes"}


def token(serial: str | None, text: str = "x") -> OutboundMessage:
    return OutboundMessage(None, text, {}, serial)


async def test_one_task_writes_for_as_long_as_a_connection_lasts(ably: FakeAbly) -> None:
    async with realtime(ably.options(disconnected_retry_timeout=20)) as client:
        one, other = open_channel(client, "one"), open_channel(client, "other")
        assert not writers()
        await one.attach()
        first = writers()
        assert len(first) == 1
        for channel in (one, other):
            (serial,) = await channel.publish([OutboundMessage("n", "")])
            for _ in range(3):
                await channel.append(token(serial))
            await asyncio.gather(*(channel.append(token(serial)) for _ in range(3)))
        assert writers() == first
        ably.link.cut()
        await ably.until(lambda: len(ably.links) == 2)
        await one.publish([OutboundMessage("n", "after")])
        assert len(writers()) == 1
    assert not writers()


async def test_a_publish_leaves_before_one_that_was_made_later_by_another_task(ably: FakeAbly) -> None:
    async with realtime(ably.options()) as client:
        channel = open_channel(client, "c")
        await channel.attach()
        acks: list[asyncio.Future[list[str | None]]] = []

        async def publish(text: str) -> None:
            acks.append(channel.publish([OutboundMessage("n", text)]))
            await acks[-1]

        await asyncio.gather(*(publish(str(number)) for number in range(100)))
        frames = await ably.received(MESSAGE, 100)
        assert [frame["messages"][0]["data"] for frame in frames] == [str(number) for number in range(100)]
        assert [frame["msgSerial"] for frame in frames] == list(range(100))


def test_a_loop_that_ends_with_an_open_client_leaves_no_pending_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from tests.channel.fake_ably import fake_ably

    async def leave() -> None:
        async with fake_ably() as ably:
            from ably import AblyRealtime

            client = AblyRealtime(**ably.options())
            channel = open_channel(client, "c")
            await channel.attach()
            await channel.publish([OutboundMessage("n", "x")])
            assert len(writers()) == 1
            await client.close()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(leave())
        gc.collect()
    assert not [record for record in caplog.records if "destroyed but it is pending" in record.getMessage()]


async def test_a_channel_that_is_attached_again_while_it_detaches(ably: FakeAbly) -> None:
    async with realtime(ably.options()) as client:
        leaving, coming = open_channel(client, "c"), open_channel(client, "c")
        seen = Seen(coming)
        await leaving.attach()
        detaching = asyncio.ensure_future(leaving.detach())
        await asyncio.sleep(0)
        await coming.attach()
        await detaching
        assert coming.state is ChannelState.ATTACHED
        await ably.deliver("c", {"name": "n", "data": "x", "serial": "1"})
        await seen.first(1)


async def test_a_channel_without_sessions_is_forgotten_once_it_is_detached(ably: FakeAbly) -> None:
    async with realtime(ably.options()) as client:
        channel = open_channel(client, "c")
        await channel.attach()
        detaching = asyncio.ensure_future(channel.detach())
        await asyncio.sleep(0)
        channel.release()
        channel.release()
        await detaching
        await asyncio.sleep(0)
        assert "c" not in sdk(client).channels


async def test_the_log_tells_each_step_of_a_publish(ably: FakeAbly, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, LOGGER):
        async with realtime(ably.options(disconnected_retry_timeout=20)) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            (serial,) = await channel.publish([OutboundMessage("n", "my words")])
            ably.holds_acks = True
            refused = channel.append(token(serial, "my words"))
            frame = (await ably.received(MESSAGE, 2))[1]
            error = {"code": 40160, "statusCode": 401, "message": "no"}
            await ably.link.send(
                {"action": NACK, "msgSerial": frame["msgSerial"], "count": 1, "error": error}
            )
            await asyncio.wait((refused,))
            assert isinstance(refused.exception(), AITransportError)
            again = channel.append(token(serial, "my words"))
            await ably.received(MESSAGE, 3)
            ably.holds_acks = False
            ably.link.cut()
            await again
            await channel.detach()
    ours = [record for record in caplog.records if record.name == LOGGER]
    told = [(record.levelno, record.getMessage()) for record in ours]
    assert (logging.INFO, "Channel c is attached") in told
    assert (logging.INFO, "Channel c is detached") in told
    for text in (
        "Published create on c",
        "Acked create on c",
        "Published append on c",
        "Refused with code 40160 append on c",
        "Publishing 1 unacked frames again",
        "Connection is disconnected",
        "Connection is connected",
    ):
        assert any(level == logging.DEBUG and message.startswith(text) for level, message in told), text
    appends = [record for record in ours if "append on c" in record.getMessage()]
    assert {(vars(one)["session"], vars(one)["serial"], vars(one)["action"]) for one in appends} == {
        ("c", serial, "append")
    }
    assert not [message for _, message in told if "my words" in message or "secret" in message]
