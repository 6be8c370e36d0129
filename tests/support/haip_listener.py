"""A server's application that keeps the texts that it reads."""

import anyio
from ably_ai_transport_haip.server import HaipServerSession


class Listener:
    """Records the texts that a server receives.

    Attributes:
        said: The texts.
        session: The session.
        is_open: Set once there is a session.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.session: HaipServerSession
        self.is_open = anyio.Event()
        self._news = anyio.Event()

    async def listen(self, session: HaipServerSession) -> None:
        """Serve a session."""
        self.session = session
        self.is_open.set()
        async for message in session.messages():
            if message.type == "MESSAGE_PART":
                self.said.append(str(message.payload["text"]))
                self._news.set()
                self._news = anyio.Event()

    async def until(self, number: int) -> list[str]:
        """Wait for a number of texts; return all."""
        with anyio.fail_after(10):
            while len(self.said) < number:
                await self._news.wait()
        return self.said
