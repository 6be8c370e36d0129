"""Runs and steps follow their tables, in any order of arrival."""

from collections.abc import Sequence
from random import Random

from ably_ai_transport_vercel import UIMessageCodec, VercelProjection
from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.conversation import TERMINAL, RunNode, RunStatus, Tree
from ably_ai_transport.conversation.lifecycle import RUN_TRANSITIONS, STEP_TRANSITIONS, StepStatus
from ably_ai_transport.wire import InboundMessage, names
from tests.conversation.talk import Step, Talk

RUN_TRIGGERS = sorted({trigger for _, trigger in RUN_TRANSITIONS} - {"start"})
STEP_TRIGGERS = sorted({trigger for _, trigger in STEP_TRANSITIONS})


def read(messages: Sequence[InboundMessage]) -> RunNode[VercelProjection]:
    tree = Tree(UIMessageCodec())
    for message in messages:
        tree.apply(message)
    node = tree.get_run_node("r2")
    assert node is not None
    return node


def live(talk: Talk, triggers: Sequence[str]) -> None:
    """Let a run live through triggers; the same invocation goes on all the time."""
    run = talk.start(talk.say("hi"), "m1")
    for trigger in triggers:
        match trigger:
            case "suspend":
                talk.suspend(run)
            case "resume":
                talk.put(names.RUN_RESUME, run.headers)
            case reason:
                talk.end(run, reason)


@given(st.lists(st.sampled_from(RUN_TRIGGERS), max_size=8), st.randoms(use_true_random=False))
def test_a_run_lives_as_its_table_says(triggers: list[str], random: Random) -> None:
    talk = Talk()
    live(talk, triggers)
    status: RunStatus = "active"
    for trigger in triggers:
        status = RUN_TRANSITIONS.get((status, trigger), status)  # type: ignore[arg-type, call-overload]
    messages = list(talk.live)
    assert read(messages).status == status
    random.shuffle(messages)
    assert read(messages).status == status


@given(st.lists(st.sampled_from(RUN_TRIGGERS), min_size=1, max_size=8))
def test_a_run_ends_once(triggers: list[str]) -> None:
    talk = Talk()
    live(talk, triggers)
    tree = Tree(UIMessageCodec())
    ended: tuple[object, ...] | None = None
    for message in talk.live:
        tree.apply(message)
        node = tree.get_run_node("r2")
        if node is not None and node.status in TERMINAL:
            seen = (node.status, node.error and node.error.code, node.end_serial)
            assert ended in (None, seen)
            ended = seen
    assert (ended is None) == (not {"complete", "cancelled", "error"} & set(triggers))


@given(st.lists(st.sampled_from(STEP_TRIGGERS), max_size=8), st.randoms(use_true_random=False), st.data())
def test_a_step_lives_as_its_table_says(triggers: list[str], random: Random, data: st.DataObject) -> None:
    talk = Talk()
    run = talk.start(talk.say("hi"), "m1")
    attempts: list[Step] = [talk.step(run, "work")]
    ended: set[str] = set()
    status: StepStatus = "active"
    for trigger in triggers:
        if trigger == "attempt":
            attempts.append(talk.step(run, "work"))
        else:
            attempt = data.draw(st.sampled_from(attempts), "attempt")
            if attempt.serial in ended:
                continue
            ended.add(attempt.serial)
            talk.end_step(attempt, trigger)
            if attempt is not attempts[-1]:
                continue  # a superseded attempt
        status = STEP_TRANSITIONS[status, trigger]  # type: ignore[index]
    messages = list(talk.live)
    for order in (messages, random.sample(messages, len(messages))):
        [step] = read(order).steps
        assert (step.status, step.attempt_count) == (status, len(attempts))
