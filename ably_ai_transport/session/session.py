"""The session, as clients and agents have it in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic

from ably_ai_transport.channel import ChannelClient, ChannelStateChange, Presence
from ably_ai_transport.codec.contract import Codec, InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import RunInfo
from ably_ai_transport.session.agents import AgentFollower
from ably_ai_transport.session.base import SessionCore, SessionOptions
from ably_ai_transport.session.conversation import SessionTree
from ably_ai_transport.session.ending import end_run
from ably_ai_transport.session.reaping import Reaper, ReapPolicy
from ably_ai_transport.wire import AITransportError, InvalidArgumentError, RunEndReason


class BaseSession(ABC, Generic[InT, OutT, ProjT, MsgT]):
    """A hold on one conversation: its channel, its tree, its errors."""

    def __init__(
        self,
        client: ChannelClient,
        session_name: str,
        codec: Codec[InT, OutT, ProjT, MsgT],
        options: SessionOptions,
        *,
        is_agent: bool,
        merge_appends: bool = True,
    ) -> None:
        self._core = SessionCore(
            client,
            session_name,
            codec,
            options,
            merge_appends=merge_appends,
            is_agent=is_agent,
            on_continuity_lost=self._on_continuity_lost,
        )
        self._agents = AgentFollower(self._core)
        self._tree = SessionTree(
            self._core.conversation, on_exception=self._core.report_listener, spawn=self._core.tasks.start
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self._core.connection.state}>"

    @property
    def name(self) -> str:
        """The conversation's name, which is that of its channel."""
        return self._core.channel.name

    @property
    def tree(self) -> SessionTree[InT, OutT, ProjT, MsgT]:
        """The whole conversation that has been seen, every branch of it."""
        return self._tree

    @property
    def presence(self) -> Presence:
        """The channel's presence."""
        return self._core.channel.presence

    def on_error(self, listener: Callable[[AITransportError], object]) -> Callable[[], None]:
        """Call a function with each error outside of any call. The session stays usable.

        Messages may have been missed (104006), the channel could not be subscribed to or a listener raised
        (104001). A client is told the errors that agents publish, with their codes; an agent is told of hooks
        of its runs that raised (104002) and of pipes that failed (104008). Without a listener, each error is
        logged with its traceback.

        Args:
            listener: A plain function or a coroutine function.

        Returns:
            A function that removes the listener.
        """
        return self._core.errors.add(listener)

    async def end_run(
        self, run_id: str, reason: RunEndReason = "error", *, error: AITransportError | None = None
    ) -> None:
        """End a run that its agent has left open.

        Every follower of the conversation sees the end, in JavaScript, too. If several sessions end the same
        run, the channel takes one of the ends. An agent that still works on the run stops
        (:class:`RunLostError`).

        Args:
            run_id: The run. Where it has not been seen, history is read back to it.
            reason: ``complete``, ``cancelled`` or ``error``.
            error: The error that clients see if the reason is ``error``; by default, that the agent is gone
                (104050).

        Raises:
            InvalidArgumentError: The reason is none of these, the run is not on this channel or has ended,
                or the session is not connected (40003). Nothing is published.
            SessionClosedError: The session is closed (104004).
            ChannelRefusedError: The channel refused (104003, or 40160 for lack of capability), or its history
                could not be read (104011).

        Example:
            >>> await session.end_run(run_id, "cancelled")  # doctest: +SKIP
        """
        await end_run(self._core, run_id, reason, error)

    async def follow_agents(self) -> None:
        """Follow which agents are present, for :attr:`RunInfo.agent_present`. Calling it twice is fine.

        Presence is subscribed to from here on: each agent that comes or goes is a message to this session.
        Agents tell of themselves only with ``announce_runs=True``.

        Raises:
            AITransportError: The session is not connected (40003) or closed (104004), or the channel refused
                (104001; ``cause`` says why).
        """
        await self._agents.follow()

    def on_agent_gone(self, listener: Callable[[RunInfo], object]) -> Callable[[], None]:
        """Call a function with each active run whose agent has left the channel without ending the run.

        The agent may come back, if only its network was away, and another one may take the run over. A
        listener makes the session follow agents, as :meth:`follow_agents` does.

        Args:
            listener: A plain function or a coroutine function.

        Returns:
            A function that removes the listener.
        """
        return self._agents.on_gone(listener)

    async def reap(
        self,
        *,
        grace: float = 15.0,
        max_silence: float | None = None,
        policy: ReapPolicy = "end",
        look_back: float | None = 86_400.0,
    ) -> None:
        """End the runs whose agents are lost, until the session is closed or the task is cancelled.

        The agent of a run is lost if it announced its runs (``announce_runs=True``) and has been absent from
        the channel for the grace time. Ably itself counts a client as present for 15 s after its connection
        broke (the client option ``remainPresentFor`` shortens that). Any number of sessions may reap one
        conversation: each run is ended once. While this session's own channel is away, nothing is ended.

        Args:
            grace: How long an agent may be absent, in seconds.
            max_silence: How long a run whose agent does not announce its runs may be silent, in seconds, by
                the clocks of this machine and the server: use minutes. None never ends such runs.
            policy: ``"end"`` ends each run with ``error`` (104050). A function of the run decides for itself:
                it returns ``"end"``, or ``"keep"`` once it has seen to the run in another way, such as a new
                attempt that adopts it.
            look_back: How far back history is read for runs at the start, in seconds; None reads all of it.

        Raises:
            InvalidArgumentError: An argument is out of bounds, or the session is not connected (40003).
            SessionClosedError: The session was closed before (104004).
            ChannelRefusedError: Presence or history is refused (104001, 104011).

        Example:
            >>> async with anyio.create_task_group() as tasks:  # doctest: +SKIP
            ...     tasks.start_soon(session.reap)
        """
        reaper = Reaper(self._core, self._agents, grace, max_silence, policy)
        await reaper.run(look_back)

    async def reap_once(
        self,
        *,
        grace: float = 0.0,
        max_silence: float | None = None,
        policy: ReapPolicy = "end",
        look_back: float | None = 86_400.0,
    ) -> list[RunInfo]:
        """End the runs whose agents are lost now, such as at the start of a server.

        Args:
            grace: How long to watch absent agents before their runs are ended, in seconds.
            max_silence: As for :meth:`reap`.
            policy: As for :meth:`reap`.
            look_back: As for :meth:`reap`.

        Returns:
            The runs that were ended.

        Raises:
            AITransportError: As :meth:`reap`; or an end was refused (104003).
        """
        reaper = Reaper(self._core, self._agents, grace, max_silence, policy)
        return await reaper.run_once(look_back)

    async def connect(self) -> None:
        """Subscribe and attach. Connecting twice is fine; so is trying again after a failure.

        Raises:
            SessionClosedError: The session is closed (104004).
            ChannelRefusedError: The channel refused (104001; ``cause`` says why).
            InvalidArgumentError: The event loop is not asyncio's (40003).
        """
        await self._core.connect()

    @abstractmethod
    def _on_continuity_lost(self, change: ChannelStateChange) -> None:
        """Messages may have been missed."""

    @property
    def object(self) -> "object":
        """LiveObjects, which the Ably SDK for Python does not have.

        Raises:
            InvalidArgumentError: Always (40003).
        """
        raise InvalidArgumentError("unable to use LiveObjects; the Ably SDK for Python does not support them")
