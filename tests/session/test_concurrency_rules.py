"""The rules for runs at once, on every interleaving: all processes agree, and the line always moves on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import Any, TypeAlias, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, data

from ably_ai_transport.codec import LifecycleOnlyCodec
from ably_ai_transport.conversation import Tree
from ably_ai_transport.session.agent.concurrency import (
    INSTEAD,
    MOVES,
    ConcurrencyPolicy,
    Move,
    Place,
    place_of,
    policy_for,
    runs_ahead,
)
from ably_ai_transport.wire import InboundMessage, MessageAction, names
from ably_ai_transport.wire.headers import RunEndReason, build_cancel_headers, build_run_headers
from ably_ai_transport.wire.messages import ai_extras

AnyTree: TypeAlias = Tree[Any, Any, Any, Any]
POLICIES: Sequence[ConcurrencyPolicy] = get_args(ConcurrencyPolicy)
POLICY = st.sampled_from(POLICIES)


def message(name: str, headers: dict[str, str], number: int) -> InboundMessage:
    serial = f"{number:08d}"
    return InboundMessage(
        action=MessageAction.CREATE,
        name=name,
        serial=serial,
        version=serial,
        timestamp=number,
        extras=ai_extras(headers),
    )


def lifecycle(name: str, run_id: str, number: int, reason: RunEndReason | None = None) -> InboundMessage:
    headers = build_run_headers(
        run_id=run_id, run_client_id="", invocation_id=f"{run_id}-{number}", reason=reason
    )
    return message(name, headers, number)


def ahead_in(tree: AnyTree, run_id: str) -> list[str] | None:
    found = runs_ahead(run_id, tree.index)
    return None if found is None else [node.run_id for node in found]


def test_the_table_is_complete() -> None:
    places = set(get_args(Place))
    own = {"passed-on", "answered"}
    expected = set(product(POLICIES, places - own)) | {("steer", "passed-on"), ("steer", "answered")}
    assert set(MOVES) == expected
    assert set(MOVES.values()) == set(get_args(Move))


@pytest.mark.parametrize("policy", POLICIES)
def test_an_answer_to_a_suspended_run_is_neither_rejected_nor_passed_on(policy: ConcurrencyPolicy) -> None:
    resumed = policy_for(policy, resumes=True)
    assert {MOVES[resumed, "behind"], MOVES[resumed, "first"]} <= {"go", "wait", "interrupt"}
    assert policy_for(policy, resumes=False) == policy
    assert set(INSTEAD) == {"reject", "steer"}


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(
            [names.RUN_START, names.RUN_START, names.RUN_SUSPEND, names.RUN_RESUME, names.RUN_END]
        ),
        st.sampled_from(["a", "b", "c", "d"]),
    ),
    max_size=16,
)


@given(events=EVENTS, random=st.randoms(use_true_random=False))
def test_whoever_has_read_the_same_messages_sees_the_same_line(
    events: list[tuple[str, str]], random: Random
) -> None:
    log = [
        lifecycle(name, run_id, number, "complete" if name == names.RUN_END else None)
        for number, (name, run_id) in enumerate(events)
    ]
    lines: list[list[list[str] | None]] = []
    for _ in range(3):
        order = list(log)
        random.shuffle(order)
        tree = Tree(LifecycleOnlyCodec())
        for one in [*order, *order[:3]]:
            tree.apply(one)
        lines.append([ahead_in(tree, run_id) for run_id in "abcd"])
    assert lines[0] == lines[1] == lines[2]
    in_line = sorted(len(ahead) for ahead in lines[0] if ahead is not None)
    assert in_line == list(range(len(in_line))), "the active runs that have started form one line"


@dataclass
class Process:
    """An agent with one run. It knows the messages that were delivered to it.

    Attributes:
        state: The agent's own state; the channel shows a waiting run as active, too.
        passed_on: The run that the question was passed to.
    """

    run_id: str
    policy: ConcurrencyPolicy
    tree: AnyTree
    state: str = "idle"
    read: int = 0
    cancelled: bool = False
    interrupted: set[str] = field(default_factory=set[str])
    passed_on: str | None = None
    answered: bool = False
    resumes: bool = False


class World:
    """Processes around one channel. Each step is chosen by the caller."""

    def __init__(self, policies: Sequence[ConcurrencyPolicy]) -> None:
        self.log: list[InboundMessage] = []
        self.truth = Tree(LifecycleOnlyCodec())
        self.processes = [
            Process(f"run-{number}", policy, Tree(LifecycleOnlyCodec()))
            for number, policy in enumerate(policies)
        ]

    def publish(self, name: str, run_id: str, reason: RunEndReason | None = None) -> None:
        number = len(self.log)
        made = (
            message(name, build_cancel_headers(event_id=f"e{number}", run_id=run_id), number)
            if name == names.CANCEL
            else lifecycle(name, run_id, number, reason)
        )
        self.log.append(made)
        self.truth.apply(made)

    def deliver(self, process: Process) -> bool:
        if process.read == len(self.log) or process.state == "dead":
            return False
        one = self.log[process.read]
        process.read += 1
        process.tree.apply(one)
        if one.name == names.CANCEL and one.transport_headers[names.RUN_ID] == process.run_id:
            process.cancelled = True
        return True

    def begin(self, process: Process) -> bool:
        """Start the run, or resume it. The agent has read what the channel holds."""
        if process.state not in ("idle", "suspended"):
            return False
        while self.deliver(process):
            pass
        process.cancelled = False
        process.resumes = process.state == "suspended"
        self.publish(names.RUN_RESUME if process.resumes else names.RUN_START, process.run_id)
        process.state = "waiting"
        return True

    def decide(self, process: Process) -> bool:
        """Let a run that waits make its move."""
        if process.state != "waiting":
            return False
        node = process.tree.get_run_node(process.run_id)
        if node is not None and node.status in ("complete", "cancelled", "error"):
            process.state = "done"
            return True
        if process.cancelled:
            return self.end(process, "cancelled")
        policy = policy_for(process.policy, resumes=process.resumes)
        ahead = ahead_in(process.tree, process.run_id)
        place = place_of(
            ahead,
            passed_on=policy == "steer" and process.passed_on is not None,
            answered=policy == "steer" and process.answered,
        )
        match MOVES[policy, place]:
            case "wait":
                return False
            case "go":
                if policy != "concurrent":
                    assert ahead_in(self.truth, process.run_id) == [], "it goes on beside a run before it"
                process.state = "working"
            case "reject":
                assert ahead
                self.end(process, "error")
            case "leave":
                self.end(process, "cancelled")
            case "pass-on":
                assert ahead
                process.passed_on = ahead[0]
            case "interrupt":
                assert ahead
                new = set(ahead) - process.interrupted
                for run_id in new:
                    self.publish(names.CANCEL, run_id)
                process.interrupted |= new
                return bool(new)
        return True

    def end(self, process: Process, reason: RunEndReason) -> bool:
        self.publish(names.RUN_END, process.run_id, reason)
        process.state = "done"
        return True

    def work(self, process: Process) -> bool:
        """Let a run that works notice a cancel, or answer the questions that were passed to it."""
        if process.state != "working":
            return False
        if process.cancelled:
            return self.end(process, "cancelled")
        for other in self.processes:
            if other.passed_on == process.run_id and not other.answered:
                other.answered = True
                return True
        return False

    def leave(self, process: Process, how: str) -> bool:
        """Let a run that works come to an end, wait for an answer, or lose its process."""
        if process.state == "waiting" and how == "die":
            process.state = "dead"
            return True
        if process.state != "working":
            return False
        match how:
            case "complete":
                return self.end(process, "complete")
            case "suspend":
                self.publish(names.RUN_SUSPEND, process.run_id)
                process.state = "suspended"
            case _:
                process.state = "dead"
        return True

    def reap(self, process: Process) -> bool:
        if process.state != "dead":
            return False
        self.publish(names.RUN_END, process.run_id, "error")
        process.state = "done"
        return True

    def working(self) -> list[Process]:
        return [process for process in self.processes if process.state == "working"]

    def possible(self, leaving: Sequence[str]) -> list[tuple[str, int]]:
        """List the steps that some process could take now."""
        steps: list[tuple[str, int]] = []
        for number, process in enumerate(self.processes):
            of_state = {
                "idle": ["begin"],
                "suspended": ["begin"],
                "waiting": ["decide", "decide", *(["die"] if "die" in leaving else [])],
                "working": ["work", *leaving],
                "dead": ["reap"],
            }
            found = of_state.get(process.state, [])
            if process.read < len(self.log) and process.state not in ("dead", "done"):
                found = [*found, "deliver", "deliver"]
            steps += [(name, number) for name in found]
        return steps

    def take(self, step: tuple[str, int]) -> None:
        name, number = step
        process = self.processes[number]
        match name:
            case "deliver":
                self.deliver(process)
            case "begin":
                self.begin(process)
            case "decide":
                self.decide(process)
            case "work":
                self.work(process)
            case "reap":
                self.reap(process)
            case how:
                self.leave(process, how)


def drive(world: World, choices: DataObject, leaving: Sequence[str]) -> Iterator[None]:
    for _ in range(choices.draw(st.integers(0, 60))):
        possible = world.possible(leaving)
        if not possible:
            return
        world.take(choices.draw(st.sampled_from(possible)))
        yield


@settings(max_examples=200)
@given(policies=st.lists(POLICY, min_size=2, max_size=5), choices=data())
def test_the_line_moves_on_whatever_happens(policies: list[ConcurrencyPolicy], choices: DataObject) -> None:
    world = World(policies)
    for _ in drive(world, choices, ["complete", "suspend", "die"]):
        pass
    # From here on everything is delivered, agents finish their work, and lost runs are reaped.
    for _ in range(20 * len(policies)):
        progress = False
        for process in world.processes:
            while world.deliver(process):
                progress = True
            progress |= world.decide(process) or world.work(process) or world.reap(process)
        for process in world.working():
            progress |= world.leave(process, "complete")
        if not progress:
            break
    assert {process.state for process in world.processes} <= {"idle", "suspended", "done"}


TAKES_TURNS = st.sampled_from([policy for policy in POLICIES if policy != "concurrent"])


@settings(max_examples=200)
@given(policies=st.lists(TAKES_TURNS, min_size=2, max_size=5), choices=data())
def test_runs_that_take_turns_never_work_at_once(
    policies: list[ConcurrencyPolicy], choices: DataObject
) -> None:
    world = World(policies)
    for _ in drive(world, choices, ["complete", "suspend"]):
        assert len(world.working()) <= 1
