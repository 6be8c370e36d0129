"""A client that reads a conversation with the wrong codec is told so."""

import pytest
from ably_ai_transport_openai import ResponsesCodec

from ably_ai_transport import AITransportError, ClientSession
from ably_ai_transport.testing import MemoryHub
from tests.session.stage import NAME, agent, answer, client, said


@pytest.mark.parametrize("late", [False, True], ids=["live", "history"])
async def test_a_conversation_in_another_vocabulary_is_reported_once(late: bool) -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        told: list[AITransportError] = []
        bob = ClientSession(hub.client("bob"), NAME, codec=ResponsesCodec())
        bob.on_error(told.append)
        if not late:
            await bob.connect()
        asked = await alice.view.send(said("hi"))
        await answer(hub, session, asked.to_invocation(), "hello", " there")
        if late:
            await bob.connect()
            await bob.view.load_all()
        assert len(told) == 1
        assert "ResponsesCodec does not know the event" in told[0].message
        assert "same codec" in told[0].message
        await bob.close()


async def test_the_right_codec_reports_nothing() -> None:
    hub = MemoryHub()
    async with client(hub) as alice, agent(hub) as session:
        told: list[AITransportError] = []
        alice.on_error(told.append)
        asked = await alice.view.send(said("hi"))
        await answer(hub, session, asked.to_invocation(), "hello", " there")
        assert told == []
