"""Tests of the guards against the SDK's faults in publishing, above all when the connection is lost."""

from __future__ import annotations

import asyncio

import pytest
from ably import AblyException
from ably.types.message import Message

from ably_ai_transport.channel import Channel, open_channel
from ably_ai_transport.wire import AITransportError, OutboundMessage
from tests.channel.clients import Seen, realtime, sdk
from tests.channel.fake_ably import (
    ACK,
    DISCONNECTED,
    MESSAGE,
    NACK,
    FakeAbly,
    Frame,
)


def text(data: str) -> OutboundMessage:
    return OutboundMessage(name="n", data=data)


def data_of(frames: list[Frame]) -> list[str]:
    return [message["data"] for frame in frames for message in frame["messages"]]


def numbers_of(frames: list[Frame]) -> list[int]:
    return [frame["msgSerial"] for frame in frames]


def publish(channel: Channel, *data: str) -> list[asyncio.Future[list[str | None]]]:
    return [channel.publish([text(one)]) for one in data]


class TestDisconnectedWhilePublishing:
    """After DISCONNECTED the SDK forgets unacked messages, and their acks go to later messages."""

    async def test_unanswered_messages_are_sent_again_and_get_their_own_answers(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.holds_acks = True
            first = publish(channel, "a", "b", "c")
            await ably.received(MESSAGE, 3)
            await ably.link.send(
                {"action": DISCONNECTED, "error": {"code": 80003, "statusCode": 400, "message": "moving"}}
            )
            again = await ably.received(MESSAGE, 3, link=1)
            later = publish(channel, "d")
            await ably.received(MESSAGE, 4, link=1)
            for number, name in enumerate("abcd"):
                await ably.link.ack(number, name)
            assert [await one for one in first + later] == [["a"], ["b"], ["c"], ["d"]]
            assert numbers_of(again) == [0, 1, 2]

    async def test_a_refusal_after_the_reconnection_reaches_its_caller(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.holds_acks = True
            first, second = publish(channel, "a", "b")
            await ably.received(MESSAGE, 2)
            ably.link.cut()
            await ably.received(MESSAGE, 2, link=1)
            error = {"code": 40160, "statusCode": 401, "message": "no"}
            await ably.link.send({"action": NACK, "msgSerial": 0, "count": 1, "error": error})
            await ably.link.ack(1, "b")
            assert await second == ["b"]
            with pytest.raises(AITransportError) as caught:
                await first
            assert (caught.value.code, caught.value.status_code) == (40160, 401)

    @pytest.mark.parametrize(
        "error",
        [
            pytest.param({"code": 50003, "statusCode": 503, "message": "overloaded"}, id="A2: 503"),
            pytest.param({"code": 80003, "message": "no status"}, id="O: no status"),
            pytest.param(None, id="no error"),
        ],
    )
    async def test_it_reconnects_whatever_the_reason(self, ably: FakeAbly, error: Frame | None) -> None:
        """Without fallback hosts the SDK stays connected to a closed socket."""
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.holds_acks = True
            answers = publish(channel, "a")
            await ably.received(MESSAGE, 1)
            await ably.link.send({"action": DISCONNECTED, **({"error": error} if error else {})})
            assert data_of(await ably.received(MESSAGE, 1, link=1)) == ["a"]
            await ably.link.ack(0, "a")
            assert await answers[0] == ["a"]

    async def test_it_reconnects_with_fallback_hosts(self, ably: FakeAbly) -> None:
        """With fallback hosts the SDK changes hosts while CONNECTED, and forgets unacked messages."""
        async with realtime(ably.options(fallback_hosts=[f"127.0.0.1:{ably.port}/"])) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.holds_acks = True
            answers = publish(channel, "a", "b")
            await ably.received(MESSAGE, 2)
            error = {"code": 50003, "statusCode": 503, "message": "overloaded"}
            await ably.link.send({"action": DISCONNECTED, "error": error})
            assert data_of(await ably.received(MESSAGE, 2, link=1)) == ["a", "b"]
            await ably.link.ack(0, "a")
            await ably.link.ack(1, "b")
            assert [await one for one in answers] == [["a"], ["b"]]


class TestPublishingWhileDisconnected:
    """Without the guard, a message published while disconnected is sent twice after a failed attempt."""

    async def test_each_message_is_sent_once_and_in_order(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(disconnected_retry_timeout=20)) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.holds_acks = True
            answers = publish(channel, "a")
            await ably.received(MESSAGE, 1)
            seen = Seen(channel)
            ably.refuses_upgrades = True
            ably.link.cut()
            await ably.until(lambda: ably.attempts == 2)
            answers += publish(channel, "b", "c")
            await ably.until(lambda: ably.attempts == 3)
            ably.refuses_upgrades = False
            frames = await ably.received(MESSAGE, 3, link=1)
            for number, name in enumerate("abc"):
                await ably.link.ack(number, name)
            assert [await one for one in answers] == [["a"], ["b"], ["c"]]
            assert (data_of(frames), numbers_of(frames)) == (["a", "b", "c"], [0, 1, 2])
            assert len(ably.link.sent(MESSAGE)) == 3
            assert "failed" not in seen.states

    async def test_what_is_published_while_connecting_waits(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(auto_connect=False)) as client:
            channel = open_channel(client, "c")
            answers = publish(channel, "a", "b")
            client.connect()
            assert [len(await one) for one in answers] == [1, 1]
            assert numbers_of(ably.link.sent(MESSAGE)) == [0, 1]

    async def test_nothing_waits_where_the_client_wants_no_queues(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(auto_connect=False, queue_messages=False)) as client:
            with pytest.raises(AITransportError) as caught:
                await open_channel(client, "c").publish([text("a")])
            assert caught.value.code == 90000

    async def test_what_waits_is_refused_when_the_client_closes(self, ably: FakeAbly) -> None:
        async with realtime(ably.options(auto_connect=False)) as client:
            answer = open_channel(client, "c").publish([text("a")])
            await client.close()
            with pytest.raises(AITransportError) as caught:
                await answer
            assert caught.value.code == 80017


class TestNewConnection:
    """After a failed resume the server counts from 0 again, but the SDK continues its count."""

    async def test_messages_are_numbered_anew(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            assert [len(await one) for one in publish(channel, "x", "y")] == [1, 1]
            ably.holds_acks = True
            first = publish(channel, "a", "b")
            await ably.received(MESSAGE, 4)
            ably.forgets = True
            ably.link.cut()
            await ably.received(MESSAGE, 2, link=1)
            later = publish(channel, "c")
            frames = await ably.received(MESSAGE, 3, link=1)
            assert (data_of(frames), numbers_of(frames)) == (["a", "b", "c"], [0, 1, 2])
            for number, name in enumerate("abc"):
                await ably.link.ack(number, name)
            assert [await one for one in first + later] == [["a"], ["b"], ["c"]]

    async def test_a_message_published_in_the_moment_of_the_reconnection_goes_last(
        self, ably: FakeAbly
    ) -> None:
        """The SDK sends in the order in which its tasks run, not in the order of the calls."""
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.holds_acks = True
            first = publish(channel, "a", "b")
            await ably.received(MESSAGE, 2)
            later: list[asyncio.Future[list[str | None]]] = []

            def on_connection(change: object) -> None:
                if getattr(change, "current", None) == "connected":
                    later.extend(publish(channel, "c"))

            # Called in the same turn of the loop in which the SDK sends what is queued.
            sdk(client).connection.connection_manager.on("connectionstate", on_connection)
            ably.link.cut()
            frames = await ably.received(MESSAGE, 3, link=1)
            assert (data_of(frames), numbers_of(frames)) == (["a", "b", "c"], [0, 1, 2])
            for number, name in enumerate("abc"):
                await ably.link.ack(number, name)
            assert [await one for one in first + later] == [["a"], ["b"], ["c"]]


class TestDyingSocket:
    """In the SDK, a publish on a dying socket fails for its caller, but is sent again."""

    async def test_the_caller_gets_the_answer_to_what_was_sent_again(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            # The socket is closing, and the SDK has not noticed yet.
            socket = sdk(client).connection.connection_manager.transport.websocket
            closing = asyncio.ensure_future(socket.close())
            await asyncio.sleep(0)
            ably.holds_acks = True
            answers = publish(channel, "a", "b")
            assert data_of(await ably.received(MESSAGE, 2, link=1)) == ["a", "b"]
            await ably.link.ack(0, "a")
            await ably.link.ack(1, "b")
            assert [await one for one in answers] == [["a"], ["b"]]
            await closing


class TestUnencodable:
    """In the SDK, a message that cannot be encoded stays pending and takes the ack of the next one."""

    @pytest.mark.parametrize(
        ("message", "what"),
        [
            (OutboundMessage(data="half \ud83d a face"), "data"),
            (OutboundMessage(name="\ud83d"), "name"),
            (OutboundMessage(data={"text": "\ud83d"}), "data"),
            (OutboundMessage(extras={"ai": {"transport": {"a": "\ud83d"}}}), "extras"),
            (OutboundMessage(extras={"ai": {"transport": {"a": {1, 2}}}}), "extras"),
            (OutboundMessage(extras={"own": object()}), "extras"),
            (OutboundMessage(data=float("nan")), "data"),
            (OutboundMessage(data=object()), "data"),
        ],
    )
    async def test_it_is_refused_before_it_counts(
        self, ably: FakeAbly, message: OutboundMessage, what: str
    ) -> None:
        async with realtime(ably.options(use_binary_protocol=False)) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            refused = channel.publish([message])
            assert len(await channel.publish([text("a")])) == 1
            with pytest.raises(AITransportError, match=f"{what} cannot be written") as caught:
                await refused
            assert caught.value.code == 40003
            assert numbers_of(ably.link.sent(MESSAGE)) == [0]

    async def test_an_application_s_own_mistake_does_not_shift_answers(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            own = Message(data="x", serial="s", extras={"own": object()})
            with pytest.raises(TypeError):
                await sdk(client).channels.get("c").append_message(own)
            ably.holds_acks = True
            answer = channel.publish([text("a")])
            [frame] = await ably.received(MESSAGE, 1)
            await ably.link.ack(frame["msgSerial"], "a")
            assert await answer == ["a"]


class TestClosing:
    async def test_what_is_unanswered_is_refused_with_the_right_code(self, ably: FakeAbly) -> None:
        """The SDK swaps code and status."""
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.holds_acks = True
            answer = channel.publish([text("a")])
            await ably.received(MESSAGE, 1)
            await client.close()
            with pytest.raises(AITransportError) as caught:
                await answer
            assert (caught.value.code, caught.value.status_code) == (80000, 500)
            with pytest.raises(AITransportError, match="connection is closed"):
                await channel.publish([text("b")])

    async def test_flush_waits_for_answers_across_a_reconnection(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            ably.holds_acks = True
            answer = channel.publish([text("a")])
            await ably.received(MESSAGE, 1)
            flushed = asyncio.ensure_future(channel.flush())
            ably.link.cut()
            await ably.received(MESSAGE, 1, link=1)
            assert not flushed.done()
            await ably.link.ack(0, "a")
            await flushed
            assert answer.done()
            await channel.flush()


class TestOrderAndAnswers:
    async def test_calls_leave_in_their_order(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            answers = [
                channel.append(OutboundMessage(data="1", serial="s")),
                channel.update(OutboundMessage(data="2", serial="s")),
                channel.append(OutboundMessage(data="3", serial="s")),
            ]
            await channel.publish([text("4")])
            assert data_of(ably.link.sent(MESSAGE)) == ["1", "2", "3", "4"]
            assert all([await one for one in answers])

    async def test_one_acknowledgement_for_many(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            ably.holds_acks = True
            await channel.attach()
            answers = publish(channel, "a", "b", "c")
            await ably.received(MESSAGE, 3)
            res = [{"serials": [None]}, {"serials": ["b"]}]
            await ably.link.send({"action": ACK, "msgSerial": 0, "count": 3, "res": res})
            assert [await one for one in answers] == [[None], ["b"], []]

    async def test_a_caller_who_stops_waiting_does_not_withdraw_the_message(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            publish(channel, "a")[0].cancel()
            await channel.publish([text("b")])
            assert data_of(ably.link.sent(MESSAGE)) == ["a", "b"]

    async def test_a_failure_that_nobody_awaits_makes_no_noise(
        self, ably: FakeAbly, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            channel.append(OutboundMessage(data="x"))
            await channel.attach()
        assert not [record for record in caplog.records if record.name == "asyncio"]

    @pytest.mark.parametrize("limit", [100, 65536])
    async def test_the_server_s_limit_is_the_one_that_counts(self, ably: FakeAbly, limit: int) -> None:
        ably.details = {"maxMessageSize": limit}
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            await channel.publish([OutboundMessage(data="é" * (limit // 2))])
            with pytest.raises(AITransportError, match=f"the limit is {limit}") as caught:
                await channel.publish([OutboundMessage(data="é" * (limit // 2) + "e")])
            assert caught.value.code == 40009
            with pytest.raises(AITransportError, match="limit"):
                await channel.append(OutboundMessage(data="e" * limit + "e", serial="s"))

    async def test_presence_and_the_application_s_own_publishes_go_on_as_ever(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            channel = open_channel(client, "c")
            await channel.attach()
            own = sdk(client).channels.get("c")
            assert channel.presence is own.presence
            assert len((await own.publish("n", "own")).serials) == 1
            with pytest.raises(AblyException):
                await own.append_message(Message(data="no serial"))
            assert len(await channel.publish([text("ours")])) == 1

    async def test_the_guards_may_come_while_messages_are_unanswered(self, ably: FakeAbly) -> None:
        async with realtime(ably.options()) as client:
            own_channel = sdk(client).channels.get("c")
            await own_channel.attach()
            ably.holds_acks = True
            own = asyncio.ensure_future(own_channel.publish("n", "own"))
            await ably.received(MESSAGE, 1)
            channel = open_channel(client, "c")
            ours = channel.publish([text("ours")])
            await ably.received(MESSAGE, 2)
            await ably.link.ack(0, "own")
            await ably.link.ack(1, "ours")
            assert (await own).serials == ["own"]
            assert await ours == ["ours"]
