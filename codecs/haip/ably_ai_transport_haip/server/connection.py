"""Connection: one connection of a client, over any transport."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from ably_ai_transport_haip.protocol import (
    HaipAuthenticationError,
    HaipError,
    HaipErrorCode,
    HaipEventType,
    HaipPeer,
    HaipProtocolError,
    PeerConfig,
    read_handshake,
    read_text,
)
from ably_ai_transport_haip.protocol.messages import size_of
from ably_ai_transport_haip.server.auth import Principal
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.outlet import Outlet
from ably_ai_transport_haip.server.registry import SessionRegistry
from ably_ai_transport_haip.server.session import HaipServerSession

MISSED_HEARTBEATS = 3
_LONGEST_SLEEP: Final = 3600.0


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
        if self.session is None:
            await self._enter(text)
        else:
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
                tasks.start_soon(self._end_with_token, tasks.cancel_scope)
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

    async def _end_with_token(self, scope: anyio.CancelScope) -> None:
        """End the connection when its token expires. The session can be entered with another token."""
        expires_at = self._principal.expires_at
        if expires_at is None:
            return
        while (left := expires_at - self._registry.now()) > 0:  # noqa: ASYNC110 - tokens end by the wall clock
            await asyncio.sleep(min(left, _LONGEST_SLEEP))
        error = HaipAuthenticationError("the token has expired", code=HaipErrorCode.TOKEN_EXPIRED)
        if self.session is not None and not self.session.uses(self._outlet):
            await self._outlet.close(error.message, "refused")
        else:
            await self._refuse(error)
            # The client may not read the error.
            await asyncio.sleep(self._options.close_timeout)
        scope.cancel()

    async def _enter(self, text: str) -> None:
        """Find the session of a handshake. Any other message is refused."""
        try:
            message = read_text(text)
        except HaipError:
            await self._refuse(_no_handshake())
            return
        try:
            if message.type is not HaipEventType.HAI:
                raise _no_handshake()
            read_handshake(message)
            # Nothing is opened or taken over before the handshake was checked.
            session = self._registry.enter(self._principal, message.envelope.session_id or "")
            before = session.enter(self._outlet, message)
        except HaipError as error:
            if error.code == HaipErrorCode.INVALID_MESSAGE:
                # The client may send a valid one in time.
                await self._tell(error)
            else:
                await self._refuse(error)
            return
        self.session = session
        self._found.set()
        if before is not None:
            await before.close("another connection has taken over the session")

    async def _beat(self, session: HaipServerSession) -> None:
        while True:
            await asyncio.sleep(self._heartbeat)
            if not session.uses(self._outlet):
                # The client sends on a newer connection.
                self._heard = time.monotonic()
                continue
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
        await self._tell(error)
        await self._outlet.close(error.message, "refused")
        self._found.set()

    async def _tell(self, error: HaipError) -> None:
        """Send an error before the handshake."""
        peer = HaipPeer(PeerConfig("server", time.time))
        peer.send_error(error)
        for frame in peer.take_outgoing():
            await self._outlet.write(frame)


def _no_handshake() -> HaipProtocolError:
    return HaipProtocolError(
        "unable to start; the first message must be a handshake (HAI)", HaipErrorCode.PROTOCOL_VIOLATION
    )
