"""Generated conversations read the same in any order of arrival, with any repeats."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport.wire import InboundMessage, MessageAction
from tests.conversation.generated import generate
from tests.conversation.recorded import Reader
from tests.conversation.talk import Talk

talks = st.randoms(use_true_random=False).map(generate)
shuffles = st.randoms(use_true_random=False)


def shuffled(messages: Sequence[InboundMessage], random: Random) -> list[InboundMessage]:
    """Mix messages; the versions of one message stay in order, as Ably keeps them."""
    order = [message.serial for message in messages]
    random.shuffle(order)
    versions: dict[str | None, list[InboundMessage]] = {}
    for message in messages:
        versions.setdefault(message.serial, []).append(message)
    return [versions[serial].pop(0) for serial in order]


def whole(talk: Talk) -> object:
    return Reader().read(talk.live).shows()


@settings(max_examples=400, deadline=None)
@given(talks, shuffles)
def test_any_order_gives_the_same_conversation(talk: Talk, random: Random) -> None:
    assert Reader().read(shuffled(talk.live, random)).shows() == whole(talk)


@settings(max_examples=200, deadline=None)
@given(talks, shuffles)
def test_repeats_change_nothing(talk: Talk, random: Random) -> None:
    repeated: list[InboundMessage] = []
    for message in talk.live:
        repeated.append(message)
        if random.random() < 0.3:
            repeated.append(random.choice(repeated))
    assert Reader().read(repeated).shows() == whole(talk)


@settings(max_examples=200, deadline=None)
@given(talks, st.integers(1, 40))
def test_the_size_of_a_page_does_not_matter(talk: Talk, size: int) -> None:
    history = talk.history
    reader = Reader()
    for end in range(len(history), 0, -size):
        reader.read(history[max(0, end - size) : end])
    assert reader.shows() == whole(talk)


@settings(max_examples=300, deadline=None)
@given(talks, st.data())
def test_joining_anywhere_gives_the_whole(talk: Talk, data: st.DataObject) -> None:
    """A late joiner gets a stream whole at first contact, and the rest of the past from history."""
    joined = data.draw(st.integers(0, len(talk.live)), "joined at")
    past, received = split(talk.live, joined)
    loaded = data.draw(st.integers(0, len(received)), "history loaded after")
    size = data.draw(st.integers(1, 40), "page size")
    reader = Reader().read(received[:loaded])
    for end in range(len(past), 0, -size):
        reader.read(past[max(0, end - size) : end])
    assert reader.read(received[loaded:]).shows() == whole(talk)


def split(live: Sequence[InboundMessage], joined: int) -> tuple[list[InboundMessage], list[InboundMessage]]:
    """Return the history for a client that joins, and its deliveries after that."""
    text: dict[str | None, str] = {}
    past: dict[str | None, InboundMessage] = {}
    received: list[InboundMessage] = []
    met: set[str | None] = set()
    for i, message in enumerate(live):
        text[message.serial] = text.get(message.serial, "") + str(message.data)
        if i < joined:
            past[message.serial] = _whole_of(message, text[message.serial])
            continue
        contact = message.serial in past and message.serial not in met
        met.add(message.serial)
        received.append(_whole_of(message, text[message.serial]) if contact else message)
    return list(past.values()), received


def _whole_of(message: InboundMessage, text: str) -> InboundMessage:
    if message.action is MessageAction.CREATE:
        return message
    return replace(message, action=MessageAction.UPDATE, data=text)
