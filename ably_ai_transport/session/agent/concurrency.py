"""Two questions at once: the rules by which the runs of one session take turns.

A run takes its place in line when its start or resume is on the channel. The channel has one order, so every
process that has read the same messages sees the same line, and exactly one active run is the first of it. A
run waits only for runs before it, so no two runs wait for each other, and the line moves on when a run
before ends or is suspended. It does not matter which client publishes that.

There is no clock, no channel and no task here: nodes of a conversation go in, and a move comes out.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, TypeVar

from ably_ai_transport.conversation import ConversationNode, RunNode

P = TypeVar("P")

ConcurrencyPolicy: TypeAlias = Literal["concurrent", "queue", "reject", "steer", "interrupt"]
"""The fate of a run that is started while another run of its session is active.

- ``concurrent``: both go on at once.
- ``queue``: it waits until the runs before it have ended or are suspended.
- ``reject``: it ends with an error.
- ``steer``: its question is passed to the first run in line, as a steering message. If that run ends without
  a response to it, the run answers the question itself.
- ``interrupt``: the runs before it are cancelled, and it waits for their end.
"""

Place: TypeAlias = Literal["unseen", "behind", "passed-on", "answered", "first"]
"""The place of a run: its start is not seen yet; another run is before it; the same, and its question was
passed on; that question was answered; no run is before it."""

Move: TypeAlias = Literal["wait", "go", "reject", "pass-on", "leave", "interrupt"]

MOVES: Final[Mapping[tuple[ConcurrencyPolicy, Place], Move]] = MappingProxyType(
    {
        ("concurrent", "unseen"): "go",
        ("concurrent", "behind"): "go",
        ("concurrent", "first"): "go",
        ("queue", "unseen"): "wait",
        ("queue", "behind"): "wait",
        ("queue", "first"): "go",
        ("reject", "unseen"): "wait",
        ("reject", "behind"): "reject",
        ("reject", "first"): "go",
        ("steer", "unseen"): "wait",
        ("steer", "behind"): "pass-on",
        ("steer", "passed-on"): "wait",
        ("steer", "answered"): "leave",
        ("steer", "first"): "go",
        ("interrupt", "unseen"): "wait",
        ("interrupt", "behind"): "interrupt",
        ("interrupt", "first"): "go",
    }
)
"""The next move of a run, by its policy and its place."""

INSTEAD: Final[Mapping[ConcurrencyPolicy, ConcurrencyPolicy]] = MappingProxyType(
    {"reject": "queue", "steer": "queue"}
)
"""The policy of a run that goes on after it was suspended: somebody answered it, and no answer is lost."""


def policy_for(policy: ConcurrencyPolicy, *, resumes: bool) -> ConcurrencyPolicy:
    """Return the policy that applies to a run.

    Args:
        policy: The policy that was chosen.
        resumes: Whether the run goes on after it was suspended.
    """
    return INSTEAD.get(policy, policy) if resumes else policy


def runs_ahead(run_id: str, nodes: Iterable[ConversationNode[P]]) -> list[RunNode[P]] | None:
    """List the active runs before a run, in the order of the line.

    Args:
        run_id: The run.
        nodes: All nodes of its conversation.

    Returns:
        The runs; None where the run itself is not in line, because its start has not been seen.
    """
    line = sorted(
        (node.active_since, node.run_id, node)
        for node in nodes
        if isinstance(node, RunNode) and node.active_since is not None
    )
    ahead: list[RunNode[P]] = []
    for _, member_id, node in line:
        if member_id == run_id:
            return ahead
        ahead.append(node)
    return None


def place_of(ahead: Iterable[object] | None, *, passed_on: bool = False, answered: bool = False) -> Place:
    """Tell the place of a run.

    Args:
        ahead: The runs before it, as :func:`runs_ahead` lists them.
        passed_on: Whether its question was passed to a run before it.
        answered: Whether an output responded to that.
    """
    if answered:
        return "answered"
    if ahead is None:
        return "unseen"
    if not tuple(ahead):
        return "first"
    return "passed-on" if passed_on else "behind"
