"""The channel that tests script keeps the contract that sessions rely on."""

from dataclasses import replace

import pytest

from ably_ai_transport.channel.contract import ChannelState, ChannelStateChange
from ably_ai_transport.wire import AITransportError, InboundMessage, MessageAction, OutboundMessage
from tests.support.scripted_channel import ScriptedChannel, ScriptedSource


async def test_hands_out_its_channel_and_remembers_how_it_was_asked() -> None:
    source = ScriptedSource()

    channel = source.open_channel("chat:1", agents=[("ai-transport-py", "1")], modes=["PUBLISH"])

    assert channel is source.channel
    assert source.opened == [("chat:1", (("ai-transport-py", "1"),), ("PUBLISH",))]


async def test_delivers_to_those_who_are_subscribed() -> None:
    channel = ScriptedChannel()
    heard: list[InboundMessage] = []
    first, second = InboundMessage(serial="1"), InboundMessage(serial="2")

    unsubscribe = channel.subscribe(heard.append)
    channel.deliver(first)
    unsubscribe()
    channel.deliver(second)

    assert heard == [first]


async def test_tells_each_change_of_state() -> None:
    channel = ScriptedChannel()
    changes: list[ChannelStateChange] = []
    channel.on_state(changes.append)

    await channel.attach()
    await channel.attach()
    channel.set_state(ChannelState.ATTACHED, resumed=True)

    assert changes == [
        ChannelStateChange(ChannelState.INITIALIZED, ChannelState.ATTACHED),
        ChannelStateChange(ChannelState.ATTACHED, ChannelState.ATTACHED, resumed=True),
    ]


async def test_answers_publishes_as_scripted_and_makes_up_serials_otherwise() -> None:
    channel = ScriptedChannel()
    refusal = AITransportError("no", 40160)
    channel.answers.extend([["s1", "s2"], refusal])

    assert await channel.publish([OutboundMessage("a"), OutboundMessage("b")]) == ["s1", "s2"]
    with pytest.raises(AITransportError) as refused:
        await channel.append(OutboundMessage(data="x", serial="s1"))
    later = [
        await channel.update(OutboundMessage(data="y", serial="s1")),
        *await channel.publish([OutboundMessage()]),
    ]

    assert refused.value is refusal
    assert later == sorted(serial for serial in later if serial)
    assert [action for action, _ in channel.published] == [
        MessageAction.CREATE,
        MessageAction.APPEND,
        MessageAction.UPDATE,
        MessageAction.CREATE,
    ]


async def test_pages_through_its_history() -> None:
    channel = ScriptedChannel()
    messages = [InboundMessage(serial=str(number)) for number in range(5)]
    channel.history_walks.append(messages)

    page = await channel.history(limit=2)
    pages = [list(page.items)]
    while page.has_next:
        following = await page.next()
        assert following is not None
        page = following
        pages.append(list(page.items))

    assert pages == [messages[:2], messages[2:4], messages[4:]]
    assert await page.next() is None
    assert list((await channel.history()).items) == []


async def test_serials_that_it_makes_up_come_after_what_was_delivered() -> None:
    channel = ScriptedChannel()
    channel.deliver(InboundMessage(serial="0042"))

    (serial,) = await channel.publish([OutboundMessage("a")])

    assert serial is not None
    assert "0042" < serial < "0043"


async def test_echoes_once_what_it_did_not_refuse() -> None:
    channel = ScriptedChannel(client_id="agent")
    heard: list[InboundMessage] = []
    channel.subscribe(heard.append)

    (serial,) = await channel.publish([OutboundMessage("a", "x", {"k": 1})])
    version = await channel.append(OutboundMessage(data="y", serial=serial))
    channel.answers.append(AITransportError("no", 40160))
    with pytest.raises(AITransportError):
        await channel.publish([OutboundMessage("b")])
    channel.echo()
    channel.echo()

    assert [(taken.action, taken.serials) for taken in channel.taken] == [
        (MessageAction.CREATE, [serial]),
        (MessageAction.APPEND, [version]),
    ]
    first = InboundMessage(
        MessageAction.CREATE, "a", "x", serial, serial, timestamp=1, client_id="agent", extras={"k": 1}
    )
    second = replace(first, action=MessageAction.APPEND, data="y", version=version, extras={})
    assert [repr(message) for message in heard] == [repr(first), repr(second)]
