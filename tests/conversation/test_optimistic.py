"""An optimistic message and its echo are one message, published or not."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from ably_ai_transport.codec import Decoded
from ably_ai_transport.conversation import Delivery
from tests.conversation.recorded import Reader
from tests.conversation.talk import Talk
from tests.session.stage import said, texts

MESSAGES: Sequence[str] = ("m1", "m2", "m3")
HAPPENINGS: Sequence[str] = ("preview", "echo", "fail", "other")


@given(st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.sampled_from(MESSAGES)), max_size=25))
def test_one_node_for_each_message(happenings: Sequence[tuple[str, str]]) -> None:
    talk = Talk()
    for message_id in MESSAGES:
        assert talk.say(f"text of {message_id}") == message_id
    echoes = dict(zip(MESSAGES, talk.live, strict=True))
    others = 0
    reader = Reader()
    shown: set[str] = set()
    echoed: set[str] = set()
    for what, message_id in happenings:
        match what:
            case "preview" if message_id not in shown:
                decoded = Decoded(inputs=[said(f"text of {message_id}")])
                reader.tree.apply_delivery(Delivery(decoded, echoes[message_id].transport_headers))
                shown.add(message_id)
            case "echo":
                reader.tree.apply(echoes[message_id])
                shown.add(message_id)
                echoed.add(message_id)
            case "fail":
                reader.tree.discard_optimistic(message_id)
                if message_id not in echoed:
                    shown.discard(message_id)
            case "other":
                others += 1
                reader.read(talk.live[-1:] if talk.say("by somebody else") else ())
            case _:
                pass
        nodes = [node.key for node in reader.tree.index]
        assert sorted(key for key in nodes if key in MESSAGES) == sorted(shown)
        assert len(nodes) == len(shown) + others
        spoken = sorted(texts(reader.view.messages))
        assert spoken == sorted([f"text of {m}" for m in shown] + ["by somebody else"] * others)
