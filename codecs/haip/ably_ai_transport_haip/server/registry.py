"""The sessions of a server: whose they are, and how long they are kept."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from ably_ai_transport_haip.protocol import HaipError, HaipErrorCode, new_id
from ably_ai_transport_haip.server.auth import Principal
from ably_ai_transport_haip.server.options import HaipServerOptions
from ably_ai_transport_haip.server.session import Ending, HaipServerSession
from ably_ai_transport_haip.server.tools import ServerTool

logger = logging.getLogger("ably_ai_transport_haip")

SessionHandler: TypeAlias = Callable[[HaipServerSession], Awaitable[None]]
"""Deals with a session from its first message on; the session ends when it returns."""

_SHORTEST_SWEEP_SECONDS: Final = 0.05
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


async def ignore(session: HaipServerSession) -> None:
    """Deal with nothing but what tools do."""
    async for _ in session.frames():
        pass


class SessionRegistry:
    """Finds, makes and ends sessions, and owns the tasks that serve them.

    Args:
        handler: Deals with each session.
        options: Limits and times.
        tools: Tools that every session can call.
        clock: The time: seconds since 1970.
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
        self._handlers: dict[str, asyncio.Task[None]] = {}
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, principal: Principal, session_id: str) -> HaipServerSession | None:
        """Return a session; None where there is none, or it is somebody else's.

        Args:
            principal: Who asks.
            session_id: The session.
        """
        session = self._sessions.get(session_id)
        return session if session is not None and session.principal.id == principal.id else None

    def enter(self, principal: Principal, session_id: str) -> tuple[HaipServerSession, bool]:
        """Return the session that a handshake is about; one that is not known is made.

        Args:
            principal: Who shakes hands.
            session_id: The session that is asked for; another one is made where it is somebody else's.

        Returns:
            The session, and whether it is new.

        Raises:
            HaipError: There are as many as there may be (SERVER_ERROR).
        """
        session = self.find(principal, session_id)
        if session is not None:
            return session, False
        if len(self._sessions) >= self._options.max_sessions:
            raise HaipError(
                f"unable to open session; there are {len(self._sessions)} (try again later)",
                HaipErrorCode.SERVER_ERROR,
            )
        is_free = _UUID.fullmatch(session_id) is not None and session_id not in self._sessions
        return self._make(principal, session_id if is_free else new_id()), True

    async def sweep(self) -> None:
        """End sessions that have been without a connection for too long; runs until cancelled."""
        while True:
            await asyncio.sleep(max(self._options.session_ttl / 4, _SHORTEST_SWEEP_SECONDS))
            longest = self._clock() - self._options.session_ttl
            for session_id, session in tuple(self._sessions.items()):
                if not session.is_connected and session.last_seen < longest:
                    await self._stop(session_id, "the session was left alone", "over")

    async def close(self) -> None:
        """End all sessions."""
        await asyncio.gather(
            *(self._stop(session_id, "the server is going away", "leaving") for session_id in self._sessions)
        )

    def _make(self, principal: Principal, session_id: str) -> HaipServerSession:
        def spawn(work: Callable[[], Awaitable[None]]) -> None:
            self._start(session_id, work)

        session = HaipServerSession(session_id, principal, self._options, self._tools, self._clock, spawn)
        self._sessions[session_id] = session
        self._tasks[session_id] = set()
        handler = asyncio.get_running_loop().create_task(self._serve(session))
        self._handlers[session_id] = handler
        handler.add_done_callback(lambda _: self._handlers.pop(session_id, None))
        return session

    def _start(self, session_id: str, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await work()
            except Exception:
                logger.exception("A task of session %s failed", session_id)

        tasks = self._tasks.get(session_id)
        if tasks is not None:
            task = asyncio.get_running_loop().create_task(run())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _serve(self, session: HaipServerSession) -> None:
        try:
            await self._handler(session)
        except Exception:
            logger.exception("The handler of session %s failed", session.session_id)
            session.fail(HaipError("the server cannot go on with this session", HaipErrorCode.SERVER_ERROR))
        finally:
            self._sessions.pop(session.session_id, None)
            session.forget_unread()
            tasks = tuple(self._tasks.pop(session.session_id, ()))
            for task in tasks:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        await session.close("the session has ended")

    async def _stop(self, session_id: str, reason: str, ending: Ending) -> None:
        """End a session; its handler may deal with what has come, for a while."""
        await self._sessions[session_id].close(reason, ending)
        handler = self._handlers.get(session_id)
        if handler is not None:
            _, pending = await asyncio.wait([handler], timeout=self._options.close_timeout)
            handler.cancel()
            if pending:
                await asyncio.wait(pending)
