"""A conversation in memory: sessions on one hub, and replies to pipe."""

from collections.abc import AsyncIterator, Iterable

import anyio
from ably_ai_transport_vercel import (
    UIAgentSession,
    UIClientSession,
    UIMessage,
    UIMessageChunk,
    UIMessageCodec,
    VercelInput,
)
from ably_ai_transport_vercel import text_message as _text_message

from ably_ai_transport import AgentSession, ClientSession, Invocation
from ably_ai_transport.codec import CodecMessage
from ably_ai_transport.testing import MemoryHub

CODEC = UIMessageCodec()
NAME = "chat:1"


def client(
    hub: MemoryHub, client_id: str | None = "alice", *, history_page_size: int = 100
) -> UIClientSession:
    return ClientSession(hub.client(client_id), NAME, codec=CODEC, history_page_size=history_page_size)


def agent(hub: MemoryHub, *, append_window: int = 4) -> UIAgentSession:
    return AgentSession(hub.client("agent"), NAME, codec=CODEC, append_window=append_window)


def said(text: str) -> VercelInput:
    return CODEC.create_user_message(_text_message(text))


def reply(*words: str) -> list[UIMessageChunk]:
    deltas: list[UIMessageChunk] = [{"type": "text-delta", "id": "t", "delta": word} for word in words]
    return [
        {"type": "start"},
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        *deltas,
        {"type": "text-end", "id": "t"},
        {"type": "finish-step"},
        {"type": "finish"},
    ]


async def stream(chunks: Iterable[UIMessageChunk]) -> AsyncIterator[UIMessageChunk]:
    for chunk in chunks:
        yield chunk


class Gated:
    """A source that stops at its middle until it is told to go on, and notes that it was closed."""

    def __init__(self, *words: str) -> None:
        self.reached = anyio.Event()
        self.gate = anyio.Event()
        self.closed = False
        self._chunks = reply(*words)

    async def chunks(self) -> AsyncIterator[UIMessageChunk]:
        try:
            for i, chunk in enumerate(self._chunks):
                if i == len(self._chunks) // 2:
                    self.reached.set()
                    await self.gate.wait()
                yield chunk
        finally:
            self.closed = True


def texts(messages: Iterable[CodecMessage[UIMessage]]) -> list[str]:
    return [
        "".join(part.get("text", "") for part in item.message["parts"] if part["type"] == "text")
        for item in messages
    ]


async def answer(hub: MemoryHub, session: UIAgentSession, invocation: Invocation, *words: str) -> None:
    """Answer an invocation with a reply."""
    async with session.create_run(invocation) as work:
        await work.pipe(stream(reply(*words)))
    await hub.settle()
