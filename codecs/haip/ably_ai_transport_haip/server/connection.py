"""Connection: one connection of a client, over any transport."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import anyio

from ably_ai_transport_haip.protocol import HaipError, HaipErrorCode, HaipPeer, HaipProtocolError, PeerConfig
from ably_ai_transport_haip.protocol.messages import size_of
from ably_ai_transport_haip.server.auth import Principal
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.registry import SessionRegistry
from ably_ai_transport_haip.server.session import HaipServerSession, Outlet

MISSED_HEARTBEATS = 3


class Connection:
    """One connection: finds the session of its handshake, writes the frames of the session, and sends pings.

    Args:
        registry: The sessions of the server.
        principal: The client.
        outlet: Carries frames to the client.
        options: The options of the server.
        heartbeat: The interval between pings, in seconds.

    Attributes:
        session: The session; None before the handshake.
    """

    def __init__(
        self,
        registry: SessionRegistry,
        principal: Principal,
        outlet: Outlet,
        options: HaipServerOptions,
        heartbeat: float,
    ) -> None:
        self._registry = registry
        self._principal = principal
        self._outlet = outlet
        self._options = options
        self._heartbeat = heartbeat
        self._heard = time.monotonic()
        self._found = asyncio.Event()
        self.session: HaipServerSession | None = None

    async def take_text(self, text: str) -> None:
        """Receive a text frame."""
        self._heard = time.monotonic()
        # No character takes more than four bytes.
        if 4 * len(text) > self._options.max_frame_size and size_of(text) > self._options.max_frame_size:
            await self._refuse(
                HaipProtocolError(
                    f"unable to read message; it has {size_of(text)} bytes, more than"
                    f" {self._options.max_frame_size}",
                    HaipErrorCode.PROTOCOL_VIOLATION,
                )
            )
            return
        if self.session is None and not await self._enter(text):
            return
        if self.session is not None:
            self.session.take_text(text)
            if self.session.has_backlog:
                await self.session.room()

    async def take_binary(self, data: bytes) -> None:
        """Receive a binary frame."""
        self._heard = time.monotonic()
        if self.session is None:
            await self._refuse(_no_handshake())
        else:
            self.session.take_binary(data)
            if self.session.has_backlog:
                await self.session.room()

    async def serve(self, read: Callable[[], Awaitable[None]] | None = None) -> None:
        """Serve the connection until it is lost or closed.

        Args:
            read: Receives frames until the connection is lost. None if other requests bring the frames.
        """
        try:
            async with anyio.create_task_group() as tasks:
                if read is not None:
                    tasks.start_soon(self._until_read, read, tasks.cancel_scope)
                with anyio.move_on_after(self._options.handshake_timeout):
                    await self._found.wait()
                session = self.session
                if session is None:
                    await self._refuse(_no_handshake())
                else:
                    tasks.start_soon(self._beat, session)
                    await session.write_to(self._outlet)
                tasks.cancel_scope.cancel()
        finally:
            if self.session is not None:
                self.session.detach(self._outlet)

    async def _until_read(self, read: Callable[[], Awaitable[None]], scope: anyio.CancelScope) -> None:
        await read()
        scope.cancel()

    async def _enter(self, text: str) -> bool:
        """Find the session of a handshake. Any other message is refused."""
        try:
            said: object = json.loads(text)
        except (ValueError, RecursionError):
            said = None
        message = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        if message.get("type") != "HAI":
            await self._refuse(_no_handshake())
            return False
        payload = message.get("payload")
        resumes = isinstance(payload, dict) and bool(cast("dict[str, Any]", payload).get("last_rx_seq"))
        try:
            session, is_new = self._registry.enter(self._principal, str(message.get("session")))
        except HaipError as error:
            await self._refuse(error)
            return False
        if not await session.attach(self._outlet):
            await self._refuse(
                HaipError("the session has just ended (connect again)", HaipErrorCode.SERVER_ERROR)
            )
            return False
        if resumes and is_new:
            session.expect_fresh()
        self.session = session
        self._found.set()
        return True

    async def _beat(self, session: HaipServerSession) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            if time.monotonic() - self._heard > MISSED_HEARTBEATS * self._heartbeat:
                # Detached first: to close a connection that does not answer takes a while.
                session.detach(self._outlet)
                await self._outlet.close("the client does not answer")
                return
            session.ping()

    async def _refuse(self, error: HaipError) -> None:
        """Send an error and close the connection."""
        if self.session is not None:
            self.session.refuse(error)
            return
        peer = HaipPeer(PeerConfig("server", time.time))
        peer.send_error(error)
        for frame in peer.take_outgoing():
            await self._outlet.write(frame)
        await self._outlet.close(error.message, "refused")
        self._found.set()


def _no_handshake() -> HaipProtocolError:
    return HaipProtocolError(
        "unable to start; the first message must be a handshake (HAI)", HaipErrorCode.PROTOCOL_VIOLATION
    )
