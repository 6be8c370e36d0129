"""Announcing: an agent is present on its channel, and lists the runs that it works on."""

from typing import Final, Generic
from weakref import WeakKeyDictionary

import anyio

from ably_ai_transport.channel import Presence
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.session.agents import announcement
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.wire import AITransportError, ErrorCode, InvalidArgumentError

_PATIENCE_SECONDS: Final = 1.0
"""How long a run waits for its announcement. It starts without one rather than late."""
_RETRY_SECONDS: Final = 1.0
_LONGEST_RETRY_SECONDS: Final = 15.0


class _Member:
    """The agent sessions of one client on one channel: together they are one member of its presence set."""

    def __init__(self) -> None:
        self.order = anyio.Lock()
        self.runs: dict[object, tuple[str, ...]] = {}
        self.published: list[str] | None = None
        self.announced = anyio.Event()

    def listed(self) -> list[str]:
        """List the runs of all sessions."""
        return sorted({run for runs in self.runs.values() for run in runs})


_members: WeakKeyDictionary[Presence, _Member] = WeakKeyDictionary()


class Announcer(Generic[InT, OutT, ProjT, MsgT]):
    """Announces the runs of one session.

    Changes that come while an announcement is on its way are announced together.

    Args:
        core: The session's parts.
    """

    def __init__(self, core: SessionCore[InT, OutT, ProjT, MsgT]) -> None:
        self._core = core
        self._presence = core.channel.presence
        self._member = _members.setdefault(self._presence, _Member())
        self._runs: dict[str, None] = {}
        self._changed = anyio.Event()
        self._entered = False

    async def enter(self) -> None:
        """Enter, without any runs as yet; once.

        Raises:
            InvalidArgumentError: The client is anonymous (40003).
            ChannelRefusedError: The channel refused (104001; ``cause`` says why).
        """
        if self._entered:
            return
        if self._core.client_id is None:
            raise InvalidArgumentError(
                "unable to announce runs; the client is anonymous (give the Ably client a client_id)"
            )
        try:
            await self._publish()
        except Exception as error:
            raise self._failure(error) from error
        self._entered = True
        self._core.tasks.start(self._keep_current())

    async def add(self, run_id: str) -> None:
        """Announce one more run, and wait until the channel has taken that; for a short time only."""
        self._runs[run_id] = None
        self._changed.set()
        with anyio.move_on_after(_PATIENCE_SECONDS):
            while run_id not in (self._member.published or ()):
                await self._member.announced.wait()

    def remove(self, run_id: str) -> None:
        """Stop announcing a run."""
        if run_id in self._runs:
            del self._runs[run_id]
            self._changed.set()

    def announce_again(self) -> None:
        """Announce the runs anew: the channel may have forgotten them."""
        self._member.published = None
        self._changed.set()

    async def leave(self) -> None:
        """Leave; the runs of other sessions of this client stay announced."""
        member = self._member
        async with member.order:
            if member.runs.pop(self, None) is None:
                return
            try:
                if member.runs:
                    await self._update(member.listed())
                else:
                    member.published = None
                    await self._presence.leave()
            except Exception as error:  # noqa: BLE001 - the SDK raises its own; detaching leaves as well
                self._core.log.debug("The announcement could not be withdrawn: %s", error)

    async def _keep_current(self) -> None:
        pause = _RETRY_SECONDS
        while True:
            await self._changed.wait()
            self._changed = anyio.Event()
            try:
                await self._publish()
                pause = _RETRY_SECONDS
            except Exception as error:  # noqa: BLE001 - the SDK raises its own
                self._core.report(self._failure(error))
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_RETRY_SECONDS)
                self._changed.set()

    async def _publish(self) -> None:
        member = self._member
        async with member.order:
            member.runs[self] = tuple(self._runs)
            listed = member.listed()
            if listed != member.published:
                await self._update(listed)

    async def _update(self, listed: list[str]) -> None:
        await self._presence.update(announcement(listed))
        self._member.published = listed
        self._member.announced.set()
        self._member.announced = anyio.Event()

    @staticmethod
    def _failure(error: Exception) -> AITransportError:
        return AITransportError.wrap("announce runs", error, ErrorCode.SESSION_SUBSCRIPTION_ERROR)
