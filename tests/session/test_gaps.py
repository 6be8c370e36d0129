"""Messages were missed: history fills the gap."""

import pytest

from ably_ai_transport.testing import MemoryHub
from tests.session.stage import agent, answer, client, said, texts


@pytest.mark.parametrize("page_size", [1, 3, 100])
async def test_what_was_missed_is_found_in_history(page_size: int) -> None:
    hub = MemoryHub()
    async with (
        client(hub) as alice,
        client(hub, "bob", history_page_size=page_size) as bob,
        agent(hub) as session,
    ):
        first = await alice.view.send(said("before"))
        await answer(hub, session, first.to_invocation(), "the gap")
        hub.faults.suspend(client_id="bob")
        missed = await alice.view.send(said("while bob is away"))
        await answer(hub, session, missed.to_invocation(), "he misses this")
        hub.faults.reattach(client_id="bob", resumed=False)
        last = await alice.view.send(said("after"))
        await answer(hub, session, last.to_invocation(), "the gap")
        assert texts(bob.view.messages) == ["before", "the gap", "after", "the gap"]
        await bob.view.load_all()
        assert texts(bob.view.messages) == texts(alice.view.messages)
        assert [run.status for run in bob.view.runs()] == ["complete"] * 3
