"""The stamp of the steering messages that a reply responds to, as JavaScript writes it."""

from ably_ai_transport import OutboundMessage
from ably_ai_transport.testing import MemoryHub
from ably_ai_transport.wire import names
from ably_ai_transport.wire.messages import ai_extras
from tests.session.stage import NAME, agent, client, reply, said, stream


async def test_ids_are_written_unescaped() -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        asked = await alice.view.send(said("hi"))
        async with session.create_run(asked.to_invocation()) as run:
            await asked.steer(said("faster")).published
            await hub.settle()
            steer = hub.messages(NAME)[-1]
            headers = {**steer.transport_headers, names.CODEC_MESSAGE_ID: "schneller-ä", names.EVENT_ID: "e"}
            other = OutboundMessage(steer.name, steer.data, ai_extras(headers, steer.codec_headers))
            channel = hub.client("alice").open_channel(NAME)
            await channel.attach()
            await channel.publish([other])
            await hub.settle()
            assert run.has_input()
            await run.pipe(stream(reply("quick")))
        await hub.settle()
        stamps = {
            message.transport_headers.get(names.STEER_CODEC_MESSAGE_IDS)
            for message in hub.messages(NAME)
            if message.name == names.AI_OUTPUT
        }
        first = steer.transport_headers[names.CODEC_MESSAGE_ID]
        assert stamps == {f'["{first}","schneller-ä"]'}
        await channel.detach()
