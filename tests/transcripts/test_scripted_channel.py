"""The channel that tests script keeps the contract that sessions rely on."""

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
