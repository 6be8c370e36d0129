"""A client that asks one question, and prints the reply as it comes.

ABLY_KEY=… python examples/client.py "What is the capital of Portugal?"
"""

import os
import sys

import anyio
import httpx
from ably_ai_transport_vercel import UIMessageCodec, text_message, text_of

from ably_ai_transport import ClientSession, connect

ADDRESS = os.environ.get("ABLY_ENDPOINT")  # Ably itself by default
AGENT = os.environ.get("AGENT_URL", "http://127.0.0.1:8000/api/chat")


async def ask(question: str) -> None:
    """Ask, and follow the reply to its end."""
    codec, shown = UIMessageCodec(), 0

    async with (
        connect(ADDRESS, key=os.environ["ABLY_KEY"], client_id="reader") as ably,
        ClientSession(ably, "examples:1", codec=codec) as session,
        httpx.AsyncClient() as http,
    ):
        await session.view.load_all()
        run = await session.view.send(codec.create_user_message(text_message(question)))

        def show() -> None:
            nonlocal shown
            reply = "".join(text_of(message) for message in run.messages if message["role"] == "assistant")
            print(reply[shown:], end="", flush=True)
            shown = len(reply)

        session.view.on_update(show)
        (await http.post(AGENT, json=run.to_invocation().to_json())).raise_for_status()
        print(f"\n({await run.ended})")


if __name__ == "__main__":
    anyio.run(ask, " ".join(sys.argv[1:]) or "Hello")
