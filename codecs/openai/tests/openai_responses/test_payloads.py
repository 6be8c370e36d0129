"""Outputs and questions larger than a message."""

import json

from ably_ai_transport_openai import (
    OpenAIOutput,
    ResponsesClientSession,
    ResponsesCodec,
    user_message,
)

from ably_ai_transport import AgentSession, ClientSession
from ably_ai_transport.testing import MemoryHub
from tests.payloads.stores import MemoryPayloads
from tests.session.stage import stream

CODEC = ResponsesCodec()
NAME = "chat:1"
LONG = "a long question " * 6000
OUTPUT = json.dumps([{"city": "Lisboa", "n": n} for n in range(5000)])
REPLY: list[OpenAIOutput] = [
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {"type": "function_call", "id": "f1", "call_id": "c1", "name": "rows", "arguments": ""},
    },
    {"type": "response.function_call_arguments.delta", "item_id": "f1", "delta": "{}"},
    {"type": "response.function_call_arguments.done", "item_id": "f1", "arguments": "{}", "name": "rows"},
    {
        "type": "function_call_output",
        "item": {"type": "function_call_output", "call_id": "c1", "output": OUTPUT},
    },
]  # pyright: ignore[reportAssignmentType]


async def test_the_items_are_those_that_were_published() -> None:
    hub, store = MemoryHub(), MemoryPayloads()

    def client(client_id: str) -> ResponsesClientSession:
        return ClientSession(hub.client(client_id), NAME, codec=CODEC, payloads=store)

    async with (
        client("alice") as alice,
        AgentSession(hub.client("agent"), NAME, codec=CODEC, payloads=store) as agent,
        ClientSession(hub.client("eve"), NAME, codec=CODEC) as eve,
    ):
        asked = await alice.view.send(CODEC.create_user_message(user_message(LONG)))
        async with agent.create_run(asked.to_invocation()) as run:
            await run.pipe(stream(REPLY), raise_on_error=True)  # pyright: ignore[reportArgumentType]
        await hub.settle()
        async with client("bob") as bob:
            messages = [one.message for one in await bob.view.load_all()]
        question, reply = messages
        assert question == user_message(LONG)
        assert reply["items"][-1] == {"type": "function_call_output", "call_id": "c1", "output": OUTPUT}
        # Without the store, texts are URLs.
        shown = eve.view.messages[-1].message["items"][-1]
        assert str(shown.get("output")).startswith("https://payloads.example/")
