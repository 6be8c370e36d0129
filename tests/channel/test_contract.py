"""Tests of the channel contract, on every implementation."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

from ably_ai_transport.channel import Channel, ChannelState, open_channel
from ably_ai_transport.local import LocalServer
from ably_ai_transport.testing.memory import MemoryHub
from ably_ai_transport.wire import AITransportError, InboundMessage, MessageAction, OutboundMessage
from tests.channel.clients import Seen, realtime

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

NAME = "contract"
HEADERS = {"ai": {"transport": {"stream": "true", "note": "café"}}}


class World(Protocol):
    """Something with channels, and a way to disturb them."""

    async def channel(self, client_id: str | None) -> Channel:
        """Open a channel for a client of its own."""
        ...

    def refuse(self, operation: str, code: int) -> None:
        """Refuse the next publish of a kind."""
        ...

    def interrupt(self) -> None:
        """Interrupt all connections for a moment."""
        ...

    def lose(self) -> None:
        """Interrupt all channels, and do not let them resume."""
        ...


class MemoryWorld:
    def __init__(self) -> None:
        self.hub = MemoryHub()

    async def channel(self, client_id: str | None) -> Channel:
        return open_channel(self.hub.client(client_id), NAME)

    def refuse(self, operation: str, code: int) -> None:
        assert operation in ("create", "append", "update")
        self.hub.faults.nack(action=operation, code=code)

    def interrupt(self) -> None:
        self.hub.faults.reattach(resumed=True)

    def lose(self) -> None:
        self.hub.faults.drop_continuity()


class AblyWorld:
    def __init__(self, server: LocalServer, clients: AsyncExitStack, *, binary: bool) -> None:
        self.server = server
        self.clients = clients
        self.binary = binary

    async def channel(self, client_id: str | None) -> Channel:
        options = self.server.python_options(client_id, use_binary_protocol=self.binary)
        return open_channel(await self.clients.enter_async_context(realtime(options)), NAME)

    def refuse(self, operation: str, code: int) -> None:
        assert operation in ("create", "append", "update")
        self.server.faults.nack(action=operation, code=code, status=code // 100)

    def interrupt(self) -> None:
        self.server.faults.drop()

    def lose(self) -> None:
        self.server.faults.trim(NAME)
        self.server.faults.drop()


@asynccontextmanager
async def ably_world(*, binary: bool) -> AsyncGenerator[World]:
    async with LocalServer() as server, AsyncExitStack() as clients:
        yield AblyWorld(server, clients, binary=binary)


@pytest.fixture(params=["memory", "ably-json", "ably-msgpack"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
    else:
        async with ably_world(binary=request.param.endswith("msgpack")) as world:
            yield world


def new(data: object) -> OutboundMessage:
    return OutboundMessage(name="n", data=data)


async def publish(channel: Channel, data: object = "", **extras: object) -> str:
    [serial] = await channel.publish([OutboundMessage(name="n", data=data, extras=dict(extras))])
    assert serial is not None
    return serial


def brief(messages: list[InboundMessage]) -> list[tuple[str, object]]:
    return [(one.action.removeprefix("message."), one.data) for one in messages]


class TestPublishing:
    async def test_pipelined_calls_arrive_in_their_order(self, world: World) -> None:
        writer, reader = await world.channel("w"), await world.channel("r")
        seen = Seen(reader)
        await reader.attach()
        serial = await publish(writer, "")
        answers = [writer.append(OutboundMessage(data=f"{n} ", serial=serial)) for n in range(300)]
        last = writer.publish([new("end")])
        versions = [await answer for answer in answers]
        assert versions == sorted(set(versions), key=str)
        await last
        messages = await seen.first(302)
        assert "".join(str(one.data) for one in messages[1:-1]) == "".join(f"{n} " for n in range(300))
        assert {one.action for one in messages[1:-1]} == {MessageAction.APPEND}
        assert [one.version for one in messages[1:-1]] == versions

    async def test_a_batch_is_atomic_and_its_serials_ascend(self, world: World) -> None:
        writer = await world.channel("w")
        seen = Seen(writer)
        await writer.attach()
        serials = await writer.publish([new("a"), new("b"), new("c")])
        after = await publish(writer, "d")
        messages = await seen.first(4)
        assert [one.serial for one in messages] == [*serials, after]
        assert [*serials, after] == sorted([*serials, after], key=str)
        assert [one.version for one in messages] == [one.serial for one in messages]

    async def test_what_is_published_comes_back_as_it_was(self, world: World) -> None:
        writer, reader = await world.channel("w"), await world.channel("r")
        seen, echo = Seen(reader), Seen(writer)
        await reader.attach()
        await writer.attach()
        payloads = ["text, ünïcode 🙂", {"a": [1, None, True]}, ["x"], b"\x00\xff", None, 5]
        for payload in payloads:
            await publish(writer, payload, **HEADERS)
        for messages in (await seen.first(6), await echo.first(6)):
            assert [one.data for one in messages] == payloads
            assert {one.client_id for one in messages} == {"w"}
            assert {one.name for one in messages} == {"n"}
            assert messages[0].transport_headers["note"] == "café"
            assert messages[0].has_ai_envelope
            assert messages[0].timestamp
            assert messages[0].connection_id
            assert messages[0].id

    async def test_publishing_needs_no_attach(self, world: World) -> None:
        writer = await world.channel(None)
        assert await publish(writer, "x")
        assert writer.state is ChannelState.INITIALIZED
        assert writer.client_id is None

    @pytest.mark.parametrize("operation", ["create", "append", "update"])
    async def test_a_refusal_is_its_own_caller_s(self, world: World, operation: str) -> None:
        writer = await world.channel("w")
        serial = await publish(writer, "a")
        world.refuse(operation, 50000)
        calls = {
            "create": lambda: writer.publish([new("refused")]),
            "append": lambda: writer.append(OutboundMessage(data="refused", serial=serial)),
            "update": lambda: writer.update(OutboundMessage(data="refused", serial=serial)),
        }
        refused, accepted = calls[operation](), writer.append(OutboundMessage(data="b", serial=serial))
        accepted = calls[operation]() if operation != "append" else accepted
        assert await accepted
        with pytest.raises(AITransportError) as caught:
            await refused
        assert (caught.value.code, caught.value.status_code) == (50000, 500)

    async def test_changes_of_what_is_not_there(self, world: World) -> None:
        writer = await world.channel("w")
        missing = OutboundMessage(data="x", serial="00000000000001-000@nothing:000")
        for call in (writer.append, writer.update):
            with pytest.raises(AITransportError) as caught:
                await call(missing)
            assert caught.value.status_code == 404
            with pytest.raises(AITransportError) as caught:
                await call(OutboundMessage(data="x"))
            assert caught.value.code == 40003

    async def test_what_cannot_be_sent_is_refused(self, world: World) -> None:
        writer = await world.channel("w")
        await writer.attach()
        for message, code in (
            (new("\ud83d"), 40003),
            (new(object()), 40003),
            (new("x" * 65537), 40009),
        ):
            answer = writer.publish([message])
            with pytest.raises(AITransportError) as caught:
                await answer
            assert caught.value.code == code
        with pytest.raises(AITransportError):
            await writer.publish([])

    async def test_flush_waits_for_all_answers(self, world: World) -> None:
        writer = await world.channel("w")
        await writer.flush()
        answers = [writer.publish([new("x")]) for _ in range(20)]
        await writer.flush()
        assert all(answer.done() for answer in answers)

    async def test_changing_a_message_after_the_call_changes_nothing(self, world: World) -> None:
        writer = await world.channel("w")
        seen = Seen(writer)
        await writer.attach()
        message = new("before")
        answer = writer.publish([message])
        message.data = "after"
        await answer
        assert (await seen.first(1))[0].data == "before"


class TestDelivery:
    async def test_appends_are_deltas_for_who_was_there(self, world: World) -> None:
        writer, reader = await world.channel("w"), await world.channel("r")
        seen = Seen(reader)
        await reader.attach()
        serial = await publish(writer, "a", **HEADERS)
        await writer.append(OutboundMessage(data="b", serial=serial))
        await writer.append(
            OutboundMessage(data="c", extras={"ai": {"transport": {"x": "y"}}}, serial=serial)
        )
        a, b, c = await seen.first(3)
        assert brief([a, b, c]) == [("create", "a"), ("append", "b"), ("append", "c")]
        assert [one.name for one in (a, b, c)] == ["n", "n", "n"]
        assert [one.serial for one in (a, b, c)] == [serial] * 3
        assert dict(b.transport_headers) == HEADERS["ai"]["transport"]
        assert dict(c.transport_headers) == {"x": "y"}
        assert a.timestamp == b.timestamp == c.timestamp
        assert str(a.version) < str(b.version) < str(c.version)

    async def test_who_comes_late_gets_the_whole_once(self, world: World) -> None:
        writer, late = await world.channel("w"), await world.channel("l")
        serial = await publish(writer, "a")
        await writer.append(OutboundMessage(data="b", serial=serial))
        seen = Seen(late)
        await late.attach()
        await writer.append(OutboundMessage(data="c", serial=serial))
        await writer.append(OutboundMessage(data="d", serial=serial))
        assert brief(await seen.first(2)) == [("update", "abc"), ("append", "d")]
        assert seen.messages[0].name == "n"

    async def test_an_update_replaces_the_whole(self, world: World) -> None:
        writer = await world.channel("w")
        seen = Seen(writer)
        await writer.attach()
        serial = await publish(writer, "a", **HEADERS)
        version = await writer.update(OutboundMessage(data="b", serial=serial))
        await writer.append(OutboundMessage(data="c", serial=serial))
        _, update, append = await seen.first(3)
        assert brief([update, append]) == [("update", "b"), ("append", "c")]
        assert (update.version, update.name) == (version, "n")
        assert dict(update.transport_headers) == HEADERS["ai"]["transport"]

    async def test_nothing_is_delivered_without_an_attach_or_after_a_detach(self, world: World) -> None:
        writer, reader, witness = await world.channel("w"), await world.channel("r"), await world.channel("s")
        seen, seen_witness = Seen(reader), Seen(witness)
        await witness.attach()
        await publish(writer, "before")
        await reader.attach()
        await publish(writer, "a")
        await seen.first(1)
        await reader.detach()
        await publish(writer, "after")
        await seen_witness.first(3)
        assert brief(seen.messages) == [("create", "a")]
        assert reader.state is ChannelState.DETACHED

    async def test_listeners_may_publish(self, world: World) -> None:
        channel = await world.channel("w")
        answers: list[asyncio.Future[list[str | None]]] = []

        def answer(message: InboundMessage) -> None:
            if message.data == "question":
                answers.append(channel.publish([new("answer")]))

        channel.subscribe(answer)
        seen = Seen(channel)
        await channel.attach()
        await publish(channel, "question")
        assert brief(await seen.first(2)) == [("create", "question"), ("create", "answer")]
        await answers[0]


class TestHistory:
    async def test_it_ends_where_the_live_messages_start(self, world: World) -> None:
        writer, reader = await world.channel("w"), await world.channel("r")
        for number in range(7):
            await publish(writer, str(number))
        seen = Seen(reader)
        await reader.attach()
        await publish(writer, "live")
        await seen.first(1)
        page = await reader.history(limit=3)
        pages = [page]
        while page.has_next:
            following = await page.next()
            assert following is not None
            pages.append(page := following)
        assert [[one.data for one in page.items] for page in pages] == [
            ["6", "5", "4"],
            ["3", "2", "1"],
            ["0"],
        ]
        assert await page.next() is None

    async def test_messages_are_whole_and_in_their_latest_version(self, world: World) -> None:
        writer, reader = await world.channel("w"), await world.channel("r")
        streamed = await publish(writer, "", **HEADERS)
        for piece in "abc":
            await writer.append(OutboundMessage(data=piece, serial=streamed))
        await publish(writer, "plain")
        seen = Seen(reader)
        await reader.attach()
        version = await writer.append(OutboundMessage(data="d", serial=streamed))
        await seen.first(1)
        plain, whole = (await reader.history()).items
        assert brief([plain, whole]) == [("create", "plain"), ("update", "abcd")]
        assert (whole.serial, whole.version, whole.name) == (streamed, version, "n")
        assert dict(whole.transport_headers) == HEADERS["ai"]["transport"]
        assert seen.messages[0].version == version

    async def test_ephemeral_messages_are_not_kept(self, world: World) -> None:
        writer = await world.channel("w")
        seen = Seen(writer)
        await writer.attach()
        await publish(writer, "gone", ephemeral=True)
        await publish(writer, "kept")
        await seen.first(2)
        reader = await world.channel("r")
        await reader.attach()
        assert [one.data for one in (await reader.history()).items] == ["kept"]

    async def test_it_needs_an_attached_channel(self, world: World) -> None:
        channel = await world.channel("r")
        with pytest.raises(AITransportError) as caught:
            await channel.history()
        assert caught.value.code == 104007
        await channel.attach()
        page = await channel.history()
        assert (list(page.items), page.has_next) == ([], False)
        with pytest.raises(AITransportError) as caught:
            await channel.history(limit=0)
        assert caught.value.code == 40003


class TestStates:
    async def test_attaching_is_reported(self, world: World) -> None:
        channel = await world.channel("r")
        seen = Seen(channel)
        await channel.attach()
        await channel.attach()
        assert seen.states == ["attaching", "attached"]
        assert not seen.changes[1].resumed
        await channel.detach()
        await channel.detach()
        assert seen.states[2:] == ["detaching", "detached"]
        channel.release()

    async def test_a_short_interruption_loses_nothing(self, world: World) -> None:
        writer, reader = await world.channel("w"), await world.channel("r")
        seen = Seen(reader)
        await reader.attach()
        serial = await publish(writer, "a")
        await seen.first(1)
        world.interrupt()
        answers = [writer.append(OutboundMessage(data=piece, serial=serial)) for piece in "bcd"]
        assert all([await answer for answer in answers])
        assert (await seen.change("attached", 2)).resumed
        await writer.publish([new("end")])
        while seen.messages[-1].data != "end":
            await seen.first(len(seen.messages) + 1)
        text = ""
        for one in seen.messages[:-1]:
            text = text + str(one.data) if one.action is MessageAction.APPEND else str(one.data)
        assert text == "abcd"

    async def test_a_long_one_is_reported(self, world: World) -> None:
        writer, reader = await world.channel("w"), await world.channel("r")
        seen = Seen(reader)
        await reader.attach()
        await publish(writer, "a")
        await seen.first(1)
        world.lose()
        change = await seen.change("attached", 2)
        assert (change.current, change.resumed) == (ChannelState.ATTACHED, False)
        await publish(writer, "b")
        assert (await seen.first(2))[1].data == "b"
        # What was missed is in the history that ends at the new attach.
        assert [one.data for one in (await reader.history()).items] == ["a"]

    async def test_released_channels_are_silent(self, world: World) -> None:
        writer, reader = await world.channel("w"), await world.channel("r")
        seen, witness = Seen(reader), Seen(writer)
        await reader.attach()
        await writer.attach()
        reader.release()
        await publish(writer, "a")
        await witness.first(1)
        assert seen.messages == []
