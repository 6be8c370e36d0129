"""Reaping: runs whose agents are lost are ended, so that nobody waits for them."""

import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias

import anyio

from ably_ai_transport.channel import ChannelState
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import RunInfo, RunNode
from ably_ai_transport.session.agents import AgentFollower
from ably_ai_transport.session.base import SessionCore, check_seconds
from ably_ai_transport.session.conversation import Change
from ably_ai_transport.session.ending import end_run
from ably_ai_transport.wire import (
    AITransportError,
    ErrorCode,
    InboundMessage,
    InvalidArgumentError,
    RunEnd,
    RunResume,
    RunStart,
    RunSuspend,
)

ReapDecision: TypeAlias = Literal["end", "keep"]
ReapPolicy: TypeAlias = Literal["end"] | Callable[[RunInfo], ReapDecision | Awaitable[ReapDecision]]
"""The treatment of a run whose agent is lost: end it, or let a function decide."""

_RETRY_SECONDS = 5.0


@dataclass(slots=True)
class _Watched:
    """One run that may have to be ended.

    Attributes:
        claim: The serial of the claim that it was judged by; another claim is judged anew.
        due: When it is to be ended, on the clock of the event loop.
        kept: Whether the policy keeps it.
    """

    claim: str | None
    due: float
    kept: bool = False


class Reaper(Generic[InT, OutT, ProjT, MsgT]):
    """Ends the runs of one conversation whose agents are lost.

    Args:
        core: The session's parts.
        agents: Knows which agents are present.
        grace: How long an agent may be absent, in seconds.
        max_silence: How long a run without an announced agent may be silent, in seconds; None for ever.
        policy: Decides about each run.

    Raises:
        InvalidArgumentError: An argument is out of bounds (40003).
    """

    def __init__(
        self,
        core: SessionCore[InT, OutT, ProjT, MsgT],
        agents: AgentFollower[InT, OutT, ProjT, MsgT],
        grace: float,
        max_silence: float | None,
        policy: ReapPolicy,
    ) -> None:
        check_seconds("reap", "grace", grace)
        check_seconds("reap", "max_silence", max_silence)
        if policy != "end" and not callable(policy):
            raise InvalidArgumentError(f"unable to reap; policy must be 'end' or a function, got {policy!r}")
        self._core = core
        self._agents = agents
        self._grace = grace
        self._max_silence = max_silence
        self._policy = policy
        self._watched: dict[str, _Watched] = {}
        self._changed = anyio.Event()
        self._ended: list[RunInfo] = []

    async def run(self, look_back: float | None) -> None:
        """Watch and end runs until the session is closed. See :meth:`BaseSession.reap`."""
        await self._open(look_back)
        offs = [
            self._agents.changed.add(self._wake),
            self._core.conversation.subscribe(self._wake, RunStart, RunResume, RunSuspend, RunEnd),
            self._core.channel.on_state(self._wake),
        ]
        self._core.connection.on_close(self._wake)
        try:
            while not self._core.connection.closed:
                self._changed = anyio.Event()
                wait = await self._pass()
                with anyio.move_on_after(wait):
                    await self._changed.wait()
        finally:
            for off in offs:
                off()

    async def run_once(self, look_back: float | None) -> list[RunInfo]:
        """End the runs that are lost now. See :meth:`BaseSession.reap_once`."""
        await self._open(look_back)
        self._look()
        if self._watched and self._grace:
            await anyio.sleep(self._grace)
            self._look()
        for node, watched in self._due():
            await self._see_to(node, watched)
        return self._ended

    async def _open(self, look_back: float | None) -> None:
        check_seconds("reap", "look_back", look_back)
        await self._agents.follow()
        oldest = now = _now_ms()

        def note(change: Change[InT, OutT]) -> None:
            nonlocal oldest
            if isinstance(change.event, InboundMessage) and change.event.timestamp is not None:
                oldest = min(oldest, change.event.timestamp)

        off = self._core.conversation.subscribe(note, InboundMessage)
        try:
            await self._core.conversation.read_history(
                lambda: look_back is not None and oldest < now - look_back * 1000
            )
        finally:
            off()

    def _wake(self, _: object = None) -> None:
        self._changed.set()

    async def _pass(self) -> float | None:
        """End the runs that are due; return how long until the next one is, in seconds."""
        self._look()
        for node, watched in self._due():
            try:
                await self._see_to(node, watched)
            except AITransportError as error:
                self._core.report(error)
                watched.due = anyio.current_time() + _RETRY_SECONDS
        waiting = [watched.due for watched in self._watched.values() if not watched.kept]
        return max(0.0, min(waiting) - anyio.current_time()) if waiting else None

    def _look(self) -> None:
        """Find the runs that may have to be ended. An agent that is back, or another one, saves its run."""
        if self._core.channel.state is not ChannelState.ATTACHED:
            # Without the channel no agent is visible: the grace time begins when the channel is back.
            self._watched.clear()
            return
        tree = self._core.conversation.tree
        now = anyio.current_time()
        watched: dict[str, _Watched] = {}
        for node in tree.index:
            if not isinstance(node, RunNode) or node.status != "active" or node.started_at is None:
                continue
            if node.run_id in self._core.held_runs:
                continue
            claim = None if node.claim is None else node.claim.serial
            due = self._due_time(node, now)
            if due is None:
                continue
            known = self._watched.get(node.run_id)
            if known is None or known.claim != claim:
                watched[node.run_id] = _Watched(claim, due)
                continue
            watched[node.run_id] = known
            if tree.is_agent_present(node) is None:
                # It has been heard meanwhile. A later time is that of another try.
                known.due = max(known.due, due)
        self._watched = watched

    def _due_time(self, node: RunNode[ProjT], now: float) -> float | None:
        present = self._core.conversation.tree.is_agent_present(node)
        if present is False:
            return now + self._grace
        if present is True or self._max_silence is None or node.last_heard_at is None:
            return None
        return now + self._max_silence - (_now_ms() - node.last_heard_at) / 1000

    def _due(self) -> list[tuple[RunNode[ProjT], _Watched]]:
        tree = self._core.conversation.tree
        now = anyio.current_time()
        nodes = ((tree.get_run_node(run_id), watched) for run_id, watched in self._watched.items())
        return [
            (node, watched)
            for node, watched in nodes
            if node is not None and watched.due <= now and not watched.kept
        ]

    async def _see_to(self, node: RunNode[ProjT], watched: _Watched) -> None:
        info = self._core.conversation.tree.describe(node)
        if await self._decide(info) == "keep":
            watched.kept = True
            return
        claim = None if node.claim is None else node.claim.serial
        if node.status != "active" or claim != watched.claim:
            return
        try:
            await end_run(self._core, node.run_id, "error", None)
        except InvalidArgumentError:
            # Somebody else was faster.
            return
        self._ended.append(self._core.conversation.tree.describe(node))

    async def _decide(self, info: RunInfo) -> ReapDecision:
        policy = self._policy
        if isinstance(policy, str):
            return "end"
        try:
            decision = policy(info)
            answer: ReapDecision = await decision if inspect.isawaitable(decision) else decision
        except Exception as error:
            action = f"ask the policy about run {info.run_id}"
            raise AITransportError.wrap(action, error, ErrorCode.CANCEL_LISTENER_ERROR) from error
        if answer not in ("end", "keep"):
            raise AITransportError(
                f"unable to reap; the policy returned {answer!r} (return 'end' or 'keep')",
                ErrorCode.CANCEL_LISTENER_ERROR,
            )
        return answer


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
