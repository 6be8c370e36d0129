"""Registry of the sessions of a server."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from ably_ai_transport_haip.endpoint.hooks import call
from ably_ai_transport_haip.protocol import HaipConnectionError, HaipError, HaipErrorCode, new_id
from ably_ai_transport_haip.protocol.messages import UUID_FORM
from ably_ai_transport_haip.server.auth import Principal
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.outlet import Ending
from ably_ai_transport_haip.server.session import HaipServerSession
from ably_ai_transport_haip.server.tools import ServerTool

logger = logging.getLogger("ably_ai_transport_haip.server")

SessionHandler: TypeAlias = Callable[[HaipServerSession], object]
"""A coroutine function that serves one session. The session ends when it returns."""

_SHORTEST_SWEEP_SECONDS: Final = 0.05


async def ignore(session: HaipServerSession) -> None:
    """Read and drop all messages. Tools reply without a handler."""
    async for _ in session.frames():
        pass


class SessionRegistry:
    """Opens, finds and ends sessions, and owns the tasks of their handlers.

    Args:
        handler: Serves one session.
        options: The options of the server.
        tools: The tools of every session.
        clock: Returns the current time: seconds since 1970.
    """

    def __init__(
        self,
        handler: SessionHandler,
        options: HaipServerOptions,
        tools: Iterable[ServerTool],
        clock: Callable[[], float],
    ) -> None:
        self._handler = handler
        self._options = options
        self._tools = tuple(tools)
        self._clock = clock
        self._sessions: dict[str, HaipServerSession] = {}
        self._handlers: dict[HaipServerSession, asyncio.Task[None]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def now(self) -> float:
        """Return the current time: seconds since 1970."""
        return self._clock()

    def find(self, principal: Principal, session_id: str) -> HaipServerSession | None:
        """Return a session of a client; None if it is unknown or belongs to another client.

        Args:
            principal: The client.
            session_id: The session.
        """
        session = self._sessions.get(session_id)
        if session is None or session.principal.identity != principal.identity:
            return None
        return session

    def enter(self, principal: Principal, session_id: str) -> HaipServerSession:
        """Return the session of a handshake. An unknown session is opened.

        Args:
            principal: The client.
            session_id: The requested session. If it belongs to another client, a session with another id is
                opened.

        Returns:
            The session.

        Raises:
            HaipError: There are too many sessions (SERVER_ERROR).
        """
        session = self.find(principal, session_id)
        if session is not None:
            # The claims of the newest token count.
            session.principal = principal
            return session
        if len(self._sessions) >= self._options.max_sessions:
            raise HaipError(
                f"unable to open session; {len(self._sessions)} are open (try again later)",
                HaipErrorCode.SERVER_ERROR,
            )
        is_free = UUID_FORM.fullmatch(session_id) is not None and session_id not in self._sessions
        return self._make(principal, session_id if is_free else new_id())

    async def sweep(self) -> None:
        """End sessions that have had no connection for too long. Runs until cancelled."""
        while True:
            await asyncio.sleep(max(self._options.session_ttl / 4, _SHORTEST_SWEEP_SECONDS))
            longest = self._clock() - self._options.session_ttl
            old = [
                session
                for session in self._sessions.values()
                if not session.is_connected and session.last_seen < longest
            ]
            await self._stop(old, "the session was without a connection for too long", "over")

    async def close(self) -> None:
        """End all sessions."""
        await self._stop(tuple(self._sessions.values()), "the server is going away", "leaving")

    def _make(self, principal: Principal, session_id: str) -> HaipServerSession:
        session = HaipServerSession(session_id, principal, self._options, self._tools, self._clock)
        self._sessions[session_id] = session
        logger.info("Session %s of %s opens", session_id, principal.id, extra={"haip_session": session_id})
        handler = asyncio.get_running_loop().create_task(self._serve(session))
        self._handlers[session] = handler
        handler.add_done_callback(lambda _: self._handlers.pop(session, None))
        return session

    async def _serve(self, session: HaipServerSession) -> None:
        known = {"haip_session": session.session_id}
        try:
            await call(self._handler, session)
        except HaipConnectionError as error:
            # The client has left, or the session was closed: its handler could not know.
            logger.info("The handler of session %s ends: %s", session.session_id, error, extra=known)
        except Exception:  # a user's code
            logger.exception("The handler of session %s failed", session.session_id, extra=known)
            session.fail(HaipError("the server failed to serve this session", HaipErrorCode.SERVER_ERROR))
        finally:
            self._forget(session)
            session.stop()
        await session.end()
        logger.info("Session %s has ended", session.session_id, extra=known)

    def _forget(self, session: HaipServerSession) -> None:
        if self._sessions.get(session.session_id) is session:
            del self._sessions[session.session_id]

    async def _stop(self, sessions: Sequence[HaipServerSession], reason: str, ending: Ending) -> None:
        """End sessions together. Their handlers have ``close_timeout`` to read what has arrived."""
        handlers = [self._handlers[session] for session in sessions if session in self._handlers]
        for session in sessions:
            # Nobody enters a session that ends.
            self._forget(session)
        connected = [session for session in sessions if session.is_connected]
        for session in sessions:
            if not session.is_connected:
                await session.close(reason, ending)
        await asyncio.gather(*(session.close(reason, ending) for session in connected))
        if handlers:
            _, late = await asyncio.wait(handlers, timeout=self._options.close_timeout)
            for handler in late:
                handler.cancel()
            if late:
                await asyncio.wait(late)
