"""Properties of all conversations."""

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport.wire import InboundMessage, names
from tests.conversation.generated import generate
from tests.conversation.recorded import Reader
from tests.conversation.talk import Talk
from tests.session.stage import CODEC, texts

talks = st.randoms(use_true_random=False).map(generate)


class Attempts:
    """Independent bookkeeping of the words that superseded attempts have published."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], str] = {}
        self._words: dict[str, tuple[tuple[str, str], str]] = {}

    def read(self, message: InboundMessage) -> None:
        headers = message.transport_headers
        if names.STEP_ID not in headers:
            return
        step = (headers[names.RUN_ID], headers[names.STEP_ID])
        if message.name == names.STEP_START:
            self._counts[step] = max(self._counts.get(step, ""), message.serial or "")
        elif message.name == names.AI_OUTPUT and isinstance(message.data, str):
            for word in message.data.split():
                self._words[word] = (step, headers[names.STEP_START_SERIAL])

    def superseded(self) -> set[str]:
        return {word for word, (step, attempt) in self._words.items() if self._counts.get(step) != attempt}


def words_of(reader: Reader) -> set[str]:
    """Return all words that are to be seen, on any branch."""
    nodes = (CODEC.get_messages(node.projection) for node in reader.tree.index)
    return {word for messages in nodes for text in texts(messages) for word in text.split()}


@settings(max_examples=60, deadline=None)
@given(talks)
def test_superseded_text_is_never_visible(talk: Talk) -> None:
    reader, attempts = Reader(), Attempts()
    for message in talk.live:
        reader.read([message])
        attempts.read(message)
        assert not words_of(reader) & attempts.superseded()


def without_cancels(messages: Iterable[InboundMessage]) -> list[InboundMessage]:
    return [message for message in messages if message.name != names.CANCEL]


@settings(max_examples=60, deadline=None)
@given(talks)
def test_a_cancel_changes_nothing_until_the_agent_heeds_it(talk: Talk) -> None:
    assert Reader().read(talk.live).shows() == Reader().read(without_cancels(talk.live)).shows()
