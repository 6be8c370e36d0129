"""One session leaves a channel at the moment at which another comes, on the same client."""

import anyio
import anyio.lowlevel
import pytest
from ably import AblyRealtime

from ably_ai_transport.channel import ChannelState, open_channel
from ably_ai_transport.local import LocalServer
from ably_ai_transport.wire import InboundMessage, OutboundMessage


@pytest.mark.parametrize("ticks", range(6))
async def test_the_one_that_comes_is_attached(ticks: int) -> None:
    received: list[InboundMessage] = []

    async def come(client: AblyRealtime) -> None:
        await anyio.lowlevel.checkpoint()
        for _ in range(ticks):
            await anyio.lowlevel.checkpoint()
        channel = open_channel(client, "c")
        channel.subscribe(received.append)
        await channel.attach()
        assert channel.state is ChannelState.ATTACHED
        await channel.publish([OutboundMessage("n", "hello")])
        await channel.detach()
        channel.release()

    async with LocalServer() as server:
        client = AblyRealtime(**server.python_options(client_id="alice"))
        try:
            first = open_channel(client, "c")
            await first.attach()
            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(first.detach)
                    tasks.start_soon(come, client)
            first.release()
        finally:
            await client.close()
    assert [message.data for message in received] == ["hello"]
