"""Reprs are short: they name a thing and its state, and hold no content."""

from tests.conversation.recorded import Reader
from tests.conversation.talk import Talk


def test_nodes_name_their_state_and_not_their_content() -> None:
    talk = Talk()
    run = talk.answer(talk.say("a secret"), "m1", "another secret")
    reader = Reader().read(talk.live)
    assert repr(reader.tree) == "<Tree: 1 inputs, 1 runs>"
    assert repr(reader.view) == "<ViewState: 2 of 2 messages>"
    node = reader.tree.get_run_node(run.run_id)
    assert repr(node) == f"RunNode('{run.run_id}', status='complete', parent='m1', steps=['s4: complete'])"
    for node in reader.tree.index:
        assert "secret" not in repr(node)
