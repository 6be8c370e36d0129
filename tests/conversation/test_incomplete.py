"""Messages whose payload is complete only later."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport.conversation import REORDER_WINDOW_MS, OutputFolded
from ably_ai_transport.wire import InboundMessage, names
from ably_ai_transport.wire.messages import ai_extras
from tests.conversation.generated import generate
from tests.conversation.recorded import Reader
from tests.conversation.talk import Talk
from tests.session.stage import CODEC, texts

STAND_IN = "https://payloads.example/1"


def incomplete(message: InboundMessage) -> InboundMessage:
    return replace(message, data=STAND_IN)


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["live", "history", "shuffled"]))
def test_the_conversation_is_the_one_of_complete_messages(random: Random, order: str) -> None:
    talk = generate(random)
    messages = talk.live if order == "live" else talk.history[::-1]
    if order == "shuffled":
        random.shuffle(messages)
    whole, ours = Reader(), Reader()
    waiting: list[InboundMessage] = []
    for message in messages:
        whole.read([message])
        if message.name == names.AI_INPUT and message.data and random.random() < 0.5:
            ours.read([incomplete(message)])
            ours.tree.incomplete.expect(incomplete(message))
            waiting.append(message)
        else:
            ours.read([message])
        while waiting and random.random() < 0.2:
            ours.tree.complete(waiting.pop(random.randrange(len(waiting))))
    for message in waiting:
        ours.tree.complete(message)
    assert ours.shows() == whole.shows()


def talk_with_data() -> tuple[Talk, InboundMessage]:
    """Return a conversation of one finished run, and a message of that run."""
    talk = Talk()
    question = talk.say("hi")
    run = talk.start(question, question)
    step = talk.step(run)
    talk.reply(step, "here it is")
    headers = {
        **run.headers,
        names.CODEC_MESSAGE_ID: "reply",
        names.STEP_ID: step.step_id,
        names.STEP_START_SERIAL: step.serial,
    }
    talk.put(names.AI_OUTPUT, headers, {"kind": "data-table"}, {"rows": 3})
    message = talk.live[-1]
    talk.end_step(step)
    talk.end(run)
    return talk, message


def read_without_data(talk: Talk, message: InboundMessage, *, late: bool) -> Reader:
    """Read a conversation with an incomplete message, which is announced at once or at the end."""
    reader = Reader()
    for one in talk.live:
        reader.read([incomplete(message) if one is message else one])
        if one is message and not late:
            reader.tree.incomplete.expect(incomplete(message))
    reader.tree.incomplete.expect(incomplete(message))
    return reader


def pass_time(talk: Talk, reader: Reader) -> None:
    """Let more time pass than logs are kept for."""
    for text in ("later", "much later"):
        talk.wait(2 * REORDER_WINDOW_MS)
        talk.say(text)
        reader.read(talk.live[-1:])


def data_in(reader: Reader) -> list[object]:
    messages = [m.message for node in reader.tree.index for m in CODEC.get_messages(node.projection)]
    return [part.get("data") for m in messages for part in m["parts"] if part["type"] == "data-table"]


@pytest.mark.parametrize("late", [False, True], ids=["in its run", "after its run"])
def test_the_log_of_a_run_is_kept_until_its_messages_are_complete(*, late: bool) -> None:
    talk, message = talk_with_data()
    reader = read_without_data(talk, message, late=late)
    pass_time(talk, reader)
    assert data_in(reader) == [STAND_IN]
    [change] = reader.tree.complete(message)
    assert isinstance(change, OutputFolded)
    assert (change.node_key, change.serial, list(change.events)) == (talk.runs[0].run_id, message.serial, [])
    assert reader.shows() == Reader().read(talk.live).shows()


@pytest.mark.parametrize("late", [False, True], ids=["in its run", "after its run"])
@pytest.mark.parametrize("done", ["complete", "forgo"])
def test_after_that_the_log_is_swept(done: str, *, late: bool) -> None:
    talk, message = talk_with_data()
    reader = read_without_data(talk, message, late=late)
    pass_time(talk, reader)
    {"complete": reader.tree.complete, "forgo": reader.tree.incomplete.forgo}[done](message)
    pass_time(talk, reader)
    before = reader.shows()
    reader.tree.incomplete.expect(incomplete(message))
    assert reader.tree.complete(message) == []
    assert reader.shows() == before


def test_a_fork_that_joins_its_run_keeps_what_it_expects() -> None:
    talk = Talk()
    question = talk.say("hi")
    suspended = talk.start(question, question)
    talk.suspend(suspended)
    fork = talk.fork("the answer", suspended)
    answer = talk.live[-1]
    run = talk.start(fork, question)
    # The run is known by a message that does not name the fork, and then by one that does.
    stranger = replace(talk.live[-1], extras=ai_extras({names.RUN_ID: run.run_id}))
    reader = Reader().read(talk.live[:-2])
    reader.read([stranger, incomplete(answer)])
    reader.tree.incomplete.expect(incomplete(answer))
    reader.read(talk.live[-1:])
    assert reader.tree.get_run_node(fork) is None
    assert len(reader.tree.complete(answer)) == 1
    assert texts(CODEC.get_messages(reader.tree.index.entry(run.run_id).node.projection)) == ["the answer"]  # pyright: ignore[reportOptionalMemberAccess]


def test_a_message_that_is_not_expected_changes_nothing() -> None:
    talk, message = talk_with_data()
    reader = Reader().read(talk.live)
    before = reader.shows()
    assert reader.tree.complete(message) == []
    reader.tree.incomplete.expect(InboundMessage(name="chat.message", serial="5"))
    reader.tree.incomplete.forgo(InboundMessage(name="chat.message"))
    assert reader.shows() == before
