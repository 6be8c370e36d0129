"""Routes: an append of a known message has the same effect as a message that is routed anew."""

from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport.conversation import OutputFolded
from ably_ai_transport.wire import InboundMessage, names
from tests.conversation.generated import generate
from tests.conversation.recorded import Reader
from tests.conversation.talk import Talk
from tests.conversation.test_generated import shuffled
from tests.conversation.test_unknown_headers import HEADERS, altered

talks = st.randoms(use_true_random=False).map(generate)


def effects(messages: Sequence[InboundMessage]) -> tuple[object, object]:
    """Return all events, message by message, and what is shown in the end."""
    reader = Reader()
    events = [
        [
            tuple(getattr(event, name) for name in OutputFolded.__slots__)
            if isinstance(event, OutputFolded)
            else type(event)
            for event in reader.tree.apply(message)
        ]
        for message in messages
    ]
    return events, reader.shows()


def never_the_same(messages: Sequence[InboundMessage]) -> list[InboundMessage]:
    """Give each delivery headers of its own, so that no route of an earlier one serves it."""
    return [altered(message, "nonce", str(i)) for i, message in enumerate(messages)]


@settings(max_examples=100, deadline=None)
@given(talks, st.randoms(use_true_random=False), st.booleans())
def test_a_route_changes_nothing(talk: Talk, random: Random, in_order: bool) -> None:
    messages = list(talk.live) if in_order else shuffled(talk.live, random)
    assert effects(messages) == effects(never_the_same(messages))


@settings(max_examples=100, deadline=None)
@given(talks, st.randoms(use_true_random=False), st.data())
def test_a_route_changes_nothing_where_ids_collide(talk: Talk, random: Random, data: st.DataObject) -> None:
    """Headers of some messages hold the ids of others: owners, attempts and runs change mid-stream."""
    ids = sorted({value for message in talk.live for value in message.transport_headers.values()})
    strange = {m.serial for m in data.draw(st.lists(st.sampled_from(talk.live), max_size=4), "strange")}
    header, value = data.draw(st.sampled_from(HEADERS), "header"), data.draw(st.sampled_from(ids), "value")
    messages = [altered(m, header, value) if m.serial in strange else m for m in shuffled(talk.live, random)]
    assert effects(messages) == effects(never_the_same(messages))


def test_a_retry_in_the_middle_of_a_stream_supersedes_its_further_text() -> None:
    talk = Talk()
    run = talk.start(talk.say("hi"), "m1")
    first = talk.step(run, "plan")
    message_id = talk.reply(first, "one ", closed=False)
    serial = talk.live[-1].serial
    assert serial is not None
    talk.append(serial, "two ")
    reader = Reader().read(talk.live)
    assert "one two " in str(reader.shows())

    talk.step(run, "plan")
    reader.tree.apply(talk.live[-1])
    talk.append(serial, "three ")
    events = reader.tree.apply(talk.live[-1])

    assert events == [talk.live[-1]]
    assert message_id not in str(reader.view.messages)
    assert talk.live[-1].name == names.AI_OUTPUT


def test_a_message_that_two_runs_claim_belongs_to_the_last_one_that_wrote_to_it() -> None:
    talk = Talk()
    trigger = talk.say("hi")
    one, two = talk.start(trigger, trigger), talk.start(trigger, trigger)
    step, other = talk.step(one), talk.step(two)
    talk.output(other, "start-step", "another")
    message_id = talk.reply(step, "one ", closed=False)
    serial = talk.live[-1].serial
    assert serial is not None
    reader = Reader().read(talk.live)
    talk.output(other, "start", message_id)
    reader.tree.apply(talk.live[-1])
    owner = reader.tree.get_node_by_codec_message_id(message_id)
    assert owner is not None
    assert owner.key == two.run_id

    talk.append(serial, "two ")
    reader.tree.apply(talk.live[-1])

    owner = reader.tree.get_node_by_codec_message_id(message_id)
    assert owner is not None
    assert owner.key == one.run_id
