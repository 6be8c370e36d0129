"""The unmodified Python SDK against the server."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from ably import AblyRealtime, AblyRest
from ably.types.channeloptions import ChannelOptions
from ably.types.message import Message
from ably.util.exceptions import AblyException

from tests.local.raw_client import raw_client
from tests.local.vcdiff_decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from ably_ai_transport.local import LocalServer
    from tests.local.raw_client import WireFormat


class Inbox:
    """Collects messages and lets a test wait for their number."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self._arrived = asyncio.Event()

    def take(self, message: object) -> None:
        self.messages.append(message)
        self._arrived.set()

    def listener(self) -> Callable[[object], None]:
        """The SDK takes functions and methods, not callable objects."""
        return self.take

    async def first(self, count: int) -> list[Any]:
        while len(self.messages) < count:
            self._arrived.clear()
            await self._arrived.wait()
        assert len(self.messages) == count, self.messages
        return self.messages


def code_of(caught: pytest.ExceptionInfo[AblyException]) -> int:
    return cast("Any", caught.value).code


def shown(messages: list[Any]) -> list[tuple[int, str, Any]]:
    return [(int(m.action), m.name, m.data) for m in messages]


@asynccontextmanager
async def realtime(
    server: LocalServer, client_id: str | None, format_: WireFormat, **overrides: object
) -> AsyncGenerator[Any]:
    options = server.python_options(client_id, use_binary_protocol=format_ == "msgpack", **overrides)
    client = cast("Any", AblyRealtime)(**options)
    try:
        yield client
    finally:
        await client.close()


async def test_publish_and_subscribe(server: LocalServer, wire_format: WireFormat) -> None:
    inbox = Inbox()
    async with realtime(server, "alice", wire_format) as alice, realtime(server, "bob", wire_format) as bob:
        await bob.channels.get("c").subscribe(inbox.listener())
        channel = alice.channels.get("c")
        result = await channel.publish("text", "hello")
        await channel.publish([Message(name="json", data={"a": 1}), Message(name="raw", data=b"\x00\xff")])
        messages = await inbox.first(3)
    assert shown(messages) == [(0, "text", "hello"), (0, "json", {"a": 1}), (0, "raw", b"\x00\xff")]
    assert messages[0].serial == result.serials[0]
    assert messages[0].client_id == "alice"
    assert messages[0].version.serial == messages[0].serial
    assert messages[0].connection_id


async def test_append_update_delete(server: LocalServer, wire_format: WireFormat) -> None:
    inbox = Inbox()
    async with realtime(server, "alice", wire_format) as alice:
        channel = alice.channels.get("c")
        await channel.subscribe(inbox.listener())
        serial = (await channel.publish("n", "a")).serials[0]
        versions = [
            (await channel.append_message(Message(serial=serial, data="b"))).version_serial,
            (await channel.update_message(Message(serial=serial, data="U"))).version_serial,
            (await channel.delete_message(Message(serial=serial))).version_serial,
        ]
        messages = await inbox.first(4)
        latest = await channel.get_message(serial)
        history = await channel.get_message_versions(serial)
    assert shown(messages) == [(0, "n", "a"), (5, "n", "b"), (1, "n", "U"), (2, "n", "U")]
    assert [m.version.serial for m in messages] == [serial, *versions]
    assert len({m.timestamp for m in messages}) == 1
    assert shown([latest]) == [(2, "n", "U")]
    assert shown(history.items) == [(0, "n", "a"), (1, "n", "ab"), (1, "n", "U"), (2, "n", "U")]


async def test_history_is_paged(server: LocalServer, wire_format: WireFormat) -> None:
    async with realtime(server, "alice", wire_format) as alice:
        channel = alice.channels.get("c")
        for number in range(5):
            await channel.publish("n", str(number))
        page = await channel.history(limit=2)
        sizes: list[int] = []
        items: list[Any] = []
        while page is not None:
            sizes.append(len(page.items))
            items += page.items
            page = await page.next()
    assert sizes == [2, 2, 1]
    assert [item.data for item in items] == list("43210")


async def test_rewind(server: LocalServer, wire_format: WireFormat) -> None:
    inbox = Inbox()
    async with realtime(server, "alice", wire_format) as alice, realtime(server, "bob", wire_format) as bob:
        channel = alice.channels.get("c")
        serial = (await channel.publish("n", "1")).serials[0]
        await channel.publish("n", "2")
        await channel.append_message(Message(serial=serial, data="+"))
        late = bob.channels.get("c", ChannelOptions(params={"rewind": "2"}))
        await late.subscribe(inbox.listener())
        await channel.append_message(Message(serial=serial, data="+"))
        messages = await inbox.first(3)
    assert shown(messages) == [(1, "n", "1+"), (0, "n", "2"), (5, "n", "+")]


async def test_deltas(server: LocalServer, wire_format: WireFormat) -> None:
    decoder, inbox = Decoder(), Inbox()
    sent: list[object] = [{"foo": "bar", "count": count, "status": "active"} for count in range(3)]
    sent += ["a text of some length, for a delta 1", "a text of some length, for a delta 2"]
    sent += [bytearray(range(100)), bytearray(range(101))]
    async with realtime(server, "alice", wire_format, vcdiff_decoder=decoder) as client:
        channel = client.channels.get("c", ChannelOptions(params={"delta": "vcdiff"}))
        await channel.subscribe(inbox.listener())
        for data in sent:
            await channel.publish("n", data)
        assert [message.data for message in await inbox.first(len(sent))] == sent
    assert decoder.decoded == 4


async def test_a_dropped_subscriber_misses_nothing(server: LocalServer, wire_format: WireFormat) -> None:
    inbox = Inbox()
    async with (
        realtime(server, "bob", wire_format) as bob,
        raw_client(server, "alice") as alice,
    ):
        channel = bob.channels.get("c")
        await channel.subscribe(inbox.listener())
        connection_id = bob.connection.connection_manager.connection_id
        serial = await alice.publish("c", {"name": "n", "data": "1"})
        await inbox.first(1)
        server.faults.drop("bob")
        await alice.append("c", serial, "2")
        await alice.append("c", serial, "3")
        await inbox.first(2)
        await alice.append("c", serial, "4")
        messages = await inbox.first(3)
        assert bob.connection.connection_manager.connection_id == connection_id
    assert shown(messages) == [(0, "n", "1"), (1, "n", "123"), (5, "n", "4")]


async def test_a_publish_in_flight_over_a_drop_happens_once(
    server: LocalServer, wire_format: WireFormat
) -> None:
    inbox = Inbox()
    async with realtime(server, "alice", wire_format) as alice, realtime(server, "bob", wire_format) as bob:
        await bob.channels.get("c").subscribe(inbox.listener())
        channel = alice.channels.get("c")
        await channel.publish("n", "first")
        server.faults.cut_before_ack("c")
        serial = (await channel.publish("n", "cut")).serials[0]
        following = (await channel.publish("n", "next")).serials[0]
        messages = await inbox.first(3)
    assert [m.data for m in messages] == ["first", "cut", "next"]
    assert [m.serial for m in messages[1:]] == [serial, following]


async def test_lost_continuity_shows(server: LocalServer, wire_format: WireFormat) -> None:
    changes: list[Any] = []
    attached = asyncio.Event()
    async with realtime(server, "alice", wire_format) as alice:
        channel = alice.channels.get("c")
        await channel.attach()
        await channel.publish("n", "1")

        def note(change: object) -> None:
            changes.append(change)
            if changes[-1].current == "attached":
                attached.set()

        channel.on(note)
        server.faults.trim("c")
        server.faults.drop("alice")
        await attached.wait()
    assert changes[-1].resumed is False


async def test_refusals_reach_the_caller(server: LocalServer, wire_format: WireFormat) -> None:
    async with realtime(server, "alice", wire_format) as alice:
        channel = alice.channels.get("immutable:c")
        serial = (await channel.publish("n", "1")).serials[0]
        with pytest.raises(AblyException) as refused:
            await channel.append_message(Message(serial=serial, data="2"))
        assert code_of(refused) == 93002
        server.faults.nack("immutable:c", code=50001)
        with pytest.raises(AblyException) as failed:
            await channel.publish("n", "2")
    assert code_of(failed) == 50001


async def test_tokens(server: LocalServer, wire_format: WireFormat) -> None:
    token = server.token("alice", capability={"c": ["publish", "subscribe", "history"]})
    async with realtime(server, None, wire_format, token=token) as alice:
        await alice.channels.get("c").publish("n", "1")
        assert alice.auth.client_id == "alice"
        with pytest.raises(AblyException) as refused:
            await alice.channels.get("d").attach()
        assert code_of(refused) == 40160


async def test_presence(server: LocalServer, wire_format: WireFormat) -> None:
    async with realtime(server, "alice", wire_format) as alice, realtime(server, "bob", wire_format) as bob:
        await alice.channels.get("c").presence.enter("here")
        channel = bob.channels.get("c")
        await channel.attach()
        members = await channel.presence.get()
    assert [(m.client_id, m.data) for m in members] == [("alice", "here")]


async def test_the_rest_client(server: LocalServer, wire_format: WireFormat) -> None:
    options = server.python_options("alice", use_binary_protocol=wire_format == "msgpack")
    async with cast("Any", AblyRest)(**options) as client:
        channel = client.channels.get("a:b")
        result = await channel.publish("n", {"a": 1})
        await channel.publish("raw", b"\x00\xff")
        serial = result.serials[0]
        appended = await channel.update_message(Message(serial=serial, data="U"))
        page = await channel.history()
        assert abs(await client.time()) > 0
        status = await channel.status()
    assert [(m.name, m.data) for m in page.items] == [("raw", b"\x00\xff"), ("n", "U")]
    assert page.items[1].version.serial == appended.version_serial
    assert page.items[1].client_id == "alice"
    assert status.channel_id == "a:b"


async def test_tokens_on_request(server: LocalServer, wire_format: WireFormat) -> None:
    # RSA8, RSA9: the SDK signs a token request; RSA6: it gets what the key grants.
    options = server.python_options("alice", use_binary_protocol=wire_format == "msgpack")
    async with cast("Any", AblyRest)(**options) as client:
        details = await client.auth.request_token(
            {"capability": {"c": ["publish", "history"]}, "client_id": "alice", "ttl": 60_000}
        )
        assert (details.client_id, details.expires - details.issued) == ("alice", 60_000)
        assert json.loads(str(details.capability)) == {"c": ["history", "publish"]}
        with pytest.raises(AblyException) as refused:
            await client.auth.request_token({"ttl": 25 * 3_600_000})
        assert code_of(refused) == 40003
        with pytest.raises(AblyException) as refused:
            await client.auth.request_token({"timestamp": 1})
        assert code_of(refused) == 40104
    options = server.python_options(None, token_details=details, use_binary_protocol=wire_format == "msgpack")
    async with cast("Any", AblyRest)(**options) as client:
        await client.channels.get("c").publish("n", "1")
        with pytest.raises(AblyException) as refused:
            await client.channels.get("d").publish("n", "1")
        assert code_of(refused) == 40160


async def test_presence_over_rest(server: LocalServer, wire_format: WireFormat) -> None:
    options = server.python_options("alice", use_binary_protocol=wire_format == "msgpack")
    async with realtime(server, "alice", wire_format) as alice, cast("Any", AblyRest)(**options) as client:
        await alice.channels.get("c").presence.enter({"role": "agent"})
        await alice.channels.get("c").presence.update("busy")
        presence = client.channels.get("c").presence
        [member] = (await presence.get()).items
        past = (await presence.history()).items
    assert (member.client_id, member.data) == ("alice", "busy")
    assert [event.data for event in past] == ["busy", {"role": "agent"}]
