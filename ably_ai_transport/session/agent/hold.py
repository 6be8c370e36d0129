"""An agent's hold on a run, and the gate to the channel that shuts when the hold is lost."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final, Generic

from ably_ai_transport.channel.acks import refused
from ably_ai_transport.codec.contract import InT, MsgT, OutT, ProjT
from ably_ai_transport.conversation import TERMINAL, RunClaim, RunNode
from ably_ai_transport.session.agent.facts import RunFacts
from ably_ai_transport.session.base import SessionCore
from ably_ai_transport.wire import AITransportError, OutboundMessage, RunLostError, StepStart, names
from ably_ai_transport.wire.listeners import Listeners

CLAIMS: Final = frozenset({names.RUN_START, names.RUN_RESUME, names.STEP_START, names.RUN_END})
"""Names of the messages after which a hold may be lost."""


class RunHold(Generic[InT, OutT, ProjT, MsgT]):
    """Publishes one run for as long as the run is this agent's.

    A run is claimed by its start, by each resume and by each start of a step. The newest claim on the channel
    counts. An agent that was cut off and comes back learns from the conversation that its run has ended, or
    that another invocation has claimed it: from then on nothing more of it reaches the channel.

    An agent that has written no step holds its run beside others that do: one process may start and end a
    run whose steps are the work of other processes.

    Args:
        core: The session's parts.
        facts: The run, and the invocation of this agent; read at each use.

    Attributes:
        error: Why the hold was lost; None while it lasts.
        lost: Called once, when it is lost.
    """

    def __init__(self, core: SessionCore[InT, OutT, ProjT, MsgT], facts: RunFacts) -> None:
        self.error: RunLostError | None = None
        self.lost = Listeners[RunLostError]()
        self._core = core
        self._facts = facts
        self._claimed_at: str | None = None
        self._writes_steps = False
        self._claims = 0
        self._watched = False

    # The gate. It is a ChannelWriter, so that encoders publish through it.

    def publish(self, messages: Sequence[OutboundMessage]) -> asyncio.Future[list[str | None]]:
        """Publish new messages, unless the hold is lost."""
        if self.error is not None:
            return refused(self.error)
        return self._core.channel.publish(messages)

    def append(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Append to a message, unless the hold is lost."""
        if self.error is not None:
            return refused(self.error)
        return self._core.channel.append(message)

    def update(self, message: OutboundMessage) -> asyncio.Future[str | None]:
        """Replace a message, unless the hold is lost."""
        if self.error is not None:
            return refused(self.error)
        return self._core.channel.update(message)

    # Claims

    def check_held(self, action: str) -> None:
        """Refuse an operation on a run that is not this agent's any more.

        Raises:
            RunLostError: It is not (104051).
        """
        if self.error is not None:
            raise RunLostError(f"unable to {action}; {self.error.message.partition('; ')[2]}")

    def check_step_can_start(self) -> None:
        """Refuse a step while another invocation writes one.

        Raises:
            RunLostError: Another invocation has claimed the run since, and its step is open (104051).
        """
        node = self._node
        rival = None if node is None else self._rival(node)
        if node is not None and isinstance(rival, StepStart) and _is_open(node, rival):
            self._lose(_taken_over(rival))
        self.check_held("start step")

    def adopt(self) -> None:
        """Begin to hold a run that another process has started: its claims so far are no rivals."""
        node = self._node
        claim = None if node is None else node.claim
        self._claimed_at = "" if claim is None else claim.serial or ""

    @contextmanager
    def claiming(self, *, step: bool) -> Generator[None]:
        """Publish a claim in the block. Which claim is the newest is known when the block has ended.

        Args:
            step: Whether the claim is the start of a step.
        """
        self._claims += 1
        self._writes_steps = self._writes_steps or step
        try:
            yield
        finally:
            self._claims -= 1

    def note_claim(self, serial: str | None) -> None:
        """Note the serial of a claim of this agent that the channel has taken."""
        self._claimed_at = max(self._claimed_at or "", serial or "")

    def watch(self) -> None:
        """Begin to look for rivals: the run is open."""
        self._watched = True
        self._core.held_runs.add(self._facts.run_id)
        self.check()

    def unwatch(self) -> None:
        """Look no longer: this agent itself closes the run."""
        self._watched = False
        self._core.held_runs.discard(self._facts.run_id)

    def let_go(self, why: AITransportError) -> None:
        """Give the hold up, for another process to take."""
        if self.error is None:
            self._lose(why.message)

    def check(self) -> None:
        """Look into the conversation whether the run is still this agent's."""
        node = self._node
        if node is None or not self._watched or self._claims or self.error is not None:
            return
        if node.status in TERMINAL:
            self._lose(f"run {node.run_id} was ended as {node.status} by somebody else")
            return
        rival = self._rival(node)
        if rival is not None and (self._writes_steps or not isinstance(rival, StepStart)):
            self._lose(_taken_over(rival))

    @property
    def _node(self) -> RunNode[ProjT] | None:
        return self._core.conversation.tree.get_run_node(self._facts.run_id)

    def _rival(self, node: RunNode[ProjT]) -> RunClaim | None:
        """Return the newest claim, if it is of another invocation and newer than those of this agent."""
        claim = node.claim
        if claim is None or self._claimed_at is None or (claim.serial or "") <= self._claimed_at:
            return None
        return None if claim.invocation_id in ("", self._facts.invocation_id) else claim

    def _lose(self, why: str) -> None:
        self.error = RunLostError(f"unable to go on; {why}")
        self.unwatch()
        self.lost.emit(self.error)


def _is_open(node: RunNode[ProjT], claim: StepStart) -> bool:
    return any(step.step_id == claim.step_id and step.status == "active" for step in node.steps)


def _taken_over(rival: RunClaim) -> str:
    return f"run {rival.run_id} was taken over by invocation {rival.invocation_id}"
