"""The log of a finished stream holds its text once, and rebuilds the same projection."""

from collections.abc import Sequence
from random import Random
from typing import cast

from ably_ai_transport_vercel import UIMessageChunk, UIMessageCodec, VercelInput, VercelProjection
from hypothesis import given, settings
from hypothesis import strategies as st

from ably_ai_transport.codec import FoldMeta, InputEvent, OutputEvent
from ably_ai_transport.conversation import Tree
from ably_ai_transport.wire import names
from tests.conversation.generated import generate
from tests.conversation.recorded import Reader
from tests.conversation.talk import Talk
from tests.session.stage import CODEC

KINDS = ("text", "reasoning", "tool-input")


def chunk(kind: str, stream_id: str, delta: str) -> UIMessageChunk:
    if kind == "tool-input":
        fields = {"type": "tool-input-delta", "toolCallId": stream_id, "inputTextDelta": delta}
    else:
        fields = {"type": f"{kind}-delta", "id": stream_id, "delta": delta}
    return cast("UIMessageChunk", fields)


def opening(kind: str, stream_id: str) -> UIMessageChunk:
    if kind == "tool-input":
        return {"type": "tool-input-start", "toolCallId": stream_id, "toolName": "weather"}
    return cast("UIMessageChunk", {"type": f"{kind}-start", "id": stream_id})


streams = st.lists(
    st.tuples(
        st.sampled_from(KINDS), st.sampled_from("ab"), st.sampled_from(["", '{"c', '": "x"}', "word "])
    ),
    max_size=20,
)


def folded(outputs: Sequence[UIMessageChunk]) -> object:
    projection = CODEC.init()
    for output in outputs:
        projection = CODEC.fold(projection, OutputEvent(output), FoldMeta("s1", "m1"))
    return [message.message for message in CODEC.get_messages(projection)]


@given(streams, st.data())
def test_compacted_outputs_fold_to_the_same(
    deltas: Sequence[tuple[str, str, str]], data: st.DataObject
) -> None:
    outputs: list[UIMessageChunk] = [{"type": "start"}]
    outputs += [opening(kind, f"{kind}-{name}") for kind in KINDS for name in "ab"]
    outputs += [chunk(kind, f"{kind}-{name}", text) for kind, name, text in deltas]
    if data.draw(st.booleans(), "ended"):
        outputs.append({"type": "text-end", "id": "text-a"})
        outputs.append({"type": "finish"})
    compacted = CODEC.compact_outputs(outputs)
    assert len(compacted) <= len(outputs)
    assert folded(compacted) == folded(outputs)
    assert CODEC.compact_outputs(compacted) == compacted


def test_neighboring_deltas_of_one_stream_become_one() -> None:
    outputs = [chunk("text", "a", "one "), chunk("text", "a", "two "), chunk("text", "b", "x")]
    assert CODEC.compact_outputs(outputs) == [chunk("text", "a", "one two "), chunk("text", "b", "x")]


def test_a_finished_stream_is_logged_as_start_text_and_end() -> None:
    talk = Talk()
    run = talk.start(talk.say("hi"), "m1")
    talk.reply(talk.step(run), *[f"word{i} " for i in range(50)])
    reader = Reader().read(talk.live)
    entry = reader.tree.index.entry(run.run_id)
    assert entry is not None
    assert max(len(logged.events) for logged in entry.log) == 3


class Counting(UIMessageCodec):
    """Counts the events that it folds."""

    folds = 0

    def fold(
        self,
        projection: VercelProjection,
        event: InputEvent[VercelInput] | OutputEvent[UIMessageChunk],
        meta: FoldMeta,
    ) -> VercelProjection:
        self.folds += 1
        return super().fold(projection, event, meta)


def test_two_streams_that_grow_at_once_take_constant_work_for_each_token() -> None:
    talk = Talk()
    step = talk.step(talk.start(talk.say("hi"), "m1"))
    talk.output(step, "start", "a1")
    one, two = talk.stream(step, "a1", stream_id="x"), talk.stream(step, "a1", stream_id="y")
    for i in range(300):
        talk.append(one, f"one{i} ")
        talk.append(two, f"two{i} ")
    codec = Counting()
    tree = Tree(codec)
    for message in talk.live:
        tree.apply(message)
    assert codec.folds < 300 * 20
    [reply] = [m.message for node in tree.index for m in codec.get_messages(node.projection)][1:]
    texts = [part["text"] for part in reply["parts"] if part["type"] == "text" and "text" in part]
    assert texts == ["".join(f"{name}{i} " for i in range(300)) for name in ("one", "two")]


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False).map(generate), st.data())
def test_a_late_message_rebuilds_the_same(talk: Talk, data: st.DataObject) -> None:
    """The message comes after all streams of its run have ended, and their logs are compact."""
    outputs = [m for m in talk.live if m.name == names.AI_OUTPUT]
    late = data.draw(st.sampled_from(outputs), "late").serial if outputs else None
    order = sorted(talk.live, key=lambda message: message.serial == late)
    assert Reader().read(order).shows() == Reader().read(talk.live).shows()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000))
def test_a_retry_rebuilds_without_the_first_attempt(seed: int) -> None:
    talk = Talk()
    run = talk.start(talk.say("hi"), "m1")
    words = [f"w{i} " for i in range(Random(seed).randrange(8))]  # noqa: S311
    talk.reply(talk.step(run, "plan"), *words)
    talk.reply(talk.step(run), "kept")
    kept = Reader().read(talk.live).shows()
    assert "kept" in str(kept)
    talk.reply(talk.step(run, "plan"), "again")
    shown = str(Reader().read(talk.live).shows())
    assert "again" in shown
    assert not any(word in shown for word in words)
