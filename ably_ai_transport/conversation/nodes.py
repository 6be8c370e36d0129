"""The nodes of a conversation: inputs of people and runs of agents."""

from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeAlias

from ably_ai_transport.codec.contract import ProjT
from ably_ai_transport.conversation.authors import Author
from ably_ai_transport.conversation.lifecycle import RunClaim, RunStanding, RunStatus, StepInfo
from ably_ai_transport.wire import AITransportError, RunResume, RunStart


@dataclass(slots=True, eq=False)
class InputNode(Generic[ProjT]):
    """One message of a person.

    Attributes:
        codec_message_id: The message, which is also the node's key.
        parent_codec_message_id: The message before it; None at the start of a conversation.
        fork_of: The message that it replaces, where it is an edit.
        projection: The codec's state of it.
        serial: Its place on the channel; None while it is optimistic.
        client_id: Its author, as Ably verified it; None for an anonymous one, and while it is optimistic.
    """

    kind: ClassVar[Literal["input"]] = "input"
    codec_message_id: str
    parent_codec_message_id: str | None
    fork_of: str | None
    projection: ProjT = field(repr=False)
    serial: str | None = None
    client_id: str | None = None

    @property
    def key(self) -> str:
        """The key of the node in its tree."""
        return self.codec_message_id

    @property
    def sort_serial(self) -> str | None:
        """The place of the node among others; None sorts last."""
        return self.serial


@dataclass(slots=True, eq=False, repr=False)
class RunNode(Generic[ProjT]):
    """One run: an agent's reply to an input.

    Attributes:
        run_id: The run, which is also the node's key.
        parent_codec_message_id: The input that it replies to.
        fork_of: Key of the node that it forks.
        regenerates_codec_message_id: The message that it replaces, where it is a regeneration.
        client_id: The client that owns it, as the agent wrote it; empty when unknown.
        invocation_id: The invocation that started it; empty until its start is seen.
        projection: The codec's state of it.
        start_serial: Its place on the channel; None while it is optimistic.
        end_serial: Serial of the message that suspended or ended it.
        status: Its status.
        error: Why it failed; set exactly when ``status`` is ``error``.
        last_resume_invocation_id: The invocation that last resumed it.
        steps: Its steps, in the order of their first attempts.
        input_codec_message_id: The input that triggered it; None until its start is seen.
        agent_client_id: The publisher of its start, as Ably verified it; None for an anonymous one, and until
            the channel has brought the start.
        trigger: The newest start or resume of it: that says which input its latest invocation answers.
        claim: The newest start or resume of it, or start of one of its steps: that invocation works on it.
        started_at: When the server took its start; None until that is seen. Times are in milliseconds since
            the epoch.
        last_heard_at: When the server took the newest message of an agent on it, an append included.
        ended_at: When the server took its end; None while it has not ended.
        end_message: Why it ended, in words, such as why a run was cancelled; None where nobody said so.
    """

    kind: ClassVar[Literal["run"]] = "run"
    run_id: str
    parent_codec_message_id: str | None
    fork_of: str | None
    regenerates_codec_message_id: str | None
    client_id: str
    invocation_id: str
    projection: ProjT
    start_serial: str | None = None
    end_serial: str | None = None
    status: RunStatus = "active"
    error: AITransportError | None = None
    last_resume_invocation_id: str | None = None
    steps: tuple[StepInfo, ...] = field(default=())
    input_codec_message_id: str | None = None
    agent_client_id: str | None = None
    trigger: RunStart | RunResume | None = None
    claim: RunClaim | None = None
    started_at: int | None = None
    last_heard_at: int | None = None
    ended_at: int | None = None
    end_message: str | None = None

    def __repr__(self) -> str:
        steps = [f"{step.step_id}: {step.status}" for step in self.steps]
        return (
            f"RunNode({self.run_id!r}, status={self.status!r}, parent={self.parent_codec_message_id!r},"
            f" steps={steps!r})"
        )

    @property
    def key(self) -> str:
        """The key of the node in its tree."""
        return self.run_id

    @property
    def sort_serial(self) -> str | None:
        """The place of the node among others; None sorts last."""
        return self.start_serial

    def update(self, standing: RunStanding) -> None:
        """Take on the status that the run's lifecycle events lead to."""
        self.status = standing.status
        self.end_serial = standing.end_serial
        self.error = standing.error
        self.last_resume_invocation_id = standing.resumed_by
        self.ended_at = standing.ended_at
        self.end_message = standing.end_message

    def note_claim(self, claim: RunClaim) -> None:
        """Take in a claim, in any order: the newest one on the channel counts."""
        if claim.serial is None:
            return
        if self.claim is None or (self.claim.serial or "") < claim.serial:
            self.claim = claim
        if isinstance(claim, RunStart | RunResume) and (
            self.trigger is None or (self.trigger.serial or "") < claim.serial
        ):
            self.trigger = claim

    def hear(self, timestamp: int | None) -> None:
        """Take in the time of an agent's message, in any order."""
        if timestamp is not None and (self.last_heard_at is None or self.last_heard_at < timestamp):
            self.last_heard_at = timestamp


ConversationNode: TypeAlias = InputNode[ProjT] | RunNode[ProjT]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """A run, as a view shows it.

    Attributes:
        run_id: The run.
        client_id: The client that owns it, as the agent wrote it; empty when unknown.
        invocation_id: The invocation that started it; empty until its start is seen.
        status: Its status.
        error: Why it failed; set exactly when ``status`` is ``error``.
        steps: Its steps, in the order of their first attempts.
        client_id_verified: Whether ``client_id`` is the author of the run's input, as Ably verified it.
        agent_client_id: The publisher of the run's start, as Ably verified it; None for an anonymous one, and
            until the channel has brought the start.
        started_at: When the server took its start, in milliseconds since the epoch like the times below;
            None until the start is seen.
        last_heard_at: When the server took the newest message of an agent on it, an append included.
        ended_at: When the server took its end; None while it has not ended.
        end_message: Why it ended, in words, such as why a run was cancelled; None where nobody said so.
        agent_present: Whether its agent is present on the channel. None if the run is not active, if agents
            are not followed, or if its agent did not announce its runs.
    """

    run_id: str
    client_id: str
    invocation_id: str
    status: RunStatus
    error: AITransportError | None = None
    steps: tuple[StepInfo, ...] = ()
    client_id_verified: bool = False
    agent_client_id: str | None = None
    started_at: int | None = None
    last_heard_at: int | None = None
    ended_at: int | None = None
    end_message: str | None = None
    agent_present: bool | None = None


def run_info(
    node: RunNode[ProjT], *, owner: Author | None = None, agent_present: bool | None = None
) -> RunInfo:
    """Describe a run node without its projection.

    Args:
        node: The node.
        owner: The author of the run's input, where that is known.
        agent_present: As in :class:`RunInfo`.
    """
    return RunInfo(
        node.run_id,
        node.client_id,
        node.invocation_id,
        node.status,
        node.error,
        node.steps,
        client_id_verified=owner is not None and bool(node.client_id) and owner.client_id == node.client_id,
        agent_client_id=node.agent_client_id,
        started_at=node.started_at,
        last_heard_at=node.last_heard_at,
        ended_at=node.ended_at,
        end_message=node.end_message,
        agent_present=agent_present,
    )
