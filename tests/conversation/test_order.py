"""A recorded conversation reads the same in any order of arrival, with any repeats."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport.wire import InboundMessage, MessageAction
from tests.conversation.recorded import Reader, Recorded, record
from tests.session.stage import texts


@cache
def recorded() -> Recorded:
    return asyncio.run(record())


@cache
def whole() -> object:
    return Reader().read(recorded().live).shows()


def test_it_shows_what_was_said() -> None:
    reader = Reader().read(recorded().live)
    assert texts(reader.view.messages) == [
        "one",
        "first answer",
        "two, better",
        "second, again",
        "three",
        "right",
        "four",
        "let me ask",
        "the answer",
        "thanks",
        "five",
        "half",
    ]
    assert [run.status for run in reader.view.runs()] == ["complete"] * 4 + ["error"]


def in_order(messages: Sequence[InboundMessage], order: Sequence[int]) -> list[InboundMessage]:
    """Mix messages; the versions of one message stay in order, as Ably keeps them."""
    versions: dict[str | None, list[InboundMessage]] = {}
    for message in messages:
        versions.setdefault(message.serial, []).append(message)
    return [versions[messages[i].serial].pop(0) for i in order]


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_order_gives_the_same_conversation(random: Random) -> None:
    live = recorded().live
    order = list(range(len(live)))
    random.shuffle(order)
    assert Reader().read(in_order(live, order)).shows() == whole()


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_repeats_change_nothing(random: Random) -> None:
    live = recorded().live
    repeated: list[InboundMessage] = []
    for i, message in enumerate(live):
        repeated.append(message)
        if random.random() < 0.3:
            repeated.append(live[random.randint(0, i)])
    assert Reader().read(repeated).shows() == whole()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60))
def test_the_size_of_a_page_does_not_matter(size: int) -> None:
    history = recorded().history
    reader = Reader()
    for end in range(len(history), 0, -size):
        reader.read(history[max(0, end - size) : end])
    assert reader.shows() == whole()


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_joining_anywhere_gives_the_whole(data: st.DataObject) -> None:
    """A late joiner gets a stream whole at first contact, and the rest of the past from history."""
    live = recorded().live
    joined = data.draw(st.integers(0, len(live)), "joined at")
    so_far: dict[str | None, str] = {}
    past: dict[str | None, InboundMessage] = {}
    received: list[InboundMessage] = []
    for i, message in enumerate(live):
        text = so_far[message.serial] = so_far.get(message.serial, "") + _text(message)
        whole_message = _as_update(message, text)
        if i < joined:
            past[message.serial] = whole_message
        else:
            contact = message.serial in past and all(m.serial != message.serial for m in received)
            received.append(whole_message if contact else message)
    loaded = data.draw(st.integers(0, len(received)), "history loaded after")
    reader = Reader().read(received[:loaded]).read(past.values()).read(received[loaded:])
    assert reader.shows() == whole()


def _text(message: InboundMessage) -> str:
    return message.data if isinstance(message.data, str) else ""


def _as_update(message: InboundMessage, text: str) -> InboundMessage:
    if message.action is MessageAction.CREATE:
        return message
    return replace(message, action=MessageAction.UPDATE, data=text)
