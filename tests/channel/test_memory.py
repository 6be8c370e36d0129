"""The hub of channels in memory: its fault switch, and that it is the same each time."""

from __future__ import annotations

import asyncio

import pytest

from ably_ai_transport.channel import Channel, ChannelSource, ChannelState, open_channel
from ably_ai_transport.testing.memory import MemoryChannel, MemoryHub
from ably_ai_transport.wire import AITransportError, InboundMessage, InvalidArgumentError, OutboundMessage
from tests.channel.clients import Seen


def new(data: object) -> OutboundMessage:
    return OutboundMessage(name="n", data=data)


def channels(hub: MemoryHub, *client_ids: str) -> list[MemoryChannel]:
    return [hub.client(client_id).open_channel("c") for client_id in client_ids]


async def attached(hub: MemoryHub, *client_ids: str) -> list[tuple[MemoryChannel, Seen]]:
    opened = channels(hub, *client_ids)
    seen = [Seen(channel) for channel in opened]
    await asyncio.gather(*(channel.attach() for channel in opened))
    return list(zip(opened, seen, strict=True))


def data(seen: Seen) -> list[object]:
    return [message.data for message in seen.messages]


async def test_it_is_what_sessions_are_opened_on() -> None:
    source: ChannelSource = MemoryHub().client("alice")
    channel: Channel = open_channel(source, "c", agents=[("codec", "1")])
    assert isinstance(channel, MemoryChannel)
    assert (channel.name, channel.client_id, channel.agents) == ("c", "alice", (("codec", "1"),))


async def test_the_same_calls_give_the_same_serials() -> None:
    async def play() -> list[InboundMessage]:
        hub = MemoryHub()
        [(channel, _)] = await attached(hub, "a")
        [serial] = await channel.publish([new("x")])
        await channel.append(OutboundMessage(data="y", serial=serial))
        return hub.messages("c")

    [first], [second] = await play(), await play()
    assert (first.serial, first.version) == (second.serial, second.version)
    assert first.serial == "01795209205751-000@kJ7VAZk5Dg:000"
    assert first.data == "xy"


async def test_listeners_are_called_by_the_loop_and_never_by_the_publisher() -> None:
    hub = MemoryHub()
    [(channel, seen)] = await attached(hub, "a")
    answer = channel.publish([new("x")])
    assert (seen.messages, answer.done()) == ([], False)
    await hub.settle()
    assert (data(seen), answer.done()) == (["x"], True)


async def test_settling_waits_for_reactions() -> None:
    hub = MemoryHub()
    [(channel, seen)] = await attached(hub, "a")

    async def react() -> None:
        await seen.first(1)
        await channel.publish([new("reaction")])

    task = asyncio.ensure_future(react())
    channel.publish([new("x")])
    await hub.settle()
    assert data(seen) == ["x", "reaction"]
    assert task.done()


async def test_refusals_can_wait_their_turn() -> None:
    hub = MemoryHub()
    [channel] = channels(hub, "a")
    hub.faults.nack("c", count=2, skip=1, code=40160, message="not you")
    hub.faults.nack("other")
    answers = [channel.publish([new(number)]) for number in range(4)]
    outcomes = await asyncio.gather(*answers, return_exceptions=True)
    assert [isinstance(outcome, AITransportError) for outcome in outcomes] == [False, True, True, False]
    assert [message.data for message in hub.messages("c")] == [0, 3]


async def test_held_answers() -> None:
    hub = MemoryHub()
    [(channel, seen)] = await attached(hub, "a")
    hub.faults.hold_acks()
    answers = [channel.publish([new(number)]) for number in range(3)]
    flushed = asyncio.ensure_future(channel.flush())
    await hub.settle()
    assert data(seen) == [0, 1, 2]
    hub.faults.release_acks(1)
    await hub.settle()
    assert [answer.done() for answer in answers] == [True, False, False]
    assert not flushed.done()
    hub.faults.reset()
    await flushed
    assert all(answer.done() for answer in answers)


async def test_held_deliveries_come_in_order() -> None:
    hub = MemoryHub()
    [(channel, seen)] = await attached(hub, "a")
    channel.publish([new(0)])
    hub.faults.hold_deliveries()
    for number in (1, 2):
        channel.publish([new(number)])
    await hub.settle()
    assert data(seen) == []
    hub.faults.release_deliveries()
    channel.publish([new(3)])
    await hub.settle()
    assert data(seen) == [0, 1, 2, 3]


async def test_lost_continuity_loses_what_was_not_delivered() -> None:
    hub = MemoryHub()
    [(_, alice), (bob_channel, bob)] = await attached(hub, "alice", "bob")
    [serial] = await bob_channel.publish([new("a")])
    await hub.settle()
    hub.faults.hold_deliveries()
    await bob_channel.append(OutboundMessage(data="b", serial=serial))
    hub.faults.drop_continuity(client_id="alice")
    await hub.settle()
    hub.faults.release_deliveries()
    await bob_channel.append(OutboundMessage(data="c", serial=serial))
    await hub.settle()
    assert data(alice) == ["a", "abc"]
    assert data(bob) == ["a", "b", "c"]
    assert [(change.current, change.resumed) for change in alice.changes[2:]] == [
        (ChannelState.ATTACHED, False)
    ]
    assert len(bob.changes) == 2


async def test_a_suspended_channel_comes_back() -> None:
    hub = MemoryHub()
    [(alice_channel, alice), (bob_channel, _)] = await attached(hub, "alice", "bob")
    hub.faults.suspend(client_id="alice")
    await hub.settle()
    assert alice_channel.state is ChannelState.SUSPENDED
    assert alice_channel.error_reason is not None
    with pytest.raises(AITransportError) as caught:
        await alice_channel.publish([new("refused")])
    assert caught.value.code == 90001
    await bob_channel.publish([new("missed")])
    hub.faults.reattach(client_id="alice")
    await hub.settle()
    assert data(alice) == ["missed"]
    assert alice.states[2:] == ["suspended", "attached"]
    assert alice.changes[-1].resumed


@pytest.mark.parametrize("state", [ChannelState.FAILED, ChannelState.DETACHED])
async def test_a_lost_channel_can_be_attached_again(state: ChannelState) -> None:
    hub = MemoryHub()
    [(channel, seen)] = await attached(hub, "a")
    if state is ChannelState.FAILED:
        hub.faults.fail("c", code=40160)
    else:
        hub.faults.detach("c")
    await hub.settle()
    assert channel.state is state
    assert seen.changes[-1].reason is not None
    await channel.attach()
    await channel.publish([new("x")])
    await hub.settle()
    assert data(seen) == ["x"]


async def test_a_refused_attach() -> None:
    hub = MemoryHub()
    [channel] = channels(hub, "a")
    hub.faults.refuse_attach(channel="c")
    attempts = await asyncio.gather(channel.attach(), channel.attach(), return_exceptions=True)
    assert [getattr(attempt, "code", None) for attempt in attempts] == [40160, 40160]
    assert channel.state is ChannelState.FAILED
    await channel.attach()
    assert channel.error_reason is None


async def test_a_detach_ends_an_attach() -> None:
    [channel] = channels(MemoryHub(), "a")
    attempt = asyncio.ensure_future(channel.attach())
    await asyncio.sleep(0)
    await channel.detach()
    with pytest.raises(AITransportError) as caught:
        await attempt
    assert caught.value.code == 90000


async def test_failing_pages() -> None:
    hub = MemoryHub()
    [(channel, _)] = await attached(hub, "a")
    for number in range(3):
        await channel.publish([new(number)])
    hub.faults.drop_continuity()
    await hub.settle()
    hub.faults.fail_history(count=1, skip=1)
    page = await channel.history(limit=2)
    with pytest.raises(AITransportError):
        await page.next()
    following = await page.next()
    assert following is not None
    assert [message.data for message in following.items] == [0]


async def test_changes_that_do_not_fit() -> None:
    [channel] = channels(MemoryHub(), "a")
    [serial] = await channel.publish([new({"a": 1})])
    with pytest.raises(AITransportError, match="only text grows"):
        await channel.append(OutboundMessage(data="text", serial=serial))
    [serial] = await channel.publish([new(b"a")])
    await channel.append(OutboundMessage(data=bytearray(b"b"), serial=serial))
    await channel.append(OutboundMessage(serial=serial, extras={"ai": {"transport": {"status": "complete"}}}))


async def test_messages_that_no_server_sends() -> None:
    hub = MemoryHub()
    [(_, seen)] = await attached(hub, "a")
    hub.inject("c", InboundMessage(data="strange"))
    await hub.settle()
    assert data(seen) == ["strange"]


async def test_nothing_is_shared_between_publisher_and_subscribers() -> None:
    hub = MemoryHub()
    [(channel, seen)] = await attached(hub, "a")
    message = OutboundMessage(data={"list": [1]}, extras={"ai": {"transport": {"a": "b"}}})
    channel.publish([message])
    message.transport_headers["a"] = "changed"
    await hub.settle()
    assert seen.messages[0].data == {"list": [1]}
    assert seen.messages[0].data is not message.data
    assert dict(seen.messages[0].transport_headers) == {"a": "b"}


async def test_the_size_limit_is_the_hub_s() -> None:
    [channel] = channels(MemoryHub(max_message_size=10), "a")
    with pytest.raises(AITransportError) as caught:
        await channel.publish([new("x" * 10)])
    assert caught.value.code == 40009


async def test_presence_is_kept_by_client_and_told_to_the_others() -> None:
    hub = MemoryHub()
    alice, bob = (hub.client(name).open_channel("c") for name in ("alice", "bob"))
    told: list[tuple[int | None, str | None, object]] = []
    left: list[object] = []
    await bob.presence.subscribe(lambda one: told.append((one.action, one.client_id, one.data)))
    await bob.presence.subscribe("leave", left.append)
    await alice.presence.update("here")
    await alice.presence.update("typing")
    await bob.presence.enter()
    await hub.settle()
    assert [(one.action, one.client_id, one.data) for one in await alice.presence.get()] == [
        (1, "alice", "typing"),
        (1, "bob", None),
    ]
    assert [one.client_id for one in await alice.presence.get(client_id="bob")] == ["bob"]
    alice.release()
    await hub.settle()
    assert told == [(2, "alice", "here"), (4, "alice", "typing"), (2, "bob", None), (3, "alice", None)]
    assert len(left) == 1
    bob.presence.unsubscribe()
    await bob.presence.leave()
    await hub.settle()
    assert len(told) == 4
    assert await bob.presence.get() == []


async def test_an_anonymous_client_cannot_be_present() -> None:
    presence = MemoryHub().client().open_channel("c").presence
    with pytest.raises(InvalidArgumentError, match="no client id"):
        await presence.enter()
    with pytest.raises(InvalidArgumentError, match="pass a listener"):
        await presence.subscribe("gone", print)
