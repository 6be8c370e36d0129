"""Tests of the guards against the SDK's faults in attaching, detaching and delivery."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from ably.types.channeloptions import ChannelOptions

from ably_ai_transport.channel import (
    OBJECT_MODES,
    ChannelState,
    ChannelStateChange,
    open_channel,
)
from ably_ai_transport.version import __version__
from ably_ai_transport.wire import AITransportError, InboundMessage, MessageAction, OutboundMessage
from tests.channel.clients import Seen, realtime, sdk
from tests.channel.fake_ably import ATTACH, DETACH, DETACHED, DISCONNECTED, FakeAbly, Frame

if TYPE_CHECKING:
    from collections.abc import Sequence


def message(data: object, **fields: object) -> Frame:
    return {"name": "n", "data": data, "serial": "s", **fields}


class TestDelivery:
    async def test_what_the_server_leaves_out_is_filled_in(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            seen = Seen(channel)
            await channel.attach()
            await ably.deliver(
                "c",
                message("a"),
                message("b", action=5, version={"timestamp": 5}),
                message("c", action=2, version={"serial": "v"}),
                message("YmluYXJ5", encoding="base64"),
                message('{"a":[1]}', encoding="json"),
            )
            a, b, c, d, e = await seen.first(5)
            assert (a.action, a.version, a.serial) == (MessageAction.CREATE, "s", "s")
            assert (b.action, b.version) == (MessageAction.APPEND, "s")
            assert (c.action, c.version) == (MessageAction.DELETE, "v")
            assert (type(d.data), d.data) == (bytes, b"binary")
            assert e.data == {"a": [1]}
            assert (e.id, e.connection_id, e.timestamp) == ("other:0:4", "other", 1)

    @pytest.mark.parametrize("bad", [message("{", encoding="json"), message("a", encoding="base64")])
    async def test_a_message_that_cannot_be_decoded_does_not_take_others_along(
        self, ably: FakeAbly, bad: Frame
    ) -> None:
        """The SDK drops the whole frame, and its place in the channel."""
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            seen = Seen(channel)
            await channel.attach()
            await ably.deliver("c", message("a"), bad, message("b"))
            assert [one.data for one in await seen.first(2)] == ["a", "b"]

    async def test_a_message_may_be_called_error(self, ably: FakeAbly) -> None:
        """The SDK's emitter raises, and loses the rest of the frame."""
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            seen = Seen(channel)
            await channel.attach()
            await ably.deliver("c", message("a", name="error"), message("b"))
            assert [one.data for one in await seen.first(2)] == ["a", "b"]

    async def test_nothing_is_delivered_after_a_detach(self, ably: FakeAbly) -> None:
        """The SDK delivers in any state of the channel."""
        async with realtime(ably.options()) as client:
            channel, other = open_channel(client, "c"), open_channel(client, "other")
            seen, seen_other = Seen(channel), Seen(other)
            await channel.attach()
            await other.attach()
            await channel.detach()
            await ably.deliver("c", message("late"))
            await ably.deliver("other", message("a"))
            await seen_other.first(1)
            assert seen.messages == []

    async def test_frames_of_a_released_channel_are_dropped(
        self, ably: FakeAbly, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The SDK raises a KeyError for them."""
        async with realtime(ably.options()) as client:
            channel, other = open_channel(client, "c"), open_channel(client, "other")
            seen = Seen(other)
            await channel.attach()
            await other.attach()
            await channel.detach()
            channel.release()
            assert "c" not in sdk(client).channels
            await ably.deliver("c", message("late"))
            await ably.deliver("other", message("a"))
            await seen.first(1)
            assert "uncaught exception" not in caplog.text

    async def test_a_listener_that_raises_is_logged_and_alone_with_it(
        self, ably: FakeAbly, caplog: pytest.LogCaptureFixture
    ) -> None:
        def raising(_value: object) -> None:
            raise ValueError("of the listener")

        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            channel.subscribe(raising)
            channel.on_state(raising)
            seen = Seen(channel)
            await channel.attach()
            await ably.deliver("c", message("a"), message("b"))
            await seen.first(2)
            assert caplog.text.count("of the listener") >= 4

    async def test_an_unsubscribed_listener_is_not_called(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            got: list[InboundMessage] = []
            changes: list[ChannelStateChange] = []
            off, off_state = channel.subscribe(got.append), channel.on_state(changes.append)
            seen = Seen(channel)
            off()
            off()
            off_state()
            await channel.attach()
            await ably.deliver("c", message("a"))
            await seen.first(1)
            assert (got, changes) == ([], [])


class TestAttaching:
    async def test_attaching_twice_at_once_asks_once(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            assert channel.state is ChannelState.INITIALIZED
            await asyncio.gather(channel.attach(), channel.attach())
            await channel.attach()
            assert channel.state is ChannelState.ATTACHED
            assert len(ably.link.sent(ATTACH)) == 1

    async def test_a_refusal_keeps_its_code_and_can_be_tried_again(self, ably: FakeAbly) -> None:
        ably.attach_error = (40160, "no capability")
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            seen = Seen(channel)
            with pytest.raises(AITransportError, match="no capability") as caught:
                await channel.attach()
            assert (caught.value.code, caught.value.status_code) == (40160, 401)
            assert channel.state is ChannelState.FAILED
            assert channel.error_reason is not None
            assert channel.error_reason.code == 40160
            ably.attach_error = None
            await channel.attach()
            assert channel.error_reason is None
            assert seen.states == ["attaching", "failed", "attaching", "attached"]
            await ably.deliver("c", message("a"))
            await seen.first(1)

    async def test_no_answer_to_an_attach(self, ably: FakeAbly) -> None:
        ably.silent.add(ATTACH)
        async with realtime(ably.options(realtime_request_timeout=150)) as client:
            channel = open_channel(client, "c")
            with pytest.raises(AITransportError) as caught:
                await channel.attach()
            assert caught.value.code in (90007, 104007)

    async def test_no_connection_to_attach_on(self, ably: FakeAbly) -> None:
        ably.refuses_upgrades = True
        async with realtime(ably.options(realtime_request_timeout=100)) as client:
            channel = open_channel(client, "c")
            with pytest.raises(AITransportError, match=r"no answer within 0.2 s") as caught:
                await channel.attach()
            assert caught.value.code == 104007
            ably.refuses_upgrades = False
            client.connect()
            await channel.attach()

    async def test_it_connects_a_client_that_was_told_not_to(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(auto_connect=False)) as client:
            await open_channel(client, "c").attach()

    async def test_a_detach_meanwhile_is_told(self, ably: FakeAbly) -> None:
        """The SDK says success, or raises None."""
        ably.silent.add(ATTACH)
        error = {"code": 50000, "statusCode": 500, "message": "no room"}
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            attempt = asyncio.ensure_future(channel.attach())
            await ably.received(ATTACH, 1)
            await ably.link.send({"action": DETACHED, "channel": "c", "error": error})
            with pytest.raises(AITransportError, match="no room") as caught:
                await attempt
            assert caught.value.code == 50000

    async def test_a_cancelled_attach_leaves_no_trace(
        self, ably: FakeAbly, caplog: pytest.LogCaptureFixture
    ) -> None:
        ably.silent.add(ATTACH)
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            attempt = asyncio.ensure_future(channel.attach())
            [frame] = await ably.received(ATTACH, 1)
            attempt.cancel()
            await ably.link.send(ably.attached(frame))
            await channel.attach()
            assert "uncaught listener exception" not in caplog.text

    async def test_lost_continuity_is_reported_with_its_reason(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            seen = Seen(channel)
            error = {"code": 90003, "statusCode": 404, "message": "gone"}
            await ably.link.send(ably.attached({"channel": "c"}) | {"error": error})
            change = await seen.change("attached")
            assert (change.previous, change.current, change.resumed) == ("attached", "attached", False)
            assert change.reason is not None
            assert change.reason.code == 90003

    async def test_continuity_lost_in_a_reconnection_has_its_reason_too(self, ably: FakeAbly) -> None:
        """The SDK drops the reason of an ATTACHED that answers an ATTACH."""
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            seen = Seen(channel)
            ably.silent.add(ATTACH)
            ably.link.cut()
            [frame] = await ably.received(ATTACH, 1, link=1)
            error = {"code": 90003, "statusCode": 404, "message": "gone"}
            await ably.link.send(ably.attached(frame, resumed=False) | {"error": error})
            change = await seen.change("attached")
            assert not change.resumed
            assert change.reason is not None
            assert change.reason.code == 90003


class TestDetaching:
    async def test_without_a_connection_it_returns_at_once(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(disconnected_retry_timeout=20)) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.refuses_upgrades = True
            ably.link.cut()
            await ably.until(lambda: ably.attempts == 2)
            await channel.detach()
            channel.release()
            ably.refuses_upgrades = False
            await ably.received(DETACH, 1, link=1)

    async def test_it_can_be_attached_again(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            seen = Seen(channel)
            await channel.detach()
            await channel.attach()
            await channel.detach()
            await channel.attach()
            await ably.deliver("c", message("a"))
            assert len(await seen.first(1)) == 1
            assert len(ably.link.sent(DETACH)) == 1

    async def test_no_answer_to_a_detach(self, ably: FakeAbly) -> None:
        ably.silent.add(DETACH)
        async with realtime(ably.options(realtime_request_timeout=100)) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            with pytest.raises(AITransportError) as caught:
                await channel.detach()
            assert caught.value.code == 90007


class TestSharing:
    async def test_sessions_with_different_codecs_share_a_channel(self, ably: FakeAbly) -> None:
        """The SDK refuses a channel with other options than it has."""
        async with realtime(ably.options()) as client:
            first = open_channel(client, "c", agents=[("codec-a", "1")])
            await first.attach()
            second = open_channel(client, "c", agents=[("codec-b", "2")])
            await second.attach()
            seen_first, seen_second = Seen(first), Seen(second)
            await ably.deliver("c", message("a"))
            await seen_first.first(1)
            await seen_second.first(1)
            await first.detach()
            first.release()
            first.release()
            await ably.deliver("c", message("b"))
            assert len(await seen_second.first(2)) == 2
            assert len(seen_first.messages) == 1
            assert ably.link.sent(DETACH) == []
            await second.detach()
            second.release()
            assert len(ably.link.sent(DETACH)) == 1
            assert "c" not in sdk(client).channels

    async def test_the_library_names_itself(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            for codec in ("codec-a", "codec-b", "codec-a"):
                open_channel(client, "c", agents=[(codec, "1")])
            await open_channel(client, "c").attach()
            [attach] = ably.link.sent(ATTACH)
            assert attach["params"] == {"agent": f"ai-transport-python/{__version__} codec-a/1 codec-b/1"}
            names = ably.link.query["agent"].split()
            assert names[0].startswith("ably-python/")
            assert names[2:] == [f"ai-transport-python/{__version__}", "codec-a/1", "codec-b/1"]
            assert ably.link.query["heartbeats"] == "true"

    async def test_the_application_s_own_options_stay(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            sdk(client).channels.get("c", ChannelOptions(params={"rewind": "5"}))
            channel = open_channel(client, "c")
            await channel.attach()
            [attach] = ably.link.sent(ATTACH)
            assert attach["params"] == {"rewind": "5", "agent": f"ai-transport-python/{__version__}"}
            await channel.detach()
            channel.release()
            assert "c" in sdk(client).channels

    @pytest.mark.parametrize(("modes", "bits"), [((), 0), (OBJECT_MODES, 0b11 << 24 | 0b101111 << 16)])
    async def test_modes_are_asked_for(self, ably: FakeAbly, modes: Sequence[str], bits: int) -> None:
        async with realtime(ably.options()) as client:
            await open_channel(client, "c", modes=modes).attach()
            assert ably.link.sent(ATTACH)[0].get("flags", 0) == bits
            open_channel(client, "c", modes=modes)

    async def test_modes_cannot_be_added_to_an_attached_channel(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            await open_channel(client, "c").attach()
            with pytest.raises(AITransportError, match="other modes") as caught:
                open_channel(client, "c", modes=OBJECT_MODES)
            assert caught.value.code == 40000

    async def test_released_without_a_detach(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            seen = Seen(channel)
            await channel.attach()
            answer = channel.publish([OutboundMessage(data="a")])
            channel.release()
            assert len(await answer) == 1
            again = open_channel(client, "c")
            seen_again = Seen(again)
            await again.attach()
            await ably.deliver("c", message("a"))
            await seen_again.first(1)
            assert seen.messages == []

    async def test_a_disconnection_without_words_reaches_all(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            first, second = open_channel(client, "a"), open_channel(client, "b")
            await first.attach()
            await second.attach()
            seen = Seen(first), Seen(second)
            await ably.link.send({"action": DISCONNECTED})
            for one in seen:
                assert (await one.change("attached")).resumed
